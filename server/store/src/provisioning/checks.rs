//! The invariants of provisioning, which `verify` checks.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "a slot's count is the number of its servers that have neither failed nor been deleted",
        "SELECT l.id FROM server_slots AS l WHERE l.used <> (SELECT count(*) FROM servers AS s \
         WHERE s.workspace_id = l.workspace_id AND s.product_id = l.product_id \
         AND s.status <> 'failed' AND s.status <> 'deleted')",
    ),
    (
        "a server that counts towards a limit has a slot",
        "SELECT s.id FROM servers AS s WHERE s.status <> 'failed' AND s.status <> 'deleted' \
         AND NOT EXISTS (SELECT 1 FROM server_slots AS l \
         WHERE l.workspace_id = s.workspace_id AND l.product_id = s.product_id)",
    ),
    (
        "a server is charged once it was active, given back if it failed, and reserved until then",
        "SELECT s.id FROM servers AS s WHERE s.reservation_id IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM reservations AS r WHERE r.id = s.reservation_id AND r.server_id = s.id \
         AND r.amount = s.price_credits AND r.workspace_id = s.workspace_id \
         AND r.status = CASE s.status WHEN 'failed' THEN 'voided' \
         WHEN 'provisioning' THEN 'pending' WHEN 'pending_reconciliation' THEN 'pending' \
         ELSE 'posted' END AND (r.status <> 'posted' OR r.posted = r.amount))",
    ),
    (
        "a reservation of a server is that server's",
        "SELECT r.id FROM reservations AS r WHERE r.server_id IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM servers AS s WHERE s.id = r.server_id AND s.reservation_id = r.id)",
    ),
    (
        "a server whose fate is open has a next call",
        "SELECT s.id FROM servers AS s WHERE s.next_check_at IS NULL AND (s.status = 'provisioning' \
         OR s.status = 'pending_reconciliation' OR s.status = 'deprovisioning')",
    ),
    (
        "a server is looked at when its claim ends, or when its next call is due",
        "SELECT s.id FROM servers AS s WHERE coalesce(s.due_at, 0) <> \
         coalesce(s.lease_until, s.next_check_at, 0)",
    ),
    (
        "no two servers are the same one on the panel",
        "SELECT max(s.id) FROM servers AS s WHERE s.remote_uuid IS NOT NULL \
         AND s.status <> 'failed' AND s.status <> 'deleted' GROUP BY s.remote_uuid \
         HAVING count(*) > 1",
    ),
    (
        "a timeline has no gap",
        "SELECT s.id FROM servers AS s WHERE s.entries <> \
         (SELECT count(*) FROM server_entries AS e WHERE e.server_id = s.id) OR s.entries <> \
         (SELECT coalesce(max(e.seq), 0) FROM server_entries AS e WHERE e.server_id = s.id)",
    ),
];
