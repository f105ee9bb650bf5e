ALTER TABLE events DROP COLUMN key_digest;
