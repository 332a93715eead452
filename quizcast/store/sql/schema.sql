-- name: lock_schema
-- no params, or the statement's portal would keep its snapshot, for whose end CREATE INDEX CONCURRENTLY would wait
-- returns whether the lock of quizcast's migrations (the number is "quic") is this transaction's; does not wait
SELECT pg_try_advisory_xact_lock(1903520099);

-- name: limit_lock_wait
-- params wait (as in '500ms'); until the end of the transaction, a lock that is not free for so long is an error
SELECT set_config('lock_timeout', %(wait)s, true);

-- name: create_schema_migrations
-- no params; returns nothing
CREATE TABLE IF NOT EXISTS schema_migrations (
  name text PRIMARY KEY,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: migration_checksum
-- params name; returns checksum
SELECT checksum FROM schema_migrations WHERE name = %(name)s;

-- name: insert_migration
-- params name, checksum; returns nothing
INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s);

-- name: migration_names
-- no params; returns name
SELECT name FROM schema_migrations;
