-- What the pages need: sessions in cookies, and images. The version before knows none of it and is not disturbed.

-- The token that was good before this one, and when it was spent: of a session that several tabs share, each may come
-- with it for a moment.
ALTER TABLE logins ADD COLUMN previous bytea, ADD COLUMN rotated_at timestamptz;

-- One row per image of a host; the same bytes are the same image. Never changed, so their id may be in a cache for ever.
CREATE TABLE media (
  id text COLLATE "C" PRIMARY KEY,
  host_id text COLLATE "C" NOT NULL REFERENCES hosts ON DELETE CASCADE,
  digest bytea NOT NULL,
  content_type text NOT NULL,
  bytes integer NOT NULL,
  content bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (host_id, digest)
);
-- Images are compressed as they are; Postgres would only try.
ALTER TABLE media ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX media_of_host ON media (host_id, id);
