DROP INDEX counters_by_scope;
