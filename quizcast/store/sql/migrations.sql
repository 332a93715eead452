-- name: migrations_lock
-- params: key. Held until the end of the transaction.
SELECT pg_advisory_xact_lock(%(key)s)

-- name: migrations_table
CREATE TABLE IF NOT EXISTS schema_migrations (
  name text PRIMARY KEY,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: migrations_applied
-- returns: name, checksum
SELECT name, checksum FROM schema_migrations

-- name: migrations_known
-- returns: name; none when there has been no migration at all
SELECT name FROM schema_migrations ORDER BY name

-- name: migrations_insert
-- params: name, checksum
INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)
