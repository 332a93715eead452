-- each statement by itself
-- For counting who takes part in each game of a list, which read a row of the table for every participant: docs/database.md
-- has both plans. It holds no columns but the game's id, so a participant costs it a few bytes.
DROP INDEX CONCURRENTLY IF EXISTS participants_counted;
CREATE INDEX CONCURRENTLY participants_counted ON participants (game_id)
WHERE number > 0 AND (removed_at IS NULL OR removed_at < joined_at);
