-- name: create_game
-- params: id, host_id, quiz_id, quiz, game, phase, phase_at, key
-- returns: id; nothing when the key was used before
INSERT INTO games (id, host_id, quiz_id, quiz, game, phase, phase_at, idempotency_key)
VALUES (%(id)s, %(host_id)s, %(quiz_id)s, %(quiz)s::jsonb, %(game)s::jsonb, %(phase)s, %(phase_at)s, %(key)s)
ON CONFLICT (host_id, idempotency_key) DO NOTHING
RETURNING id

-- name: delete_game
-- params: id
DELETE FROM games WHERE id = %(id)s

-- name: game_by_key
-- params: host_id, key
-- returns: id
SELECT id FROM games WHERE host_id = %(host_id)s AND idempotency_key = %(key)s

-- name: get_game
-- params: host_id, id
-- returns: game, phase, phase_at, participants, last question opened
SELECT game::text, phase, phase_at,
  (SELECT count(*) FROM participants p WHERE p.game_id = games.id AND NOT removed),
  (SELECT question FROM openings o WHERE o.game_id = games.id ORDER BY opens_at DESC LIMIT 1)
FROM games WHERE host_id = %(host_id)s AND id = %(id)s

-- name: list_games
-- params: host_id, before (an id, or null for the newest), limit
-- returns: as get_game
SELECT game::text, phase, phase_at,
  (SELECT count(*) FROM participants p WHERE p.game_id = games.id AND NOT removed),
  (SELECT question FROM openings o WHERE o.game_id = games.id ORDER BY opens_at DESC LIMIT 1)
FROM games
WHERE host_id = %(host_id)s AND (%(before)s::text IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s

-- name: game_quiz
-- params: host_id, id
-- returns: quiz
SELECT quiz::text FROM games WHERE host_id = %(host_id)s AND id = %(id)s

-- name: game_openings
-- params: id
-- returns: question, opens_at, closes_at, shuffle
SELECT question, opens_at, closes_at, shuffle FROM openings WHERE game_id = %(id)s ORDER BY opens_at

-- name: game_participants
-- params: id
-- returns: id, nickname, in the order of joining
SELECT id, nickname FROM participants WHERE game_id = %(id)s AND NOT removed ORDER BY number, id

-- name: game_answers
-- params: id
-- returns: question, participant_id, answer, received_at
SELECT question, participant_id, answer::text, received_at FROM answers WHERE game_id = %(id)s

-- name: store_joins
-- params: arrays game_ids, ids, nicknames, numbers, joined_ats
-- A removal can come first when batches change order; then the row is there without a name, and stays removed.
INSERT INTO participants (game_id, id, nickname, number, joined_at)
SELECT DISTINCT ON (g, i) g, i, n, k, j
FROM unnest(%(game_ids)s::text[], %(ids)s::text[], %(nicknames)s::text[], %(numbers)s::int[], %(joined_ats)s::bigint[])
  AS t (g, i, n, k, j)
ON CONFLICT (game_id, id) DO UPDATE
SET nickname = excluded.nickname, number = excluded.number, joined_at = excluded.joined_at,
    removed = participants.removed AND participants.joined_at >= excluded.joined_at
WHERE participants.joined_at < excluded.joined_at OR participants.nickname = ''

-- name: store_removals
-- params: arrays game_ids, ids, removed_ats
INSERT INTO participants (game_id, id, nickname, number, joined_at, removed)
SELECT DISTINCT ON (g, i) g, i, '', 0, r, true
FROM unnest(%(game_ids)s::text[], %(ids)s::text[], %(removed_ats)s::bigint[]) AS t (g, i, r)
ORDER BY g, i, r DESC
ON CONFLICT (game_id, id) DO UPDATE SET removed = true WHERE participants.joined_at <= excluded.joined_at

-- name: store_openings
-- params: game_id, question, opens_at, closes_at, shuffle
INSERT INTO openings (game_id, question, opens_at, closes_at, shuffle)
VALUES (%(game_id)s, %(question)s, %(opens_at)s, %(closes_at)s, %(shuffle)s)
ON CONFLICT DO NOTHING

-- name: store_phase
-- params: game_id, phase, at. Never backwards, and `finished` is final.
UPDATE games SET phase = %(phase)s, phase_at = %(at)s
WHERE id = %(game_id)s AND phase_at <= %(at)s AND phase <> 'finished'

-- name: store_answers
-- params: arrays game_ids, questions, participant_ids, answers, received_ats
INSERT INTO answers (game_id, question, participant_id, answer, received_at)
SELECT g, q, p, a::jsonb, r
FROM unnest(%(game_ids)s::text[], %(questions)s::int[], %(participant_ids)s::text[], %(answers)s::text[],
            %(received_ats)s::bigint[]) AS t (g, q, p, a, r)
ON CONFLICT DO NOTHING
