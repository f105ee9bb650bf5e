ALTER TABLE subscriptions
    DROP CONSTRAINT subscriptions_status_check,
    ADD CONSTRAINT subscriptions_status_check CHECK (status = 'trialing' OR status = 'active' OR status = 'past_due' OR status = 'paused'
        OR status = 'canceled');
ALTER TABLE subscription_terms
    DROP CONSTRAINT subscription_terms_status_check1,
    ADD CONSTRAINT subscription_terms_status_check1 CHECK (status = 'trialing' OR status = 'active' OR status = 'past_due' OR status = 'paused'
        OR status = 'canceled');
ALTER TABLE events
    DROP CONSTRAINT events_kind_check,
    ADD CONSTRAINT events_kind_check CHECK (kind = 'created' OR kind = 'updated' OR kind = 'forced' OR kind = 'merged'
        OR kind = 'deleted' OR kind = 'threshold_reached'),
    DROP CONSTRAINT events_source_check,
    ADD CONSTRAINT events_source_check CHECK (source = 'api' OR source = 'cli' OR source = 'worker');
ALTER TABLE transfers
    DROP CONSTRAINT transfers_source_check,
    ADD CONSTRAINT transfers_source_check CHECK (source = 'api' OR source = 'cli' OR source = 'worker'),
    DROP CONSTRAINT transfers_kind_check,
    ADD CONSTRAINT transfers_kind_check CHECK (kind IN ('topup', 'adjust', 'reserve', 'post', 'void', 'charge', 'refund')),
    DROP CONSTRAINT transfers_check1,
    ADD CONSTRAINT transfers_check1 CHECK ((kind IN ('reserve', 'post', 'void')) = (reservation_id IS NOT NULL)),
    DROP CONSTRAINT transfers_invoice_cause_check,
    ADD CONSTRAINT transfers_invoice_cause_check CHECK (invoice_cause = 'invoice' OR invoice_cause = 'void');
ALTER TABLE reservations
    DROP CONSTRAINT reservations_status_check,
    ADD CONSTRAINT reservations_status_check CHECK (status = 'pending' OR status = 'posted' OR status = 'voided'),
    DROP CONSTRAINT reservations_check1,
    ADD CONSTRAINT reservations_check1 CHECK ((status = 'pending') = (resolved_by IS NULL)),
    ADD CONSTRAINT reservations_check2 CHECK ((status = 'pending') = (posted IS NULL)),
    ADD CONSTRAINT reservations_check3 CHECK ((status = 'pending') = (resolved_at IS NULL)),
    DROP CONSTRAINT reservations_check4,
    ADD CONSTRAINT reservations_check4 CHECK (status <> 'posted' OR posted > 0),
    ADD CONSTRAINT reservations_check5 CHECK (status <> 'voided' OR posted = 0);
DROP INDEX transfers_by_kind;
CREATE INDEX transfers_by_kind ON transfers (account_id, kind, version);
DROP INDEX reservations_resolved;
DROP INDEX reservations_pending;
CREATE INDEX reservations_by_account ON reservations (account_id, id);
CREATE INDEX reservations_pending ON reservations (account_id, id) WHERE status = 'pending';
CREATE INDEX reservations_by_age ON reservations (created_at, id) WHERE status = 'pending';
