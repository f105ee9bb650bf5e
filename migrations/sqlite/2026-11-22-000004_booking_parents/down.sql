CREATE TABLE bookings_bound (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    bookable_id text NOT NULL REFERENCES bookables (id),
    start_date text NOT NULL,
    end_date text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 1),
    user_id text,
    notes text NOT NULL,
    status text NOT NULL
        CHECK (status = 'held' OR status = 'confirmed' OR status = 'in_use'
            OR status = 'completed' OR status = 'cancelled' OR status = 'no_show'
            OR status = 'expired'),
    hold_expires_at bigint,
    confirmed_at bigint,
    cancelled_at bigint,
    ended_at bigint,
    until_day text NOT NULL,
    taken_until text NOT NULL,
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text,
    CHECK (start_date < until_day),
    CHECK (taken_until BETWEEN start_date AND until_day),
    CHECK (status <> 'held' OR hold_expires_at IS NOT NULL),
    CHECK ((status <> 'expired' AND status <> 'cancelled') OR taken_until = start_date)
);
INSERT INTO bookings_bound SELECT * FROM bookings;
DROP TABLE bookings;
ALTER TABLE bookings_bound RENAME TO bookings;
CREATE INDEX bookings_by_created_at ON bookings (created_at, id);
CREATE INDEX bookings_by_bookable ON bookings (bookable_id, created_at, id);
CREATE INDEX bookings_by_start ON bookings (bookable_id, start_date, id);
CREATE INDEX bookings_by_user ON bookings (user_id, created_at, id)
    WHERE user_id IS NOT NULL;
CREATE INDEX bookings_by_expiry ON bookings (bookable_id, hold_expires_at)
    WHERE status = 'held';
