-- Redactions whose object's past is still to be rewritten: how far that has come. A row goes when it is done.
CREATE TABLE redactions (
    id text PRIMARY KEY NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    version bigint NOT NULL CHECK (version >= 2),
    at bigint NOT NULL,
    marks text NOT NULL,
    stage text NOT NULL,
    place text NOT NULL
);
CREATE INDEX redactions_by_resource ON redactions (resource_id);

-- The audit records about one object, which a redaction rewrites.
CREATE INDEX audits_by_resource ON audits (resource_id, id);
