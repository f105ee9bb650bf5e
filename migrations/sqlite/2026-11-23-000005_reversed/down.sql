DROP INDEX usage_records_rolling;
CREATE INDEX usage_records_rolling ON usage_records (counter_id, at) WHERE is_rolling;
