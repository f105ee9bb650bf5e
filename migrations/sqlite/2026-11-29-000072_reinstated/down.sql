CREATE TABLE payments_old (
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
    CHECK ((status = 'reversed') = (reversed_at IS NOT NULL))
);
INSERT INTO payments_old (id, version, invoice_id, amount, provider_ref, status, created_at, created_by, reversed_at, reversal_reason)
    SELECT id, version, invoice_id, amount, provider_ref, status, created_at, created_by, CASE status WHEN 'reversed' THEN reversed_at END,
        CASE status WHEN 'reversed' THEN reversal_reason END FROM payments;
DROP TABLE payments;
ALTER TABLE payments_old RENAME TO payments;
CREATE INDEX payments_by_invoice ON payments (invoice_id, id);
