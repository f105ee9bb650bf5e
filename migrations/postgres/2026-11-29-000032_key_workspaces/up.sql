-- A key may be limited to one workspace. It sees what hangs on that workspace: each event says which
-- one that is, and a booking may have one. The row of a booking's workspace is locked by the command
-- that names it, so no second lookup checks it.
ALTER TABLE api_keys ADD COLUMN workspace_id text;
ALTER TABLE bookings ADD COLUMN workspace_id text;
CREATE INDEX bookings_by_workspace ON bookings (workspace_id, created_at, id)
    WHERE workspace_id IS NOT NULL;
ALTER TABLE events ADD COLUMN workspace_id text;
UPDATE events SET workspace_id = resource_id WHERE resource_type = 'workspace';
UPDATE events SET workspace_id =
    (SELECT n.workspace_id FROM namespaces AS n WHERE n.id = events.resource_id)
    WHERE resource_type = 'namespace';
UPDATE events SET workspace_id =
    (SELECT s.workspace_id FROM subscriptions AS s WHERE s.id = events.resource_id)
    WHERE resource_type = 'subscription';
UPDATE events SET workspace_id =
    (SELECT i.workspace_id FROM invoices AS i WHERE i.id = events.resource_id)
    WHERE resource_type = 'invoice';
UPDATE events SET workspace_id =
    (SELECT CASE WHEN a.scope LIKE 'workspaces/%' THEN substr(a.scope, 12) ELSE
        (SELECT n.workspace_id FROM namespaces AS n WHERE n.id = substr(a.scope, 12)) END
     FROM assignments AS a WHERE a.id = events.resource_id)
    WHERE resource_type = 'assignment';
UPDATE events SET workspace_id =
    (SELECT CASE WHEN b.scope LIKE 'workspaces/%' THEN substr(b.scope, 12) ELSE
        (SELECT n.workspace_id FROM namespaces AS n WHERE n.id = substr(b.scope, 12)) END
     FROM boosts AS b WHERE b.id = events.resource_id)
    WHERE resource_type = 'boost';
UPDATE events SET workspace_id =
    (SELECT CASE WHEN c.scope LIKE 'workspaces/%' THEN substr(c.scope, 12) ELSE
        (SELECT n.workspace_id FROM namespaces AS n WHERE n.id = substr(c.scope, 12)) END
     FROM counters AS c WHERE c.id = events.resource_id)
    WHERE resource_type = 'usage';
CREATE INDEX events_by_workspace ON events (workspace_id, seq) WHERE workspace_id IS NOT NULL;
