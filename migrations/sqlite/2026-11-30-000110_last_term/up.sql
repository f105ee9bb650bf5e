-- The number of a subscription's latest segment, so that a change need not load the others.
ALTER TABLE subscriptions ADD COLUMN last_term bigint NOT NULL DEFAULT 0;
UPDATE subscriptions SET last_term = coalesce(
    (SELECT max(t.seq) FROM subscription_terms AS t
        WHERE t.id > subscriptions.id || '/' AND t.id < subscriptions.id || '0'), 0);
