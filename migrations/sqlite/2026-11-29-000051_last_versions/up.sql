-- The last living version of a deleted object that was redacted since. Without a value, it is the version before the
-- deletion's own.
ALTER TABLE plans ADD COLUMN last_version bigint;
ALTER TABLE workspaces ADD COLUMN last_version bigint;
ALTER TABLE namespaces ADD COLUMN last_version bigint;
ALTER TABLE subscriptions ADD COLUMN last_version bigint;
ALTER TABLE invoices ADD COLUMN last_version bigint;
ALTER TABLE features ADD COLUMN last_version bigint;
ALTER TABLE packages ADD COLUMN last_version bigint;
ALTER TABLE assignments ADD COLUMN last_version bigint;
ALTER TABLE boosts ADD COLUMN last_version bigint;
ALTER TABLE bookables ADD COLUMN last_version bigint;
ALTER TABLE bookings ADD COLUMN last_version bigint;
