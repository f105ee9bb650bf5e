ALTER TABLE bookings ADD CONSTRAINT bookings_bookable_id_fkey
    FOREIGN KEY (bookable_id) REFERENCES bookables (id);
