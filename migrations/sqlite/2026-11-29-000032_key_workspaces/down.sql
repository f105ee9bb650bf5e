DROP INDEX events_by_workspace;
ALTER TABLE events DROP COLUMN workspace_id;
DROP INDEX bookings_by_workspace;
ALTER TABLE bookings DROP COLUMN workspace_id;
ALTER TABLE api_keys DROP COLUMN workspace_id;
