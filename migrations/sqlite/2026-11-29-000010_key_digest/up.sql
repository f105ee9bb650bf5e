-- A sender knows its own write by the digest of its Idempotency-Key.
ALTER TABLE events ADD COLUMN key_digest text;
