"""Hosts' images; inside `store`. One is never changed, and whoever knows its id may see it."""

import hashlib

import msgspec

from quizcast.errors import MediaFull, MediaUnknown, TokenInvalid
from quizcast.ids import new_id
from quizcast.store.db import Connection, fetch, fetch_one
from quizcast.store.paging import before, page
from quizcast.store.shipped import query
from quizcast.wire.api import Page


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """An image without its content; `bytes` is its size."""

    id: str
    content_type: str
    bytes: int


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image's content and what it is."""

    content_type: str
    content: bytes


async def keep(conn: Connection, host_id: str, content: bytes, content_type: str, quota_bytes: int) -> Media:
    """Store an image, or find the one of the host that has these bytes.

    Raises `MediaFull` when the host's images would have more than `quota_bytes` together.
    """
    owner = {"host_id": host_id, "digest": hashlib.sha256(content).digest()}
    if await (await conn.execute(query("lock_host"), owner)).fetchone() is None:
        raise TokenInvalid("the account is gone")
    if (found := await fetch_one(conn, Media, "media_by_digest", owner)) is not None:
        return found
    row = await (await conn.execute(query("media_bytes"), owner)).fetchone()
    taken: int = row[0] if row else 0
    if taken + len(content) > quota_bytes:
        raise MediaFull(f"{taken} of {quota_bytes} bytes are taken; delete images that no quiz shows")
    made = Media(id=new_id(), content_type=content_type, bytes=len(content))
    await conn.execute(query("insert_media"), {**owner, **msgspec.structs.asdict(made), "content": content})
    return made


async def list_media(conn: Connection, host_id: str, limit: int, cursor: str | None = None) -> Page[Media]:
    """A host's images, the newest first. Raises `CursorInvalid`."""
    params = {"host_id": host_id, "before": before(cursor), "most": limit + 1}
    return page(await fetch(conn, Media, "media_page", params), limit, lambda one: one.id)


async def get_image(conn: Connection, media_id: str) -> Image | None:
    """The image with this id, whoever's it is."""
    return await fetch_one(conn, Image, "media_content", {"id": media_id})


async def delete_media(conn: Connection, host_id: str, media_id: str) -> None:
    """Delete a host's image. Raises `MediaUnknown`."""
    row = await (await conn.execute(query("delete_media"), {"id": media_id, "host_id": host_id})).fetchone()
    if row is None:
        raise MediaUnknown()
