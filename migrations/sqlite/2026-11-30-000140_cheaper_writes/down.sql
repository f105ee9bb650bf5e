DROP INDEX transfers_by_kind;
CREATE INDEX transfers_by_kind ON transfers (account_id, kind, version);
DROP INDEX reservations_resolved;
DROP INDEX reservations_pending;
CREATE INDEX reservations_by_account ON reservations (account_id, id);
CREATE INDEX reservations_pending ON reservations (account_id, id) WHERE status = 'pending';
CREATE INDEX reservations_by_age ON reservations (created_at, id) WHERE status = 'pending';
