-- The names of living keys are unique. A key that holds its name has it in `name_key`; a key that was
-- revoked, that expired or that was replaced does not. Of older keys with one name, the oldest holds it.
-- Every record names the key's id beside its name.
ALTER TABLE api_keys ADD COLUMN name_key text;
UPDATE api_keys SET name_key = name WHERE revoked_at IS NULL AND id =
    (SELECT min(o.id) FROM api_keys AS o WHERE o.name = api_keys.name AND o.revoked_at IS NULL);
CREATE UNIQUE INDEX api_keys_by_name_key ON api_keys (name_key);
CREATE INDEX api_keys_by_name ON api_keys (name) WHERE revoked_at IS NULL;
ALTER TABLE events ADD COLUMN key_id text;
ALTER TABLE audits ADD COLUMN key_id text;
ALTER TABLE usage_records ADD COLUMN key_id text;
ALTER TABLE entitlement_log ADD COLUMN key_id text;
