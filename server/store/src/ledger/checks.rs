//! The invariants of the ledger, which `verify` checks: every account is added up again.

use crate::core::verify::Check;

/// Accounts are joined with sums, because PostgreSQL finds no row of an account by an index here:
/// the ids of accounts have the collation "C", and the columns that name them do not.
pub(crate) const CHECKS: &[Check] = &[
    (
        "an account has what its transfers add up to",
        "SELECT a.id FROM ledger_accounts AS a LEFT JOIN (SELECT account_id, \
         sum(CASE WHEN kind IN ('topup', 'adjust', 'refund') THEN amount \
         WHEN kind IN ('post', 'charge') THEN -amount ELSE 0 END) AS moved \
         FROM transfers GROUP BY account_id) AS t ON t.account_id = a.id \
         WHERE a.available + a.reserved <> coalesce(t.moved, 0)",
    ),
    (
        "an account has reserved what its pending reservations set aside",
        "SELECT a.id FROM ledger_accounts AS a LEFT JOIN (SELECT account_id, sum(amount) AS pending \
         FROM reservations WHERE status = 'pending' GROUP BY account_id) AS r \
         ON r.account_id = a.id WHERE a.reserved <> coalesce(r.pending, 0)",
    ),
    (
        "an account's version is the number of its transfers",
        "SELECT a.id FROM ledger_accounts AS a LEFT JOIN (SELECT account_id, count(*) AS made \
         FROM transfers GROUP BY account_id) AS t ON t.account_id = a.id \
         WHERE a.version <> coalesce(t.made, 0)",
    ),
    (
        "a transfer belongs to an account",
        "SELECT t.id FROM transfers AS t WHERE NOT EXISTS \
         (SELECT 1 FROM ledger_accounts AS a WHERE a.id = t.account_id)",
    ),
    (
        "a reserve has one reservation of the same amount in its account",
        "SELECT t.id FROM transfers AS t WHERE t.kind = 'reserve' AND NOT EXISTS \
         (SELECT 1 FROM reservations AS r WHERE r.id = t.id AND r.account_id = t.account_id \
         AND r.amount = t.amount)",
    ),
    (
        "a reservation was made by a reserve",
        "SELECT r.id FROM reservations AS r WHERE NOT EXISTS \
         (SELECT 1 FROM transfers AS t WHERE t.id = r.id AND t.kind = 'reserve' \
         AND t.at = r.created_at AND coalesce(t.reference, '') = coalesce(r.reference, ''))",
    ),
    (
        "a resolved reservation has one transfer that resolved it, in its account",
        "SELECT r.id FROM reservations AS r WHERE r.status <> 'pending' AND NOT EXISTS \
         (SELECT 1 FROM transfers AS t WHERE t.id = r.resolved_by AND t.reservation_id = r.id \
         AND t.account_id = r.account_id AND t.kind = CASE r.status WHEN 'posted' THEN 'post' \
         ELSE 'void' END AND t.amount = CASE r.status WHEN 'posted' THEN r.posted \
         ELSE r.amount END)",
    ),
    (
        "a transfer that resolves a reservation names one",
        "SELECT t.id FROM transfers AS t WHERE (t.kind = 'post' OR t.kind = 'void') AND NOT EXISTS \
         (SELECT 1 FROM reservations AS r WHERE r.id = t.reservation_id \
         AND r.account_id = t.account_id)",
    ),
    (
        "a reservation belongs to the workspace of its account",
        "SELECT r.id FROM reservations AS r WHERE NOT EXISTS (SELECT 1 FROM ledger_accounts AS a \
         WHERE a.id = r.account_id AND a.workspace_id = r.workspace_id)",
    ),
    (
        "the last transfer of an account says what the account has",
        "SELECT a.id FROM ledger_accounts AS a WHERE NOT EXISTS (SELECT 1 FROM transfers AS t \
         WHERE t.account_id = a.id AND t.version = a.version AND t.available = a.available \
         AND t.reserved = a.reserved)",
    ),
    (
        "no transfer resolves a pending reservation",
        "SELECT r.id FROM reservations AS r WHERE r.status = 'pending' AND EXISTS \
         (SELECT 1 FROM transfers AS t WHERE t.reservation_id = r.id \
         AND (t.kind = 'post' OR t.kind = 'void'))",
    ),
];
