DROP INDEX transfers_by_time;
DROP INDEX transfers_by_reference;
DROP INDEX transfers_by_kind;
