-- What was reversed completely has nothing in its window any more, and nothing of it comes back.
DROP INDEX usage_records_rolling;
CREATE INDEX usage_records_rolling ON usage_records (counter_id, at)
    WHERE is_rolling AND reversed < quantity;
