-- Named locks. A row outlives its grants, so that the fence of a lock only grows. Its id is
-- <workspace>/<scope>/<function>/<key>; no part contains a slash.
CREATE TABLE locks (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    workspace_id text,
    scope text NOT NULL CHECK (scope = 'global' OR scope = 'function'),
    function text,
    key text NOT NULL,
    fence bigint NOT NULL CHECK (fence >= 1),
    owner_digest text NOT NULL,
    label text,
    acquired_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    ttl_ms bigint NOT NULL CHECK (ttl_ms >= 1),
    ended text CHECK (ended = 'released' OR ended = 'forced'),
    previous_digest text,
    previous_end text CHECK (previous_end = 'expired' OR previous_end = 'released' OR previous_end = 'forced'),
    cooldown_until bigint,
    changed_by text NOT NULL,
    CHECK ((scope = 'function') = (function IS NOT NULL)),
    CHECK (expires_at >= acquired_at),
    CHECK (id = coalesce(workspace_id, '') || '/' || scope || '/' || coalesce(function, '') || '/' || key)
);

-- Secrets that the server made for itself.
CREATE TABLE secrets (
    name text PRIMARY KEY NOT NULL,
    value text NOT NULL
);
