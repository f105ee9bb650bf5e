-- Whose "today" judges a start.
ALTER TABLE bookables ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';
