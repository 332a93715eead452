-- name: store_joins
-- params game_ids, ids, nicknames, numbers, joined: arrays of one length, each participant once
-- A later join (somebody was removed and came back) replaces an earlier one, whichever is stored first.
INSERT INTO participants (game_id, id, nickname, number, joined_at)
SELECT * FROM unnest(%(game_ids)s::text[], %(ids)s::text[], %(nicknames)s::text[], %(numbers)s::int[],
                     %(joined)s::bigint[])
ON CONFLICT (game_id, id) DO UPDATE
SET nickname = excluded.nickname, number = excluded.number, joined_at = excluded.joined_at
WHERE participants.number < excluded.number;

-- name: store_removals
-- params game_ids, ids, removed: arrays of one length, each participant once
-- The row of somebody whose join is not here yet keeps the removal until it is.
INSERT INTO participants (game_id, id, nickname, number, joined_at, removed_at)
SELECT game_id, id, '', 0, 0, removed_at
FROM unnest(%(game_ids)s::text[], %(ids)s::text[], %(removed)s::bigint[]) AS gone (game_id, id, removed_at)
ON CONFLICT (game_id, id) DO UPDATE SET removed_at = greatest(participants.removed_at, excluded.removed_at);

-- name: store_openings
-- params game_ids, questions, opens, closes, shuffles (each as '{1,0,2}'): arrays of one length
INSERT INTO openings (game_id, question, opens_at, closes_at, shuffle)
SELECT game_id, question, opens_at, closes_at, shuffle::smallint[]
FROM unnest(%(game_ids)s::text[], %(questions)s::int[], %(opens)s::bigint[], %(closes)s::bigint[],
            %(shuffles)s::text[])
  AS opened (game_id, question, opens_at, closes_at, shuffle)
ON CONFLICT DO NOTHING;

-- name: store_phases
-- params game_ids, phases, ats: arrays of one length, each game once; returns nothing
-- The latest phase stays whatever comes after it, and `finished` is for good.
UPDATE games
SET phase = latest.phase, phase_at = latest.at,
    finished_at = CASE latest.phase WHEN 'finished' THEN latest.at END
FROM unnest(%(game_ids)s::text[], %(phases)s::text[], %(ats)s::bigint[]) AS latest (game_id, phase, at)
WHERE id = latest.game_id AND games.phase <> 'finished' AND (latest.phase = 'finished' OR phase_at <= latest.at);

-- name: store_answers
-- params game_ids, questions, participant_ids, answers, received: arrays of one length
INSERT INTO answers (game_id, question, participant_id, answer, received_at)
SELECT game_id, question, participant_id, answer::jsonb, received_at
FROM unnest(%(game_ids)s::text[], %(questions)s::int[], %(participant_ids)s::text[], %(answers)s::text[],
            %(received)s::bigint[])
  AS given (game_id, question, participant_id, answer, received_at)
ON CONFLICT DO NOTHING;

-- name: games_there
-- params ids; returns id of those that exist
SELECT id FROM games WHERE id = ANY(%(ids)s);
