"""Images for quizzes: upload, list, delete; one of the rooms of `hosts`. Where they are seen is `web.images`."""

from typing import Any

from quizcast.domain.image import IMAGE_TYPES, image_type
from quizcast.errors import CursorInvalid, MediaFull, MediaInvalid, MediaUnknown, PostgresUnavailable
from quizcast.store import media
from quizcast.web.hosts.parts import host_route
from quizcast.web.http import PAGED, Call
from quizcast.wire.api import MediaView, Page


async def create_media(call: Call) -> Any:
    """Keep an image; the same bytes of a host are the same image, so a retry is safe."""
    content: bytes = call.body
    kind = image_type(content)
    if kind is None:
        raise MediaInvalid("send a PNG, JPEG, GIF, WebP or AVIF image as it is")
    async with call.services.db.write() as conn:
        kept = await media.keep(conn, call.host_id, content, kind, call.services.settings.media_host_bytes_max)
    return _view(kept)


async def list_media(call: Call) -> Any:
    """The host's images, newest first."""
    limit, cursor = call.page()
    async with call.services.db.write() as conn:  # hosts look for what they have just sent
        found = await media.list_media(conn, call.host_id, limit, cursor)
    return Page(items=[_view(one) for one in found.items], next_cursor=found.next_cursor)


async def delete_media(call: Call) -> Any:
    """Delete an image. Who has it in a cache sees it for a while."""
    async with call.services.db.write() as conn:
        await media.delete_media(conn, call.host_id, call.param("media_id"))
    return None


def _view(one: media.Media) -> MediaView:
    return MediaView(id=one.id, url=f"/media/{one.id}", content_type=one.content_type, bytes=one.bytes)


ENDPOINTS = [
    host_route(
        "POST",
        "/media",
        create_media,
        "An image for a question: the body is the file as it is. Nothing is taken out of it.",
        status=201,
        body=bytes,
        body_max="media_bytes_max",
        body_types=IMAGE_TYPES,
        reply=MediaView,
        errors=(MediaInvalid, MediaFull, PostgresUnavailable),
    ),
    host_route(
        "GET",
        "/media",
        list_media,
        "The host's images, newest first.",
        reply=Page[MediaView],
        query=PAGED,
        errors=(CursorInvalid, PostgresUnavailable),
    ),
    host_route(
        "DELETE",
        "/media/{media_id}",
        delete_media,
        "Delete an image. Quizzes that show it show nothing in its place.",
        status=204,
        errors=(MediaUnknown, PostgresUnavailable),
    ),
]
