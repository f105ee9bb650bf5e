DROP TABLE server_entries;
DROP TABLE server_slots;
DROP TABLE servers;
DROP TABLE products;
ALTER TABLE reservations DROP COLUMN server_id;
