-- Each takes `rows`, a JSON list of lists with the columns that are named, in the order of the keys, and each key
-- once unless it says otherwise.

-- name: store_openings
-- params rows: game_id, question, opens_at, closes_at, shuffle (as '{1,0,2}')
-- A question that was given more time comes again; its latest end stays.
INSERT INTO openings (game_id, question, opens_at, closes_at, shuffle)
SELECT given->>0, (given->>1)::int, (given->>2)::bigint, (given->>3)::bigint, (given->>4)::smallint[]
FROM json_array_elements(%(rows)s::json) AS given
ON CONFLICT (game_id, question) DO UPDATE SET closes_at = excluded.closes_at
WHERE openings.closes_at < excluded.closes_at;

-- name: store_joins
-- params rows: game_id, id, nickname, number, joined_at
-- A later join (somebody was removed and came back) replaces an earlier one, whichever is stored first.
INSERT INTO participants (game_id, id, nickname, number, joined_at)
SELECT given->>0, given->>1, given->>2, (given->>3)::int, (given->>4)::bigint
FROM json_array_elements(%(rows)s::json) AS given
ON CONFLICT (game_id, id) DO UPDATE
SET nickname = excluded.nickname, number = excluded.number, joined_at = excluded.joined_at
WHERE participants.number < excluded.number;

-- name: store_removals
-- params rows: game_id, id, removed_at
-- The row of somebody whose join is not here yet keeps the removal until it is.
INSERT INTO participants (game_id, id, nickname, number, joined_at, removed_at)
SELECT given->>0, given->>1, '', 0, 0, (given->>2)::bigint
FROM json_array_elements(%(rows)s::json) AS given
ON CONFLICT (game_id, id) DO UPDATE SET removed_at = greatest(participants.removed_at, excluded.removed_at);

-- name: copy_answers
-- Fails when one of them is known.
COPY answers (game_id, question, participant_id, received_at, answer) FROM STDIN;

-- name: store_answers
-- params rows: game_id, question, participant_id, received_at, answer (JSON text); a key may come twice, the first counts
INSERT INTO answers (game_id, question, participant_id, received_at, answer)
SELECT given->>0, (given->>1)::int, given->>2, (given->>3)::bigint, (given->>4)::json
FROM json_array_elements(%(rows)s::json) AS given
ON CONFLICT DO NOTHING;

-- name: store_phases
-- params rows: game_id, phase, at
-- The latest phase stays whatever comes after it, and `finished` is for good.
UPDATE games
SET phase = given->>1, phase_at = (given->>2)::bigint,
    finished_at = CASE given->>1 WHEN 'finished' THEN (given->>2)::bigint END
FROM json_array_elements(%(rows)s::json) AS given
WHERE id = given->>0 AND phase <> 'finished' AND (given->>1 = 'finished' OR phase_at <= (given->>2)::bigint);

-- name: games_there
-- params ids; returns id of those that exist
SELECT id FROM games WHERE id = ANY(%(ids)s);
