-- Plans, workspaces, namespaces, subscriptions, invoices and payments; the log of all changes;
-- what makes a repeated request harmless; API keys.
--
-- Constraints here are the net under the rules, not the rules. A column's values are listed with OR:
-- for each IN with more than two of them, SQLite fills a table whenever it checks a row.

CREATE TABLE workspaces (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    name text NOT NULL,
    email text,
    currency text,
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE INDEX workspaces_by_created_at ON workspaces (created_at, id);

CREATE TABLE namespaces (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text NOT NULL REFERENCES workspaces (id),
    name text NOT NULL,
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE INDEX namespaces_by_created_at ON namespaces (created_at, id);
CREATE INDEX namespaces_by_workspace ON namespaces (workspace_id, created_at, id);

CREATE TABLE plans (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    code text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    "interval" text NOT NULL
        CHECK ("interval" = 'day' OR "interval" = 'week' OR "interval" = 'month'
            OR "interval" = 'year'),
    interval_count bigint NOT NULL CHECK (interval_count BETWEEN 1 AND 36),
    trial_days bigint NOT NULL CHECK (trial_days BETWEEN 0 AND 730),
    status text NOT NULL CHECK (status = 'draft' OR status = 'active' OR status = 'archived'),
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE UNIQUE INDEX plans_by_code ON plans (code) WHERE deleted_at IS NULL;
CREATE INDEX plans_by_created_at ON plans (created_at, id);

CREATE TABLE subscriptions (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text NOT NULL REFERENCES workspaces (id),
    plan_id text NOT NULL REFERENCES plans (id),
    quantity bigint NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status text NOT NULL
        CHECK (status = 'trialing' OR status = 'active' OR status = 'past_due'
            OR status = 'paused' OR status = 'canceled'),
    notes text NOT NULL,
    cancel_at_period_end boolean NOT NULL,
    start_at bigint NOT NULL,
    current_period_start bigint NOT NULL,
    current_period_end bigint NOT NULL,
    trial_end bigint,
    canceled_at bigint,
    ended_at bigint,
    anchor_at bigint NOT NULL,
    plan_changes text NOT NULL,
    billed_quantity bigint,
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text,
    CHECK (current_period_start < current_period_end)
);
CREATE INDEX subscriptions_by_created_at ON subscriptions (created_at, id);
CREATE INDEX subscriptions_by_workspace ON subscriptions (workspace_id, created_at, id);
CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id, created_at, id);
CREATE INDEX subscriptions_by_period ON subscriptions (current_period_end, id)
    WHERE status <> 'canceled' AND deleted_at IS NULL;

CREATE TABLE invoices (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text NOT NULL REFERENCES workspaces (id),
    subscription_id text REFERENCES subscriptions (id),
    number text,
    status text NOT NULL
        CHECK (status = 'draft' OR status = 'open' OR status = 'paid' OR status = 'void'
            OR status = 'uncollectible'),
    currency text NOT NULL,
    lines text NOT NULL,
    subtotal bigint NOT NULL,
    tax bigint NOT NULL CHECK (tax >= 0),
    total bigint NOT NULL,
    amount_paid bigint NOT NULL CHECK (amount_paid >= 0),
    amount_due bigint NOT NULL CHECK (amount_due >= 0),
    period_start bigint,
    period_end bigint,
    due_at bigint,
    notes text NOT NULL,
    finalized_at bigint,
    paid_at bigint,
    voided_at bigint,
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text,
    CHECK (total = subtotal + tax),
    CHECK ((status = 'draft') = (number IS NULL))
);
CREATE UNIQUE INDEX invoices_by_number ON invoices (number);
CREATE UNIQUE INDEX invoices_by_period ON invoices (subscription_id, period_start)
    WHERE period_start IS NOT NULL AND status <> 'void' AND deleted_at IS NULL;
CREATE INDEX invoices_by_created_at ON invoices (created_at, id);
CREATE INDEX invoices_by_workspace ON invoices (workspace_id, created_at, id);
CREATE INDEX invoices_by_subscription ON invoices (subscription_id, created_at, id);

CREATE TABLE payments (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL,
    invoice_id text NOT NULL REFERENCES invoices (id),
    amount bigint NOT NULL CHECK (amount > 0),
    provider_ref text NOT NULL UNIQUE,
    status text NOT NULL CHECK (status IN ('settled', 'reversed')),
    created_at bigint NOT NULL,
    created_by text NOT NULL,
    reversed_at bigint,
    reversal_reason text,
    CHECK ((status = 'reversed') = (reversed_at IS NOT NULL))
);
CREATE INDEX payments_by_invoice ON payments (invoice_id, id);

CREATE TABLE sequences (
    series text PRIMARY KEY NOT NULL,
    last bigint NOT NULL CHECK (last >= 0)
);
INSERT INTO sequences (series, last) VALUES ('INV', 0);

-- One row per change: the history, the ground of conflict explanations, and the event stream.
CREATE TABLE events (
    seq integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    resource_id text NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    resource_type text NOT NULL,
    kind text NOT NULL
        CHECK (kind = 'created' OR kind = 'updated' OR kind = 'forced' OR kind = 'merged'
            OR kind = 'deleted' OR kind = 'threshold_reached'),
    at bigint NOT NULL,
    actor text NOT NULL,
    on_behalf_of text,
    source text NOT NULL CHECK (source = 'api' OR source = 'cli' OR source = 'worker'),
    forced boolean NOT NULL,
    reason text,
    overwrote text,
    request_id text NOT NULL,
    changes text NOT NULL,
    state text NOT NULL
);
CREATE UNIQUE INDEX events_by_version ON events (resource_id, version);

CREATE TABLE audits (
    id text PRIMARY KEY NOT NULL,
    audit_type text NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    on_behalf_of text,
    reason text,
    request_id text NOT NULL,
    resource_type text,
    resource_id text,
    expected_version text,
    overwritten_version bigint,
    changes text NOT NULL
);
CREATE INDEX audits_by_at ON audits (at, id);

-- The answer to a request that carried an Idempotency-Key, kept for a repeat of it.
CREATE TABLE answers (
    scope text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    status bigint NOT NULL CHECK (status BETWEEN 200 AND 299),
    headers text NOT NULL,
    body text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX answers_by_created_at ON answers (created_at);

CREATE TABLE api_keys (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    role text NOT NULL CHECK (role = 'viewer' OR role = 'agent' OR role = 'admin'),
    digest text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);
