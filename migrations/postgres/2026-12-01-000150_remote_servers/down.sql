DROP INDEX servers_by_remote;
