-- name: insert_quiz
-- params id, host_id, title, description, language, questions (JSON), question_count, idempotency_key (or NULL)
-- returns id; no row when the host has used the key before
INSERT INTO quizzes (id, host_id, title, description, language, questions, question_count, idempotency_key)
VALUES (%(id)s, %(host_id)s, %(title)s, %(description)s, %(language)s, %(questions)s::jsonb, %(question_count)s,
        %(idempotency_key)s)
ON CONFLICT (host_id, idempotency_key) DO NOTHING
RETURNING id;

-- name: quiz_by_key
-- params host_id, idempotency_key; returns id
SELECT id FROM quizzes WHERE host_id = %(host_id)s AND idempotency_key = %(idempotency_key)s;

-- name: quiz_by_id
-- params host_id, id; returns id, version, title, description, language, questions (JSON text)
SELECT id, version, title, description, language, questions::text AS questions
FROM quizzes WHERE id = %(id)s AND host_id = %(host_id)s;

-- name: quizzes_page
-- params host_id, before (an id or NULL), most; returns the columns of QuizSummary, the newest quiz first
SELECT id, title, description, language, version, question_count,
       floor(extract(epoch FROM updated_at) * 1000)::bigint AS updated_at
FROM quizzes
WHERE host_id = %(host_id)s AND (%(before)s::text IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(most)s;

-- name: update_quiz
-- params id, host_id, expected (a version or NULL), title, description, language, questions (JSON), question_count
-- returns version; no row when there is no such quiz or it has another version
UPDATE quizzes
SET title = %(title)s, description = %(description)s, language = %(language)s, questions = %(questions)s::jsonb,
    question_count = %(question_count)s, version = version + 1, updated_at = now()
WHERE id = %(id)s AND host_id = %(host_id)s AND (%(expected)s::integer IS NULL OR version = %(expected)s)
RETURNING version;

-- name: delete_quiz
-- params id, host_id; returns id
DELETE FROM quizzes WHERE id = %(id)s AND host_id = %(host_id)s RETURNING id;
