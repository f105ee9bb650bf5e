-- An index per order of a list, and per filter that few objects match, so that no list sorts its whole table.
-- Filters with few values, such as a status, are read in the order of the list and need none.
CREATE INDEX workspaces_by_updated_at ON workspaces (updated_at, id);
CREATE INDEX workspaces_by_name ON workspaces (name, id);
CREATE INDEX workspaces_by_email ON workspaces (email, created_at, id);
CREATE INDEX namespaces_by_updated_at ON namespaces (updated_at, id);
CREATE INDEX namespaces_by_name ON namespaces (name, id);
CREATE INDEX plans_by_updated_at ON plans (updated_at, id);
CREATE INDEX plans_by_name ON plans (name, id);
CREATE INDEX plans_by_amount ON plans (amount, id);
CREATE INDEX subscriptions_by_updated_at ON subscriptions (updated_at, id);
CREATE INDEX subscriptions_by_period_end ON subscriptions (current_period_end, id);
CREATE INDEX subscriptions_by_quantity ON subscriptions (quantity, id);
CREATE INDEX invoices_by_updated_at ON invoices (updated_at, id);
CREATE INDEX invoices_by_total ON invoices (total, id);
CREATE INDEX invoices_by_amount_due ON invoices (amount_due, id);
CREATE INDEX features_by_updated_at ON features (updated_at, id);
CREATE INDEX features_by_name ON features (name, id);
CREATE INDEX packages_by_updated_at ON packages (updated_at, id);
CREATE INDEX packages_by_name ON packages (name, id);
CREATE INDEX bookables_by_updated_at ON bookables (updated_at, id);
CREATE INDEX bookables_by_name ON bookables (name, id);
CREATE INDEX bookings_by_updated_at ON bookings (updated_at, id);
CREATE INDEX bookings_by_first_day ON bookings (start_date, id);
