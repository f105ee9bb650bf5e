//! The invariants of billing, which `verify` checks.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "an invoice's total is the sum of its subtotal and its tax",
        "SELECT id FROM invoices WHERE total <> subtotal + tax",
    ),
    (
        "an invoice's amount_paid is the sum of its settled payments",
        "SELECT i.id FROM invoices AS i WHERE i.amount_paid <> (SELECT coalesce(sum(p.amount), 0) \
         FROM payments AS p WHERE p.invoice_id = i.id AND p.status = 'settled')",
    ),
    (
        "an invoice's amount_due is what balance and payments leave of its total",
        "SELECT id FROM invoices WHERE amount_due <> CASE WHEN total > balance_applied + amount_paid \
         THEN total - balance_applied - amount_paid ELSE 0 END",
    ),
    (
        "an invoice's balance_applied is what it moved of a balance",
        "SELECT i.id FROM invoices AS i WHERE i.balance_applied <> (SELECT coalesce(sum(\
         CASE WHEN t.kind = 'charge' THEN t.amount ELSE -t.amount END), 0) \
         FROM transfers AS t WHERE t.invoice_id = i.id)",
    ),
    (
        "the segments of a subscription's terms are numbered without a gap",
        "SELECT subscription_id FROM subscription_terms GROUP BY subscription_id \
         HAVING min(seq) <> 1 OR max(seq) <> count(*)",
    ),
    (
        "each segment of a subscription's terms knows the one before it",
        "SELECT t.subscription_id FROM subscription_terms AS t LEFT JOIN subscription_terms AS p \
         ON p.at = t.previous_at AND p.subscription_id = t.subscription_id AND p.seq = t.seq - 1 \
         WHERE (t.seq = 1) <> (t.previous_at IS NULL) OR (t.seq > 1 AND p.seq IS NULL)",
    ),
    (
        "a subscription knows the number of its latest terms",
        "SELECT s.id FROM subscriptions AS s JOIN (SELECT subscription_id, max(seq) AS last \
         FROM subscription_terms GROUP BY subscription_id) AS t ON t.subscription_id = s.id \
         WHERE t.last <> s.last_term",
    ),
    (
        "a subscription knows how many units of its plan have a price that can be told",
        "SELECT s.id FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id \
         WHERE s.quantity_max <> CASE WHEN p.amount > 9007199254 \
         THEN 9007199254740991 / p.amount ELSE 1000000 END",
    ),
    (
        "a subscription's latest terms are its own",
        "SELECT s.id FROM subscriptions AS s JOIN subscription_terms AS t ON t.at = s.last_term_at \
         AND t.subscription_id = s.id AND t.seq = s.last_term WHERE t.plan_id <> s.plan_id \
         OR t.quantity <> s.quantity OR t.status <> s.status",
    ),
    (
        "a subscription has terms",
        "SELECT s.id FROM subscriptions AS s WHERE NOT EXISTS \
         (SELECT 1 FROM subscription_terms AS t WHERE t.at = s.last_term_at \
         AND t.subscription_id = s.id AND t.seq = s.last_term)",
    ),
    (
        "invoice numbers have no gap and no duplicate",
        "SELECT 'INV' FROM (SELECT count(*) AS given, count(DISTINCT number) AS different, \
         coalesce(max(CAST(substr(number, 5) AS bigint)), 0) AS greatest, \
         coalesce((SELECT last FROM sequences WHERE series = 'INV'), -1) AS last \
         FROM invoices WHERE number IS NOT NULL) AS numbers \
         WHERE last <> given OR last <> different OR last <> greatest",
    ),
    (
        "a void invoice has no settled payments",
        "SELECT id FROM invoices WHERE status = 'void' AND amount_paid > 0",
    ),
    (
        "a subscription has at most one recurring invoice per period that is not void",
        "SELECT subscription_id FROM invoices WHERE period_start IS NOT NULL AND status <> 'void' \
         AND deleted_at IS NULL GROUP BY subscription_id, period_start HAVING count(*) > 1",
    ),
];
