-- A reversed payment can be reinstated: a dispute that was won. It keeps when and why it was reversed.
-- SQLite cannot change a constraint, so the table is made anew.
CREATE TABLE payments_new (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL,
    invoice_id text NOT NULL REFERENCES invoices (id),
    amount bigint NOT NULL CHECK (amount > 0),
    provider_ref text NOT NULL UNIQUE,
    status text NOT NULL CHECK (status IN ('settled', 'reversed')),
    created_at bigint NOT NULL,
    created_by text NOT NULL,
    reversed_at bigint,
    reversal_reason text,
    reinstated_at bigint,
    reinstatement_reason text,
    CHECK (status = 'settled' OR reversed_at IS NOT NULL)
);
INSERT INTO payments_new (id, version, invoice_id, amount, provider_ref, status, created_at, created_by, reversed_at, reversal_reason)
    SELECT id, version, invoice_id, amount, provider_ref, status, created_at, created_by, reversed_at, reversal_reason FROM payments;
DROP TABLE payments;
ALTER TABLE payments_new RENAME TO payments;
CREATE INDEX payments_by_invoice ON payments (invoice_id, id);
