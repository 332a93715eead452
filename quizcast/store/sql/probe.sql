-- name: connections
-- params none; returns connections of clients in use, and how many there may be
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
       current_setting('max_connections')::int;

-- name: probe_server
-- params none; returns version (160004 for 16.4), how many connections ordinary users may open, connections in use,
-- whether it only reads, now in ms; a reserve that this version does not know counts as none
SELECT current_setting('server_version_num')::int AS version,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int AS max_connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS used,
       pg_is_in_recovery() AS read_only,
       (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms;

-- name: log_end
-- no params; returns up to where the log is safe on a primary, or replayed on a replica, in bytes
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint;
