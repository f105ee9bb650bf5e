-- Each index is paid for by every write of its table, and a busy account has many. A reservation is now
-- in one index of its account, whether pending or resolved. Of an account's transfers, those that
-- reserve need none by kind: each one that posts or voids has one of them.
DROP INDEX reservations_by_account;
DROP INDEX reservations_by_age;
DROP INDEX reservations_pending;
CREATE INDEX reservations_pending ON reservations (account_id, id, created_at)
    WHERE status = 'pending';
CREATE INDEX reservations_resolved ON reservations (account_id, id) WHERE status <> 'pending';
DROP INDEX transfers_by_kind;
CREATE INDEX transfers_by_kind ON transfers (account_id, kind, version) WHERE kind <> 'reserve';
