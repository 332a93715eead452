-- name: insert_host
-- params id, email, name, password_hash; returns id, or nothing when the address is taken: an error would put it into
-- the log of Postgres
INSERT INTO hosts (id, email, name, password_hash)
VALUES (%(id)s, %(email)s, %(name)s, %(password_hash)s)
ON CONFLICT (lower(email)) DO NOTHING
RETURNING id;

-- name: host_by_email
-- params email; returns id, email, name, password_hash
SELECT id, email, name, password_hash FROM hosts WHERE lower(email) = lower(%(email)s);

-- name: host_by_id
-- params id; returns id, email, name
SELECT id, email, name FROM hosts WHERE id = %(id)s;

-- name: update_password
-- params id, password_hash; returns nothing
UPDATE hosts SET password_hash = %(password_hash)s WHERE id = %(id)s;

-- name: insert_login
-- params family, host_id, digest, life_s; returns nothing; forgets the host's logins that have run out
WITH outlived AS (DELETE FROM logins WHERE host_id = %(host_id)s AND expires_at < now())
INSERT INTO logins (family, host_id, digest, expires_at)
VALUES (%(family)s, %(host_id)s, %(digest)s, now() + make_interval(secs => %(life_s)s));

-- name: rotate_login
-- params family, spent, fresh, life_s, grace_s; returns id, email, name of the host when `spent` was the family's good
-- token, or was it until `grace_s` ago and `fresh` is what has followed it
UPDATE logins
SET digest = %(fresh)s, previous = %(spent)s, expires_at = now() + make_interval(secs => %(life_s)s),
  rotated_at = CASE WHEN digest = %(spent)s THEN now() ELSE rotated_at END
FROM hosts
WHERE family = %(family)s AND expires_at > now() AND hosts.id = host_id AND (
  digest = %(spent)s
  OR (digest = %(fresh)s AND previous = %(spent)s AND rotated_at > now() - make_interval(secs => %(grace_s)s))
)
RETURNING hosts.id, hosts.email, hosts.name;

-- name: delete_login
-- params family; returns nothing
DELETE FROM logins WHERE family = %(family)s;
