-- A booking's bookable is not looked up a second time for each row: whoever books has locked it, it is
-- never removed, and the days that a booking takes refer to it themselves. That lookup was a third of
-- what storing a booking cost.
ALTER TABLE bookings DROP CONSTRAINT bookings_bookable_id_fkey;
