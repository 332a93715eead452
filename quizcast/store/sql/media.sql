-- name: lock_host
-- params host_id; returns id; one upload of a host at a time, or two would both find room for one
SELECT id FROM hosts WHERE id = %(host_id)s FOR NO KEY UPDATE;

-- name: media_by_digest
-- params host_id, digest; returns id, content_type, bytes
SELECT id, content_type, bytes FROM media WHERE host_id = %(host_id)s AND digest = %(digest)s;

-- name: media_bytes
-- params host_id; returns how many bytes the host's images have together
SELECT coalesce(sum(bytes), 0)::bigint FROM media WHERE host_id = %(host_id)s;

-- name: insert_media
-- params id, host_id, digest, content_type, bytes, content; returns nothing
INSERT INTO media (id, host_id, digest, content_type, bytes, content)
VALUES (%(id)s, %(host_id)s, %(digest)s, %(content_type)s, %(bytes)s, %(content)s);

-- name: media_page
-- params host_id, before (an id or NULL), most; returns id, content_type, bytes, the newest first
SELECT id, content_type, bytes FROM media
WHERE host_id = %(host_id)s AND (%(before)s::text IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(most)s;

-- name: media_content
-- params id; returns content_type, content
SELECT content_type, content FROM media WHERE id = %(id)s;

-- name: delete_media
-- params id, host_id; returns id
DELETE FROM media WHERE id = %(id)s AND host_id = %(host_id)s RETURNING id;
