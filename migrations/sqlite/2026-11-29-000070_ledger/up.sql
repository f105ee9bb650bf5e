-- The ledger: accounts of workspaces, the transfers that move them, and reservations. Constraints
-- here are the net under the rules. Whoever changes an account locks its row first.

CREATE TABLE ledger_accounts (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text NOT NULL REFERENCES workspaces (id),
    unit text NOT NULL,
    available bigint NOT NULL CHECK (available >= 0),
    reserved bigint NOT NULL CHECK (reserved >= 0),
    CHECK (id = workspace_id || '/' || unit)
);
CREATE INDEX ledger_accounts_by_workspace ON ledger_accounts (workspace_id);

-- Rows are never changed. The id of a reserve is the id of its reservation. The version is the one of
-- the account after it, and the balances are those after it.
CREATE TABLE transfers (
    id text PRIMARY KEY NOT NULL,
    account_id text NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    kind text NOT NULL CHECK (kind IN ('topup', 'adjust', 'reserve', 'post', 'void', 'charge', 'refund')),
    amount bigint NOT NULL CHECK (CASE kind WHEN 'adjust' THEN amount <> 0 ELSE amount > 0 END),
    reservation_id text,
    available bigint NOT NULL CHECK (available >= 0),
    reserved bigint NOT NULL CHECK (reserved >= 0),
    reference text,
    reason text,
    at bigint NOT NULL,
    actor text NOT NULL,
    key_id text,
    on_behalf_of text,
    source text NOT NULL CHECK (source = 'api' OR source = 'cli' OR source = 'worker'),
    request_id text NOT NULL,
    CHECK ((kind IN ('reserve', 'post', 'void')) = (reservation_id IS NOT NULL)),
    CHECK ((kind = 'reserve') = (coalesce(reservation_id, '') = id))
);
-- The statement of an account, in the order in which its balances changed.
CREATE UNIQUE INDEX transfers_by_account ON transfers (account_id, version);
-- A reservation is resolved at most once.
CREATE UNIQUE INDEX transfers_by_resolution ON transfers (reservation_id)
    WHERE kind = 'post' OR kind = 'void';

CREATE TABLE reservations (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    account_id text NOT NULL,
    workspace_id text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    reference text,
    status text NOT NULL CHECK (status = 'pending' OR status = 'posted' OR status = 'voided'),
    posted bigint CHECK (posted BETWEEN 0 AND amount),
    resolved_by text,
    created_at bigint NOT NULL,
    resolved_at bigint,
    CHECK ((status = 'pending') = (resolved_by IS NULL)),
    CHECK ((status = 'pending') = (posted IS NULL)),
    CHECK ((status = 'pending') = (resolved_at IS NULL)),
    CHECK (status <> 'posted' OR posted > 0),
    CHECK (status <> 'voided' OR posted = 0)
);
CREATE INDEX reservations_by_account ON reservations (account_id, id);
CREATE INDEX reservations_pending ON reservations (account_id, id) WHERE status = 'pending';
CREATE INDEX reservations_by_age ON reservations (created_at, id) WHERE status = 'pending';
