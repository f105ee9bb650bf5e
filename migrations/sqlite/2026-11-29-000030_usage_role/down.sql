DELETE FROM api_keys WHERE role = 'usage';
CREATE TABLE api_keys_without_usage (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    role text NOT NULL CHECK (role = 'viewer' OR role = 'agent' OR role = 'admin'),
    digest text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);
INSERT INTO api_keys_without_usage SELECT * FROM api_keys;
DROP TABLE api_keys;
ALTER TABLE api_keys_without_usage RENAME TO api_keys;
