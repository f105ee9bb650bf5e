ALTER TABLE subscriptions DROP COLUMN quantity_max;
