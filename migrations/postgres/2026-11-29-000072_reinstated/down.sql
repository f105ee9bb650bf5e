UPDATE payments SET reversed_at = NULL, reversal_reason = NULL WHERE status = 'settled';
ALTER TABLE payments DROP CONSTRAINT payments_check;
ALTER TABLE payments ADD CONSTRAINT payments_check
    CHECK ((status = 'reversed') = (reversed_at IS NOT NULL));
ALTER TABLE payments DROP COLUMN reinstatement_reason;
ALTER TABLE payments DROP COLUMN reinstated_at;
