-- The log of all changes, as a whole; one row. Its events are in the table `events`.
CREATE TABLE event_log (
    id bigint PRIMARY KEY NOT NULL CHECK (id = 1),
    epoch text NOT NULL,
    oldest bigint NOT NULL CHECK (oldest >= 0)
);
INSERT INTO event_log (id, epoch, oldest) VALUES (1, '', 0);
