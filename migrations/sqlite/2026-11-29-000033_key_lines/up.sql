-- A key may speak for one user, and may be replaced by a new key of the same kind. The keys of one
-- line share their Idempotency-Keys; `line_id` is the first of them, and null for the first itself.
ALTER TABLE api_keys ADD COLUMN acting_for text;
ALTER TABLE api_keys ADD COLUMN line_id text;
ALTER TABLE api_keys ADD COLUMN rotated_to text;
ALTER TABLE api_keys ADD COLUMN last_used_at bigint;
