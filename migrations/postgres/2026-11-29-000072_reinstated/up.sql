-- A reversed payment can be reinstated: a dispute that was won. It keeps when and why it was reversed.
ALTER TABLE payments ADD COLUMN reinstated_at bigint;
ALTER TABLE payments ADD COLUMN reinstatement_reason text;
ALTER TABLE payments DROP CONSTRAINT payments_check;
ALTER TABLE payments ADD CONSTRAINT payments_check
    CHECK (status = 'settled' OR reversed_at IS NOT NULL);
