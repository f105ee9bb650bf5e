ALTER TABLE entitlement_log DROP COLUMN key_id;
ALTER TABLE usage_records DROP COLUMN key_id;
ALTER TABLE audits DROP COLUMN key_id;
ALTER TABLE events DROP COLUMN key_id;
DROP INDEX api_keys_by_name;
DROP INDEX api_keys_by_name_key;
ALTER TABLE api_keys DROP COLUMN name_key;
