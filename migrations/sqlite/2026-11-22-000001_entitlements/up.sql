-- Features, packages, who has them, and what was used of them.
--
-- Constraints here are the net under the rules, not the rules. Whoever changes or uses what a scope
-- has locks the scope's own row, a workspace or a namespace, first.

CREATE TABLE features (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    code text NOT NULL,
    name text NOT NULL,
    feature_type text NOT NULL CHECK (feature_type IN ('boolean', 'limit', 'unlimited')),
    reset text NOT NULL CHECK (reset IN ('none', 'monthly', 'rolling')),
    rolling_days bigint CHECK (rolling_days BETWEEN 1 AND 366),
    parent_code text,
    releasable boolean NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'archived')),
    pool text NOT NULL,
    pool_reset text NOT NULL CHECK (pool_reset IN ('none', 'monthly', 'rolling')),
    pool_rolling_days bigint,
    granted boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE UNIQUE INDEX features_by_code ON features (code) WHERE deleted_at IS NULL;
CREATE INDEX features_by_created_at ON features (created_at, id);

CREATE TABLE packages (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    code text NOT NULL,
    name text NOT NULL,
    is_base boolean NOT NULL,
    is_stackable boolean NOT NULL,
    grants text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'archived')),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE UNIQUE INDEX packages_by_code ON packages (code) WHERE deleted_at IS NULL;
CREATE INDEX packages_by_created_at ON packages (created_at, id);

CREATE TABLE assignments (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    scope text NOT NULL,
    package_id text NOT NULL REFERENCES packages (id),
    package text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'suspended', 'cancelled', 'expired')),
    is_base boolean NOT NULL,
    starts_at bigint NOT NULL,
    expires_at bigint,
    cancel_at bigint,
    ended_at bigint,
    anchor_at bigint NOT NULL,
    external_service_id text UNIQUE,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE UNIQUE INDEX assignments_by_base ON assignments (scope)
    WHERE is_base AND status IN ('active', 'suspended');
CREATE INDEX assignments_living ON assignments (scope)
    WHERE status IN ('active', 'suspended');
CREATE INDEX assignments_by_scope ON assignments (scope, created_at, id);
CREATE INDEX assignments_by_package ON assignments (package_id);
CREATE INDEX assignments_by_expiry ON assignments (expires_at)
    WHERE status IN ('active', 'suspended') AND expires_at IS NOT NULL;
CREATE INDEX assignments_by_cancellation ON assignments (cancel_at)
    WHERE status IN ('active', 'suspended') AND cancel_at IS NOT NULL;

CREATE TABLE boosts (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    scope text NOT NULL,
    feature text NOT NULL,
    pool text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('add_limit', 'enable', 'unlimited')),
    duration text NOT NULL CHECK (duration IN ('cycle_bound', 'fixed', 'permanent', 'consumable')),
    amount bigint CHECK (amount > 0),
    consumed bigint NOT NULL CHECK (consumed >= 0),
    priority bigint NOT NULL,
    expires_at bigint,
    source text,
    external_addon_id text,
    addon_key text UNIQUE,
    anchor_at bigint NOT NULL,
    is_over boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text,
    CHECK (consumed <= coalesce(amount, 0))
);
CREATE INDEX boosts_living ON boosts (scope) WHERE NOT is_over;
CREATE INDEX boosts_by_scope ON boosts (scope, created_at, id);
CREATE INDEX boosts_by_expiry ON boosts (expires_at) WHERE NOT is_over AND expires_at IS NOT NULL;

-- What was used of a pool in a window.
CREATE TABLE counters (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    scope text NOT NULL,
    pool text NOT NULL,
    window_start bigint,
    used bigint NOT NULL CHECK (used >= 0),
    held bigint NOT NULL CHECK (held >= 0),
    burns text NOT NULL,
    rolled_until bigint,
    notified bigint NOT NULL CHECK (notified = 0 OR notified = 80 OR notified = 90 OR notified = 100),
    events bigint NOT NULL
);

CREATE TABLE usage_records (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    counter_id text NOT NULL,
    scope text NOT NULL,
    charged_scope text NOT NULL,
    feature text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity > 0),
    reversed bigint NOT NULL CHECK (reversed BETWEEN 0 AND quantity),
    is_rolling boolean NOT NULL,
    metadata text NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    on_behalf_of text,
    source text NOT NULL CHECK (source = 'api' OR source = 'cli' OR source = 'worker'),
    request_id text NOT NULL
);
CREATE INDEX usage_records_by_scope ON usage_records (scope, id);
CREATE INDEX usage_records_rolling ON usage_records (counter_id, at) WHERE is_rolling;

CREATE TABLE usage_holds (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    counter_id text NOT NULL REFERENCES counters (id),
    scope text NOT NULL,
    charged_scope text NOT NULL,
    feature text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity > 0),
    status text NOT NULL CHECK (status = 'active' OR status = 'settled' OR status = 'released' OR status = 'expired'),
    expires_at bigint NOT NULL,
    settled_quantity bigint,
    record_id text,
    created_at bigint NOT NULL,
    ended_at bigint,
    CHECK ((status = 'active') = (ended_at IS NULL)),
    CHECK ((status = 'settled') = (record_id IS NOT NULL))
);
CREATE INDEX usage_holds_by_counter ON usage_holds (counter_id, expires_at) WHERE status = 'active';
CREATE INDEX usage_holds_by_expiry ON usage_holds (expires_at) WHERE status = 'active';

-- What a scope was given, lost, or was denied.
CREATE TABLE entitlement_log (
    id text PRIMARY KEY NOT NULL,
    scope text NOT NULL,
    log_type text NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    on_behalf_of text,
    source text NOT NULL CHECK (source = 'api' OR source = 'cli' OR source = 'worker'),
    request_id text NOT NULL,
    details text NOT NULL
);
CREATE INDEX entitlement_log_by_scope ON entitlement_log (scope, id);
