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

-- Each statement that writes to a table reads its CHECKs in their printed form. These say the same in less
-- text.
ALTER TABLE subscriptions
    DROP CONSTRAINT subscriptions_status_check,
    ADD CONSTRAINT subscriptions_status_check CHECK (status = ANY ('{trialing,active,past_due,paused,canceled}'));
ALTER TABLE subscription_terms
    DROP CONSTRAINT subscription_terms_status_check1,
    ADD CONSTRAINT subscription_terms_status_check1 CHECK (status = ANY ('{trialing,active,past_due,paused,canceled}'));
ALTER TABLE events
    DROP CONSTRAINT events_kind_check,
    ADD CONSTRAINT events_kind_check CHECK (kind = ANY ('{created,updated,forced,merged,deleted,threshold_reached}')),
    DROP CONSTRAINT events_source_check,
    ADD CONSTRAINT events_source_check CHECK (source = ANY ('{api,cli,worker}'));
ALTER TABLE transfers
    DROP CONSTRAINT transfers_source_check,
    ADD CONSTRAINT transfers_source_check CHECK (source = ANY ('{api,cli,worker}')),
    DROP CONSTRAINT transfers_kind_check,
    ADD CONSTRAINT transfers_kind_check CHECK (kind = ANY ('{topup,adjust,reserve,post,void,charge,refund}')),
    DROP CONSTRAINT transfers_check1,
    ADD CONSTRAINT transfers_check1 CHECK ((kind <> ALL ('{reserve,post,void}')) = (reservation_id IS NULL)),
    DROP CONSTRAINT transfers_invoice_cause_check,
    ADD CONSTRAINT transfers_invoice_cause_check CHECK (invoice_cause = ANY ('{invoice,void}'));
ALTER TABLE reservations
    DROP CONSTRAINT reservations_status_check,
    ADD CONSTRAINT reservations_status_check CHECK (status = ANY ('{pending,posted,voided}')),
    DROP CONSTRAINT reservations_check1,
    ADD CONSTRAINT reservations_check1 CHECK (num_nulls(posted, resolved_by, resolved_at) = CASE status WHEN 'pending' THEN 3 ELSE 0 END),
    DROP CONSTRAINT reservations_check2,
    DROP CONSTRAINT reservations_check3,
    DROP CONSTRAINT reservations_check4,
    ADD CONSTRAINT reservations_check4 CHECK ((status = 'posted') = (posted > 0)),
    DROP CONSTRAINT reservations_check5;
