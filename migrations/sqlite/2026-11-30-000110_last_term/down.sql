ALTER TABLE subscriptions DROP COLUMN last_term;
