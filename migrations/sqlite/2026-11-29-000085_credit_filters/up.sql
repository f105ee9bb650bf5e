-- Few transfers of an account are top-ups, have one purpose, or are recent.
CREATE INDEX transfers_by_kind ON transfers (account_id, kind, version);
CREATE INDEX transfers_by_reference ON transfers (account_id, reference, version)
    WHERE reference IS NOT NULL;
CREATE INDEX transfers_by_time ON transfers (account_id, at, version);
