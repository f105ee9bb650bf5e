-- Terms are stored by their instant, each with the instant of the segment before it, and a subscription
-- knows its latest. A new segment then goes to the end of the table. Stored by subscription, each one
-- cost a page of its own, which was a quarter of a small update.
ALTER TABLE subscription_terms RENAME TO terms_draft;
CREATE TABLE subscription_terms (
    subscription_id text NOT NULL,
    at bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    previous_at bigint CHECK ((previous_at IS NULL) = (seq = 1)),
    plan_id text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status text NOT NULL
        CHECK (status = 'trialing' OR status = 'active' OR status = 'past_due'
            OR status = 'paused' OR status = 'canceled'),
    anchor_at bigint,
    invoiced_until bigint CHECK (invoiced_until > at),
    invoiced_amount bigint,
    PRIMARY KEY (at, subscription_id, seq)
) WITHOUT ROWID;
INSERT INTO subscription_terms
SELECT o.subscription_id, o.at, o.seq,
    lag(o.at) OVER (PARTITION BY o.subscription_id ORDER BY o.seq),
    o.plan_id, o.quantity, o.status, o.anchor_at, o.invoiced_until, o.invoiced_amount
FROM terms_draft AS o ORDER BY o.at, o.subscription_id, o.seq;

ALTER TABLE subscriptions ADD COLUMN settled_segment bigint;
ALTER TABLE subscriptions ADD COLUMN last_term_at bigint NOT NULL DEFAULT 0;
UPDATE subscriptions SET
    settled_segment = (SELECT o.seq FROM terms_draft AS o WHERE o.id = subscriptions.settled_term),
    last_term_at = coalesce((SELECT o.at FROM terms_draft AS o
        WHERE o.id = (SELECT max(l.id) FROM terms_draft AS l
            WHERE l.id > subscriptions.id || '/' AND l.id < subscriptions.id || '0')), 0);
ALTER TABLE subscriptions DROP COLUMN settled_term;
DROP TABLE terms_draft;
