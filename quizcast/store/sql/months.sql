-- name: parts
-- no params; returns name, bounds as Postgres words them, rows as it guesses, bytes with indexes; the rest has its row too
SELECT relname AS name, pg_get_expr(relpartbound, oid) AS bounds, reltuples::bigint AS rows,
       pg_total_relation_size(oid) AS bytes
FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'answers'::regclass);

-- name: lock_rest
-- no params; until the end of the transaction nobody else comes to the rest
LOCK TABLE answers_rest IN ACCESS EXCLUSIVE MODE;

-- name: rest_of_answers
-- no params; returns whether there is anything in the rest
SELECT EXISTS (SELECT FROM answers_rest);

-- name: insert_dropped
-- params name, since (an id or NULL), until; returns nothing
INSERT INTO answers_dropped (part, since, until) VALUES (%(name)s, %(since)s, %(until)s);

-- name: parts_detached
-- no params; returns the names of parts that are out of the table and not dropped yet
SELECT part FROM answers_dropped WHERE dropped_at IS NULL ORDER BY until;

-- name: update_dropped
-- params part, rows, export; returns nothing
UPDATE answers_dropped SET rows = %(rows)s, export = %(export)s, dropped_at = now() WHERE part = %(part)s;
