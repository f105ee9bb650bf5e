-- Terms: an append-only list of segments per subscription, from which periods and costs follow.
--
-- Existing subscriptions get their terms from what was stored of the past. Periods before the running
-- one become records of what was invoiced for them. The running period begins with one segment that
-- costs what was invoiced for it; changes that no invoice has settled follow as segments of their own.
-- Nothing that was invoiced changes, and nothing of an ended subscription becomes due.

CREATE TABLE subscription_terms (
    -- The subscription's id and the number, so that a range of ids is a range of terms.
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

CREATE TABLE changes_draft AS
SELECT s.id AS subscription_id, c.key AS place, (c.value ->> 'from') AS from_plan, (c.value ->> 'to') AS to_plan,
    (c.value ->> 'quantity')::bigint AS quantity,
    (extract(epoch FROM ((c.value ->> 'at'))::timestamptz) * 1000000)::bigint AS at,
    (extract(epoch FROM ((c.value ->> 'period_start'))::timestamptz) * 1000000)::bigint AS period_start,
    (extract(epoch FROM ((c.value ->> 'settled_in'))::timestamptz) * 1000000)::bigint AS settled_in
FROM subscriptions AS s CROSS JOIN LATERAL json_array_elements(s.plan_changes::json) WITH ORDINALITY AS c (value, key);

-- The running period of each subscription, with the terms that its invoice was made by.
CREATE TABLE running_draft AS
SELECT s.id AS subscription_id,
    CASE WHEN s.current_period_start <= coalesce(s.trial_end, s.start_at)
        THEN least(s.current_period_start, s.created_at) ELSE s.current_period_start END AS at,
    coalesce(
        (SELECT c.to_plan FROM changes_draft AS c WHERE c.subscription_id = s.id
            AND c.period_start >= s.current_period_start AND c.settled_in = s.current_period_start
            ORDER BY c.place DESC LIMIT 1),
        (SELECT c.from_plan FROM changes_draft AS c WHERE c.subscription_id = s.id
            AND c.period_start >= s.current_period_start AND c.settled_in IS NULL
            AND s.status <> 'canceled' ORDER BY c.place LIMIT 1),
        s.plan_id) AS plan_id,
    coalesce(s.billed_quantity, s.quantity) AS quantity,
    (SELECT i.subtotal FROM invoices AS i WHERE i.subscription_id = s.id
        AND i.period_start = s.current_period_start AND i.status <> 'void'
        AND i.deleted_at IS NULL) AS invoiced
FROM subscriptions AS s;

CREATE TABLE terms_draft AS
SELECT i.subscription_id AS subscription_id, 1 AS part, i.period_start AS at, s.plan_id AS plan_id,
    1 AS quantity, 'active' AS status, i.period_start AS anchor_at, i.period_end AS invoiced_until,
    i.subtotal AS invoiced_amount
FROM invoices AS i JOIN subscriptions AS s ON s.id = i.subscription_id
WHERE i.period_start < s.current_period_start AND i.status <> 'void' AND i.deleted_at IS NULL;

INSERT INTO terms_draft
SELECT s.id, 2, r.at, r.plan_id, r.quantity,
    CASE WHEN s.status = 'trialing' THEN 'trialing'
        WHEN s.status IN ('paused', 'canceled') AND r.invoiced IS NULL THEN s.status
        ELSE 'active' END,
    s.anchor_at, NULL, r.invoiced - p.amount * r.quantity
FROM subscriptions AS s JOIN running_draft AS r ON r.subscription_id = s.id
    JOIN plans AS p ON p.id = r.plan_id;

INSERT INTO terms_draft
SELECT s.id, 3, greatest(c.at, r.at), c.to_plan, c.quantity,
    (SELECT t.status FROM terms_draft AS t WHERE t.subscription_id = s.id AND t.part = 2),
    NULL, NULL, NULL
FROM changes_draft AS c JOIN subscriptions AS s ON s.id = c.subscription_id
    JOIN running_draft AS r ON r.subscription_id = s.id
WHERE c.period_start >= s.current_period_start AND c.settled_in IS NULL AND s.status <> 'canceled';

-- What a subscription is now, if that is not what its last terms say.
INSERT INTO terms_draft
SELECT s.id, 4,
    greatest(coalesce(s.ended_at, s.updated_at),
        (SELECT max(t.at) FROM terms_draft AS t WHERE t.subscription_id = s.id)),
    s.plan_id, s.quantity, s.status, NULL, NULL, NULL
FROM subscriptions AS s WHERE NOT EXISTS (
    SELECT 1 FROM terms_draft AS t WHERE t.subscription_id = s.id AND t.plan_id = s.plan_id
    AND t.quantity = s.quantity AND t.status = s.status AND t.invoiced_until IS NULL AND t.at =
        (SELECT max(l.at) FROM terms_draft AS l WHERE l.subscription_id = s.id)
    AND t.part = (SELECT max(l.part) FROM terms_draft AS l WHERE l.subscription_id = s.id));

INSERT INTO subscription_terms
SELECT subscription_id || '/' || lpad(seq::text, 8, '0'), subscription_id, seq, at, plan_id, quantity, status,
    anchor_at, invoiced_until, invoiced_amount
FROM (SELECT t.*, row_number() OVER (PARTITION BY subscription_id ORDER BY part, at) AS seq
    FROM terms_draft AS t) AS numbered;

ALTER TABLE subscriptions
    ALTER COLUMN current_period_start DROP NOT NULL,
    ALTER COLUMN current_period_end DROP NOT NULL,
    ADD COLUMN reached_at bigint,
    ADD COLUMN due_at bigint,
    ADD COLUMN billed_until bigint,
    ADD COLUMN settled_at bigint,
    ADD COLUMN settled_anchor bigint,
    ADD COLUMN settled_term text COLLATE "C",
    ADD COLUMN had_draft boolean NOT NULL DEFAULT false,
    ADD CHECK ((current_period_start IS NULL) = (current_period_end IS NULL));
UPDATE subscriptions AS s SET
    reached_at = (SELECT max(t.at) FROM subscription_terms AS t WHERE t.subscription_id = s.id),
    due_at = CASE
        WHEN s.status = 'canceled' THEN NULL
        WHEN s.status = 'trialing' THEN s.trial_end
        WHEN s.status <> 'paused' AND NOT EXISTS (SELECT 1 FROM invoices AS i
            WHERE i.subscription_id = s.id AND i.period_start = s.current_period_start
            AND i.status <> 'void' AND i.deleted_at IS NULL) THEN s.current_period_start
        WHEN s.status <> 'paused' OR s.cancel_at_period_end THEN s.current_period_end
        END,
    billed_until = (SELECT max(i.period_start) FROM invoices AS i WHERE i.subscription_id = s.id);
DROP INDEX subscriptions_by_period;
DROP INDEX subscriptions_by_period_end;
ALTER TABLE subscriptions
    ALTER COLUMN reached_at SET NOT NULL,
    ALTER COLUMN had_draft DROP DEFAULT,
    DROP COLUMN anchor_at,
    DROP COLUMN plan_changes,
    DROP COLUMN billed_quantity;
CREATE INDEX subscriptions_by_period_end
    ON subscriptions (coalesce(current_period_end, 9223372036854775807), id);
CREATE INDEX subscriptions_by_due ON subscriptions (due_at, id)
    WHERE due_at IS NOT NULL AND deleted_at IS NULL;

DROP TABLE terms_draft;
DROP TABLE running_draft;
DROP TABLE changes_draft;

-- What an invoice took from the customer's balance, and the latest period that its lines charge.
ALTER TABLE invoices ADD COLUMN balance_applied bigint NOT NULL DEFAULT 0;
ALTER TABLE invoices ADD COLUMN charged_until bigint;
UPDATE invoices SET charged_until = period_start WHERE period_start IS NOT NULL;
CREATE INDEX invoices_by_charge ON invoices (subscription_id, charged_until)
    WHERE charged_until IS NOT NULL;

-- Balances are accounts in a currency. An invoice that moves one is named by the transfer.
ALTER TABLE transfers ADD COLUMN invoice_id text;
ALTER TABLE transfers ADD COLUMN invoice_cause text
    CHECK (invoice_cause = 'invoice' OR invoice_cause = 'void');
-- Those of a workspace are locked in the order of their ids.
DROP INDEX ledger_accounts_by_workspace;
CREATE INDEX ledger_accounts_by_workspace ON ledger_accounts (workspace_id, id);
CREATE INDEX transfers_by_invoice ON transfers (invoice_id) WHERE invoice_id IS NOT NULL;
ALTER TABLE invoices ALTER COLUMN balance_applied DROP DEFAULT;
