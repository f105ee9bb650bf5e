-- What can be booked by the day, its bookings, and how much of each day is reserved.
--
-- A bookable's row is what everybody locks who changes its bookings or days. Dates are YYYY-MM-DD.

CREATE TABLE bookables (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    name text NOT NULL,
    capacity bigint NOT NULL CHECK (capacity BETWEEN 0 AND 1000000),
    range_mode text NOT NULL CHECK (range_mode = 'inclusive_days' OR range_mode = 'nights'),
    min_days bigint NOT NULL CHECK (min_days >= 1),
    max_days bigint NOT NULL CHECK (max_days BETWEEN min_days AND 366),
    hold_ttl_ms bigint NOT NULL CHECK (hold_ttl_ms >= 1),
    horizon_days bigint NOT NULL CHECK (horizon_days BETWEEN 1 AND 3650),
    status text NOT NULL CHECK (status = 'active' OR status = 'archived'),
    metadata text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text NOT NULL,
    deleted_at bigint,
    deleted_by text
);
CREATE INDEX bookables_by_created_at ON bookables (created_at, id);

-- `until_day` ends the range that was booked, `taken_until` what it still takes of it; both are the
-- first day after.
CREATE TABLE bookings (
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
CREATE INDEX bookings_by_created_at ON bookings (created_at, id);
CREATE INDEX bookings_by_bookable ON bookings (bookable_id, created_at, id);
CREATE INDEX bookings_by_start ON bookings (bookable_id, start_date, id);
CREATE INDEX bookings_by_user ON bookings (user_id, created_at, id)
    WHERE user_id IS NOT NULL;
CREATE INDEX bookings_by_expiry ON bookings (bookable_id, hold_expires_at)
    WHERE status = 'held';

-- How much of one day is reserved. Its capacity is the bookable's as of the last change of the day,
-- or what is reserved if that is more: an admin lowered it, or holds that are over wait to be ended.
CREATE TABLE booking_days (
    id text PRIMARY KEY NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    bookable_id text NOT NULL REFERENCES bookables (id),
    day text NOT NULL,
    capacity bigint NOT NULL,
    reserved bigint NOT NULL,
    CHECK (reserved >= 0 AND reserved <= capacity)
);
CREATE UNIQUE INDEX booking_days_by_day ON booking_days (bookable_id, day);
