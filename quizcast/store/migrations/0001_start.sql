-- Times that the contract speaks of are bigint, ms since the epoch by the server's clock; `timestamptz` is bookkeeping.
-- Ids are made in Python, 25 characters that sort by time. COLLATE "C" compares them as bytes, which is what paging
-- by id needs, and is cheaper.

CREATE TABLE hosts (
  id text COLLATE "C" PRIMARY KEY,
  email text NOT NULL,
  name text NOT NULL,
  password_hash text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX hosts_email ON hosts (lower(email));

-- One row per login. It holds the digest of the one refresh token that is good now; any other token of the family has
-- been spent, and showing it ends the family: there is nothing else to keep, and one row to lock.
CREATE TABLE logins (
  family text COLLATE "C" PRIMARY KEY,
  host_id text COLLATE "C" NOT NULL REFERENCES hosts ON DELETE CASCADE,
  digest bytea NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX logins_host ON logins (host_id);

CREATE TABLE quizzes (
  id text COLLATE "C" PRIMARY KEY,
  host_id text COLLATE "C" NOT NULL REFERENCES hosts ON DELETE CASCADE,
  version integer NOT NULL DEFAULT 1,
  title text NOT NULL,
  description text NOT NULL,
  language text NOT NULL,
  questions jsonb NOT NULL,
  question_count integer NOT NULL,
  idempotency_key text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (host_id, idempotency_key)
);
CREATE INDEX quizzes_of_host ON quizzes (host_id, id);

CREATE TABLE games (
  id text COLLATE "C" PRIMARY KEY,
  host_id text COLLATE "C" NOT NULL REFERENCES hosts ON DELETE CASCADE,
  quiz_id text COLLATE "C" REFERENCES quizzes ON DELETE SET NULL,
  pin text NOT NULL,
  title text NOT NULL,
  quiz jsonb NOT NULL,
  question_count integer NOT NULL,
  options jsonb NOT NULL,
  phase text NOT NULL,
  phase_at bigint NOT NULL,
  created_at bigint NOT NULL,
  finished_at bigint,
  idempotency_key text,
  UNIQUE (host_id, idempotency_key)
);
CREATE INDEX games_of_host ON games (host_id, id);
CREATE INDEX games_of_quiz ON games (quiz_id);

CREATE TABLE openings (
  game_id text COLLATE "C" NOT NULL REFERENCES games ON DELETE CASCADE,
  question integer NOT NULL,
  opens_at bigint NOT NULL,
  closes_at bigint NOT NULL,
  shuffle smallint[] NOT NULL,
  PRIMARY KEY (game_id, question)
);

-- `number` counts the joins of a game from 1; it is 0 while only the removal is known. Who was removed and came back
-- has a later join: out is whoever has `removed_at >= joined_at`.
CREATE TABLE participants (
  game_id text COLLATE "C" NOT NULL REFERENCES games ON DELETE CASCADE,
  id text COLLATE "C" NOT NULL,
  nickname text NOT NULL,
  number integer NOT NULL,
  joined_at bigint NOT NULL,
  removed_at bigint,
  PRIMARY KEY (game_id, id)
);

-- No foreign key to participants, on purpose. Two workers may hold a join and its answer in different batches, and the
-- answer may come first: refusing it would lose what was acknowledged. Reports leave out answers whose join is missing.
-- `json` keeps the text as it was acknowledged; `jsonb` would write the number 1e300 out in digits.
CREATE TABLE answers (
  game_id text COLLATE "C" NOT NULL REFERENCES games ON DELETE CASCADE,
  question integer NOT NULL,
  participant_id text COLLATE "C" NOT NULL,
  answer json NOT NULL CHECK (json_typeof(answer) IN ('boolean', 'number', 'string', 'array')),
  received_at bigint NOT NULL,
  PRIMARY KEY (game_id, question, participant_id)
);
