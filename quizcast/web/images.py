"""`/media/{media_id}`: hosts' images for everybody, from memory where it can be; beside the other routes of `web`.

A whole hall asks for an image at the moment its question comes. So each is read once by a process, however many ask at
once, and the last ones stay; a proxy or CDN in front may keep them for ever. That one is gone is remembered as well.
"""

import asyncio
import time
from collections import OrderedDict

from starlette.requests import Request
from starlette.responses import Response

from quizcast.errors import MediaUnknown
from quizcast.ids import is_id
from quizcast.store import media
from quizcast.store.db import Database
from quizcast.store.media import Image
from quizcast.web.caching import FOR_EVER, kept

KEPT_BYTES = 32 * 1024 * 1024  # a game's images, and those of some others
UNKNOWN_S = 60.0  # no id is told before its image is stored; only a restored backup brings one back
UNKNOWN_MAX = 1000  # ids that are remembered as unknown
HEADERS = {
    "cache-control": FOR_EVER,
    # Whatever a browser could take it for: it is shown and runs nothing. Pages of other sites may show it.
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
}


class Images:
    """Serves images and keeps the last ones."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[str, Image] = OrderedDict()
        self._size = 0
        self._unknown: dict[str, float] = {}  # id → until when (monotonic) it is believed that there is no such image
        self._coming: dict[str, asyncio.Task[Image]] = {}

    async def serve(self, request: Request, db: Database) -> Response:
        """One image. Raises `MediaUnknown`, `PostgresUnavailable`."""
        media_id = request.path_params["media_id"]
        if not is_id(media_id):
            raise MediaUnknown()
        image = await self.get(db, media_id)
        return kept(request, image.content, image.content_type, HEADERS, tag=f'"{media_id}"')

    async def get(self, db: Database, media_id: str) -> Image:
        """An image from memory, or from Postgres, where one asks for all. Raises `MediaUnknown`."""
        if (found := self._kept.get(media_id)) is not None:
            self._kept.move_to_end(media_id)
            return found
        if self._unknown.get(media_id, 0.0) > time.monotonic():
            raise MediaUnknown()
        task = self._coming.get(media_id)
        if task is None:
            task = self._coming[media_id] = asyncio.create_task(self._read(db, media_id))
            task.add_done_callback(lambda _: self._coming.pop(media_id, None))
        return await asyncio.shield(task)  # who leaves does not take it away from the others

    async def _read(self, db: Database, media_id: str) -> Image:
        async with db.read() as conn:
            image = await media.get_image(conn, media_id)
        if image is None:
            async with db.write() as conn:  # it may be younger than what a replica knows
                image = await media.get_image(conn, media_id)
        if image is None:
            if len(self._unknown) >= UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[media_id] = time.monotonic() + UNKNOWN_S
            raise MediaUnknown()
        self._kept[media_id] = image
        self._size += len(image.content)
        while self._size > self._kept_bytes:
            self._size -= len(self._kept.popitem(last=False)[1].content)
        return image
