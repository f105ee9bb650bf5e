//! The invariants of entitlements, which `verify` checks.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "a counter's used is the sum of its records that still count, without what was reversed",
        "SELECT c.id FROM counters AS c WHERE c.used <> (SELECT \
         coalesce(sum(r.quantity - r.reversed), 0) FROM usage_records AS r \
         WHERE r.counter_id = c.id AND (c.rolled_until IS NULL OR r.at > c.rolled_until))",
    ),
    (
        "a counter's held is the sum of its active holds that it has not taken back",
        "SELECT c.id FROM counters AS c WHERE c.held <> (SELECT coalesce(sum(h.quantity), 0) \
         FROM usage_holds AS h WHERE h.counter_id = c.id AND h.status = 'active' \
         AND (c.expired_until IS NULL OR h.expires_at > c.expired_until))",
    ),
    (
        "a rolling window burnt what its records and active holds burnt",
        "SELECT c.id FROM counters AS c WHERE c.rolling_burnt <> (SELECT coalesce(sum(r.burnt), 0) \
         FROM usage_records AS r WHERE r.counter_id = c.id AND r.is_rolling \
         AND (c.rolled_until IS NULL OR r.at > c.rolled_until)) + (SELECT coalesce(sum(h.burnt), 0) \
         FROM usage_holds AS h WHERE h.counter_id = c.id AND h.status = 'active' \
         AND (c.expired_until IS NULL OR h.expires_at > c.expired_until))",
    ),
    (
        "a settled hold has one record of what it was settled at",
        "SELECT h.id FROM usage_holds AS h WHERE h.status = 'settled' AND NOT EXISTS (SELECT 1 \
         FROM usage_records AS r WHERE r.id = h.record_id AND r.quantity = h.settled_quantity \
         AND r.counter_id = h.counter_id)",
    ),
    (
        "a scope has at most one base package that is active or suspended",
        "SELECT scope FROM assignments WHERE is_base AND status IN ('active', 'suspended') \
         GROUP BY scope HAVING count(*) > 1",
    ),
];
