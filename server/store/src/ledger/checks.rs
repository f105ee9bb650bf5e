//! The invariants of the ledger, which `verify` checks: every account is added up again.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "an account has what its transfers add up to",
        "SELECT a.id FROM ledger_accounts AS a WHERE a.available + a.reserved <> (SELECT \
         coalesce(sum(CASE WHEN t.kind IN ('topup', 'adjust', 'refund') THEN t.amount \
         WHEN t.kind IN ('post', 'charge') THEN -t.amount ELSE 0 END), 0) \
         FROM transfers AS t WHERE t.account_id = a.id)",
    ),
    (
        "an account has reserved what its pending reservations set aside",
        "SELECT a.id FROM ledger_accounts AS a WHERE a.reserved <> (SELECT \
         coalesce(sum(r.amount), 0) FROM reservations AS r \
         WHERE r.account_id = a.id AND r.status = 'pending')",
    ),
    (
        "an account's version is the number of its transfers",
        "SELECT a.id FROM ledger_accounts AS a WHERE a.version <> \
         (SELECT count(*) FROM transfers AS t WHERE t.account_id = a.id)",
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
