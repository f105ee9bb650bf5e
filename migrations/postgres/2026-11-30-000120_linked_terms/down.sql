ALTER TABLE subscription_terms RENAME TO terms_draft;
ALTER INDEX subscription_terms_pkey RENAME TO terms_draft_pkey;
CREATE TABLE subscription_terms (
    id text COLLATE "C" PRIMARY KEY NOT NULL,
    subscription_id text NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    at bigint NOT NULL,
    plan_id text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status text NOT NULL
        CHECK (status = 'trialing' OR status = 'active' OR status = 'past_due'
            OR status = 'paused' OR status = 'canceled'),
    anchor_at bigint,
    invoiced_until bigint CHECK (invoiced_until > at),
    invoiced_amount bigint
);
INSERT INTO subscription_terms
SELECT o.subscription_id || '/' || lpad(o.seq::text, 8, '0'), o.subscription_id, o.seq, o.at, o.plan_id, o.quantity, o.status, o.anchor_at,
    o.invoiced_until, o.invoiced_amount
FROM terms_draft AS o;
ALTER TABLE subscriptions ADD COLUMN settled_term text COLLATE "C";
UPDATE subscriptions SET settled_term = subscriptions.id || '/' || lpad(subscriptions.settled_segment::text, 8, '0')
    WHERE settled_segment IS NOT NULL;
ALTER TABLE subscriptions DROP COLUMN settled_segment;
ALTER TABLE subscriptions DROP COLUMN last_term_at;
DROP TABLE terms_draft;
