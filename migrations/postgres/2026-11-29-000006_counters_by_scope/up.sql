-- A scope's running counters are read together with what it has.
CREATE INDEX counters_by_scope ON counters (scope, window_start);
