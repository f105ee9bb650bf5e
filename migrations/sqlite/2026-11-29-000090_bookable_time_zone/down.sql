ALTER TABLE bookables DROP COLUMN time_zone;
