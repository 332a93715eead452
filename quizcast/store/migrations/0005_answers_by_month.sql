-- The table becomes the first part of one of the same name and shape, so the version before notices nothing. Nothing is
-- read or moved: the bound, the key's index and the foreign key are there and are taken over. What belongs to no part
-- goes into the rest.
DO $$
DECLARE
  bound text := (SELECT substring(pg_get_constraintdef(oid) FROM '''([0-9a-z]+)''')
                 FROM pg_constraint WHERE conname = 'answers_first_bound' AND conrelid = 'answers'::regclass);
BEGIN
  ALTER TABLE answers RENAME TO answers_first;
  ALTER INDEX answers_pkey RENAME TO answers_first_pkey;
  CREATE TABLE answers (
    game_id text COLLATE "C" NOT NULL REFERENCES games ON DELETE CASCADE,
    question integer NOT NULL,
    participant_id text COLLATE "C" NOT NULL,
    answer json NOT NULL CONSTRAINT answers_answer_check
      CHECK (json_typeof(answer) IN ('boolean', 'number', 'string', 'array')),
    received_at bigint NOT NULL,
    PRIMARY KEY (game_id, question, participant_id)
  ) PARTITION BY RANGE (game_id);
  EXECUTE format('ALTER TABLE answers ATTACH PARTITION answers_first FOR VALUES FROM (MINVALUE) TO (%L)', bound);
  ALTER TABLE answers_first DROP CONSTRAINT answers_first_bound;
  CREATE TABLE answers_rest PARTITION OF answers DEFAULT;
END $$;

-- Which games' answers retention has taken away. `since` is NULL for the first part; `dropped_at` is NULL while a part
-- is out of the table and has yet to be exported and dropped.
CREATE TABLE answers_dropped (
  part text PRIMARY KEY,
  since text COLLATE "C",
  until text COLLATE "C" NOT NULL,
  detached_at timestamptz NOT NULL DEFAULT now(),
  rows bigint,
  export text,
  dropped_at timestamptz
);
