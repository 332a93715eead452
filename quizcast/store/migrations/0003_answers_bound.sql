-- Answers are to lie in one table a month, by the game's id, which begins with its time: so the key stays as it is, and
-- all answers of a game lie together. What is there becomes the first part, up to the end of the next month, by when this
-- and the two steps after it are done. NOT VALID: nothing is read under the lock; from now on the bound holds for what
-- comes. The version before makes no ids beyond it.
DO $$
DECLARE
  ends_ms bigint := extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') * 1000;
  bound text := '';
BEGIN
  FOR place IN REVERSE 8..0 LOOP  -- as `ids.first_id`; the zeros after it make no difference
    bound := bound || substr('0123456789abcdefghjkmnpqrstvwxyz', (ends_ms >> (5 * place) & 31)::int + 1, 1);
  END LOOP;
  EXECUTE format('ALTER TABLE answers ADD CONSTRAINT answers_first_bound CHECK (game_id < %L) NOT VALID', bound);
END $$;
