-- name: create_host
-- params: id, email, name, password_hash
INSERT INTO hosts (id, email, name, password_hash) VALUES (%(id)s, %(email)s, %(name)s, %(password_hash)s)

-- name: host_by_email
-- params: email
-- returns: id, email, name, password_hash
SELECT id, email, name, password_hash FROM hosts WHERE lower(email) = lower(%(email)s)

-- name: host_by_id
-- params: id
-- returns: id, email, name, password_hash
SELECT id, email, name, password_hash FROM hosts WHERE id = %(id)s

-- name: set_password_hash
-- params: id, password_hash
UPDATE hosts SET password_hash = %(password_hash)s WHERE id = %(id)s

-- name: insert_refresh
-- params: digest, family, host_id, ttl_s
INSERT INTO refresh_tokens (digest, family, host_id, expires_at)
VALUES (%(digest)s, %(family)s, %(host_id)s, now() + make_interval(secs => %(ttl_s)s))

-- name: spend_refresh
-- params: digest. Of two at the same moment, one finds it unspent.
-- returns: family, host_id
UPDATE refresh_tokens SET spent = true
WHERE digest = %(digest)s AND NOT spent AND expires_at > now()
RETURNING family, host_id

-- name: end_refresh_family
-- params: digest, of any token of the family
DELETE FROM refresh_tokens
WHERE family = (SELECT family FROM refresh_tokens WHERE digest = %(digest)s)

-- name: forget_expired_refresh
-- params: host_id
DELETE FROM refresh_tokens WHERE host_id = %(host_id)s AND expires_at < now()

-- name: list_quizzes
-- params: host_id, before (an id, or null for the newest), limit
-- returns: id, title, description, language, version, question_count, updated_at
SELECT id, title, description, language, version, question_count, updated_at FROM quizzes
WHERE host_id = %(host_id)s AND (%(before)s::text IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s

-- name: get_quiz
-- params: host_id, id
-- returns: id, title, description, language, version, questions
SELECT id, title, description, language, version, questions::text FROM quizzes
WHERE host_id = %(host_id)s AND id = %(id)s

-- name: quiz_by_key
-- params: host_id, key
-- returns: as get_quiz
SELECT id, title, description, language, version, questions::text FROM quizzes
WHERE host_id = %(host_id)s AND idempotency_key = %(key)s

-- name: create_quiz
-- params: id, host_id, title, description, language, questions, question_count, key, updated_at
-- returns: id; nothing when the key was used before
INSERT INTO quizzes (id, host_id, title, description, language, questions, question_count, idempotency_key, updated_at)
VALUES (%(id)s, %(host_id)s, %(title)s, %(description)s, %(language)s, %(questions)s::jsonb, %(question_count)s,
        %(key)s, %(updated_at)s)
ON CONFLICT (host_id, idempotency_key) DO NOTHING
RETURNING id

-- name: update_quiz
-- params: host_id, id, expected (a version, or null for whichever), and the fields
-- returns: version
UPDATE quizzes
SET version = version + 1, title = %(title)s, description = %(description)s, language = %(language)s,
    questions = %(questions)s::jsonb, question_count = %(question_count)s, updated_at = %(updated_at)s
WHERE host_id = %(host_id)s AND id = %(id)s AND (%(expected)s::integer IS NULL OR version = %(expected)s)
RETURNING version

-- name: delete_quiz
-- params: host_id, id, expected (a version, or null for whichever)
-- returns: id
DELETE FROM quizzes
WHERE host_id = %(host_id)s AND id = %(id)s AND (%(expected)s::integer IS NULL OR version = %(expected)s)
RETURNING id
