-- API keys may have the role `usage`. SQLite cannot change a
-- check: the table is made anew.
CREATE TABLE api_keys_with_usage (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    role text NOT NULL CHECK (role = 'viewer' OR role = 'usage' OR role = 'agent' OR role = 'admin'),
    digest text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);
INSERT INTO api_keys_with_usage SELECT * FROM api_keys;
DROP TABLE api_keys;
ALTER TABLE api_keys_with_usage RENAME TO api_keys;
