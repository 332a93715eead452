-- Ids are made in Python (quizcast.ids). Times named *_at that the contract knows are bigint, ms since the epoch, by the
-- server's clock; bookkeeping is timestamptz.

CREATE TABLE hosts (
  id text PRIMARY KEY,
  email text NOT NULL,
  name text NOT NULL,
  password_hash text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX hosts_email ON hosts (lower(email));

-- Only hashes: what is in here logs nobody in. A spent token stays until it expires, to be recognised when shown again.
CREATE TABLE refresh_tokens (
  digest bytea PRIMARY KEY,
  family text NOT NULL,
  host_id text NOT NULL REFERENCES hosts ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  spent boolean NOT NULL DEFAULT false
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_host ON refresh_tokens (host_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

CREATE TABLE quizzes (
  id text PRIMARY KEY,
  host_id text NOT NULL REFERENCES hosts ON DELETE CASCADE,
  version integer NOT NULL DEFAULT 1,
  title text NOT NULL,
  description text NOT NULL,
  language text NOT NULL,
  questions jsonb NOT NULL,
  question_count integer NOT NULL,
  idempotency_key text,
  updated_at bigint NOT NULL,
  UNIQUE (host_id, idempotency_key)
);
CREATE INDEX quizzes_host ON quizzes (host_id, id DESC);

-- A game keeps its own copy of the quiz: what was asked stays readable when the quiz is edited or deleted.
CREATE TABLE games (
  id text PRIMARY KEY,
  host_id text NOT NULL REFERENCES hosts ON DELETE CASCADE,
  quiz_id text NOT NULL,
  quiz jsonb NOT NULL,
  game jsonb NOT NULL,
  phase text NOT NULL,
  phase_at bigint NOT NULL,
  idempotency_key text,
  UNIQUE (host_id, idempotency_key)
);
CREATE INDEX games_host ON games (host_id, id DESC);

CREATE TABLE openings (
  game_id text NOT NULL REFERENCES games ON DELETE CASCADE,
  question integer NOT NULL,
  opens_at bigint NOT NULL,
  closes_at bigint NOT NULL,
  shuffle integer[] NOT NULL,
  PRIMARY KEY (game_id, question)
);

CREATE TABLE participants (
  game_id text NOT NULL REFERENCES games ON DELETE CASCADE,
  id text NOT NULL,
  nickname text NOT NULL,
  number integer NOT NULL,
  joined_at bigint NOT NULL,
  removed boolean NOT NULL DEFAULT false,
  PRIMARY KEY (game_id, id)
);

-- No reference to participants: a batch taken over from a dead worker can bring a join after its answers, and refusing
-- the answers then would lose what has been acknowledged.
CREATE TABLE answers (
  game_id text NOT NULL REFERENCES games ON DELETE CASCADE,
  question integer NOT NULL,
  participant_id text NOT NULL,
  answer jsonb NOT NULL,
  received_at bigint NOT NULL,
  PRIMARY KEY (game_id, question, participant_id)
);
