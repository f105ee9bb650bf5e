-- Products, servers, the servers that count towards a limit, and the timelines of servers. A server's
-- row is locked by every command about it; the row of its workspace protects its slots.

-- The server that made a reservation, and alone resolves it.
ALTER TABLE reservations ADD COLUMN server_id text;

CREATE TABLE products (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    name text NOT NULL,
    price_credits bigint NOT NULL CHECK (price_credits >= 0),
    egg bigint NOT NULL,
    docker_image text NOT NULL,
    startup text NOT NULL,
    environment text NOT NULL,
    limits text NOT NULL,
    feature_limits text NOT NULL,
    deploy text NOT NULL,
    max_per_workspace bigint CHECK (max_per_workspace >= 1),
    status text NOT NULL CHECK (status = 'active' OR status = 'archived'),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text,
    last_version bigint
);
CREATE INDEX products_by_created_at ON products (created_at, id);

-- `due_at` is the end of a running claim, or else `next_check_at`. `progress` has the rest of what the
-- workers must know, as JSON.
CREATE TABLE servers (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text NOT NULL REFERENCES workspaces (id),
    product_id text NOT NULL REFERENCES products (id),
    name text NOT NULL,
    panel_user bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('provisioning', 'active', 'failed',
        'pending_reconciliation', 'deprovisioning', 'deleted')),
    suspended boolean NOT NULL,
    suspended_on_panel boolean NOT NULL,
    external_id text NOT NULL,
    remote_id bigint,
    remote_uuid text,
    panel_status text,
    reservation_id text,
    price_credits bigint NOT NULL CHECK (price_credits >= 0),
    attempts bigint NOT NULL CHECK (attempts >= 0),
    last_observation text,
    next_check_at bigint,
    spec text NOT NULL,
    generation bigint NOT NULL CHECK (generation >= 0),
    lease_until bigint,
    unsettled_since bigint,
    progress text NOT NULL,
    entries bigint NOT NULL CHECK (entries >= 0),
    due_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text,
    last_version bigint,
    CHECK (external_id = id),
    CHECK ((price_credits = 0) = (reservation_id IS NULL)),
    CHECK ((status IN ('active', 'failed', 'deleted')) = (unsettled_since IS NULL)),
    CHECK (status <> 'active' OR remote_id IS NOT NULL)
);
CREATE UNIQUE INDEX servers_by_reservation ON servers (reservation_id) WHERE reservation_id IS NOT NULL;
CREATE INDEX servers_by_created_at ON servers (created_at, id);
CREATE INDEX servers_by_workspace ON servers (workspace_id, created_at, id);
CREATE INDEX servers_by_product ON servers (product_id, created_at, id);
CREATE INDEX servers_due ON servers (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX servers_unsettled ON servers (unsettled_since, id) WHERE unsettled_since IS NOT NULL;

-- How many servers of a product a workspace has that have neither failed nor been deleted.
CREATE TABLE server_slots (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text NOT NULL,
    product_id text NOT NULL,
    used bigint NOT NULL CHECK (used >= 0),
    CHECK (id = workspace_id || '/' || product_id)
);

-- Rows are never changed. The step's own words; `seq` has no gap.
CREATE TABLE server_entries (
    id text PRIMARY KEY NOT NULL,
    server_id text NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    at bigint NOT NULL,
    step text NOT NULL,
    panel_call text,
    observation text,
    verdict text,
    detail text,
    status text NOT NULL,
    generation bigint NOT NULL,
    actor text NOT NULL
);
CREATE UNIQUE INDEX server_entries_by_server ON server_entries (server_id, seq);
