-- name: connections
-- params none; returns connections of clients in use, and how many there may be
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
       current_setting('max_connections')::int;

-- name: probe_server
-- params none; returns version (160004 for 16.4), max_connections, connections in use, whether it only reads, now in ms
SELECT current_setting('server_version_num')::int AS version,
       current_setting('max_connections')::int AS max_connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS used,
       pg_is_in_recovery() AS read_only,
       (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms;
