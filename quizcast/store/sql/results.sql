-- name: insert_game
-- params: the columns; quiz_id and idempotency_key may be NULL, quiz and options are JSON
-- returns id; no row when the host has used the key before
INSERT INTO games (id, host_id, quiz_id, pin, title, quiz, question_count, options, phase, phase_at, created_at,
                   idempotency_key)
VALUES (%(id)s, %(host_id)s, %(quiz_id)s, %(pin)s, %(title)s, %(quiz)s::jsonb, %(question_count)s, %(options)s::jsonb,
        %(phase)s, %(created_at)s, %(created_at)s, %(idempotency_key)s)
ON CONFLICT (host_id, idempotency_key) DO NOTHING
RETURNING id;

-- name: game_by_key
-- params host_id, idempotency_key; returns id
SELECT id FROM games WHERE host_id = %(host_id)s AND idempotency_key = %(idempotency_key)s;

-- name: games_by_id
-- params ids; returns the games as `_stored` reads them, the newest first; `openings` is JSON in the order of opening
SELECT id, host_id, coalesce(quiz_id, '') AS quiz_id, pin, title, question_count, options::text AS options, phase,
       created_at, finished_at,
       (SELECT count(*) FROM participants
        WHERE game_id = games.id AND number > 0 AND (removed_at IS NULL OR removed_at < joined_at)) AS participants,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('question', question, 'opens_at', opens_at,
                                                     'closes_at', closes_at, 'shuffle', shuffle) ORDER BY opens_at),
                        '[]')::text
        FROM openings WHERE game_id = games.id) AS openings
FROM games WHERE id = ANY(%(ids)s) ORDER BY id DESC;

-- name: games_page
-- params host_id, before (an id or NULL), most; returns id, the newest game first
SELECT id FROM games
WHERE host_id = %(host_id)s AND (%(before)s::text IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(most)s;

-- name: quiz_of_game
-- params id; returns quiz (JSON text), whether retention has dropped the game's answers
SELECT quiz::text, EXISTS (SELECT FROM answers_dropped WHERE (since IS NULL OR since <= games.id) AND games.id < until)
FROM games WHERE id = %(id)s;

-- name: participants_of_game
-- params game_id; returns id, nickname of everybody who takes part, in the order of joining
SELECT id, nickname FROM participants
WHERE game_id = %(game_id)s AND number > 0 AND (removed_at IS NULL OR removed_at < joined_at)
ORDER BY number;

-- name: answers_of_game
-- params game_id; returns question, answers (JSON text: participant → [answer, received_at], the earliest first)
SELECT question,
       json_object_agg(participant_id, json_build_array(answer, received_at) ORDER BY received_at, participant_id)::text
FROM answers WHERE game_id = %(game_id)s GROUP BY question;
