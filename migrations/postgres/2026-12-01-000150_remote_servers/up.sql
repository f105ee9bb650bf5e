-- Which servers have an id on the panel: an admin must not give one server that of another.
CREATE INDEX servers_by_remote ON servers (remote_id) WHERE remote_id IS NOT NULL;
