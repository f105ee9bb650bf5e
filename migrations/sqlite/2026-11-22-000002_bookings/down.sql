DROP TABLE booking_days;
DROP TABLE bookings;
DROP TABLE bookables;
