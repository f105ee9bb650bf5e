-- An index on what every update changes costs more than the order is worth. On PostgreSQL such an
-- update is never heap-only, and writes an entry of every index of the table. What changed last is in
-- the log of events.
DROP INDEX workspaces_by_updated_at;
DROP INDEX namespaces_by_updated_at;
DROP INDEX plans_by_updated_at;
DROP INDEX subscriptions_by_updated_at;
DROP INDEX subscriptions_by_quantity;
DROP INDEX invoices_by_updated_at;
DROP INDEX features_by_updated_at;
DROP INDEX packages_by_updated_at;
DROP INDEX bookables_by_updated_at;
DROP INDEX bookings_by_updated_at;
