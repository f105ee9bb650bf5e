-- An audit record may stand for several attempts: the refused forces of one key beyond the first ones of a minute.
ALTER TABLE audits ADD COLUMN attempts bigint NOT NULL DEFAULT 1 CHECK (attempts >= 1);
