"""Images: what is one, and how a process keeps those that are asked for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quizcast.domain.image import IMAGE_TYPES, image_type
from quizcast.errors import MediaUnknown, PostgresUnavailable
from quizcast.ids import new_id
from quizcast.store import media
from quizcast.store.media import Image
from quizcast.web.images import UNKNOWN_MAX, Images

BEGINNINGS = {
    "image/png": [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"],
    "image/jpeg": [b"\xff\xd8\xff\xe0\0\x10JFIF", b"\xff\xd8\xff\xe1\0\0Exif"],
    "image/gif": [b"GIF87a\1\0", b"GIF89a\1\0"],
    "image/webp": [b"RIFF\x24\0\0\0WEBPVP8 "],
    "image/avif": [b"\0\0\0\x1cftypavif\0\0\0\0", b"\0\0\0\x1cftypavis\0\0\0\0"],
}


@pytest.mark.parametrize(("kind", "content"), [(kind, one) for kind, some in BEGINNINGS.items() for one in some])
def test_an_image_is_told_by_its_first_bytes(kind: str, content: bytes) -> None:
    assert image_type(content) == kind
    assert image_type(content + bytes(100)) == kind


def test_every_kind_is_named() -> None:
    assert set(IMAGE_TYPES) == set(BEGINNINGS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
        b"<!doctype html>",
        b"RIFF\x24\0\0\0WAVE",
        b"\0\0\0\x1cftypmp42",
        b"\0\0\0\x1cftypheic",
        b" \x89PNG\r\n\x1a\n",
        b"\x89PNG\n",
        b"BM",
        b"%PDF-1.7",
        b"RIFF",
    ],
)
def test_what_else_there_is_is_none(content: bytes) -> None:
    assert image_type(content) is None


class Shelf:
    """Stands for Postgres: what is in it, who has asked, and whether it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: dict[str, Image] = {}
        self.asked: list[str] = []
        self.away = False
        monkeypatch.setattr(media, "get_image", self._get)

    async def _get(self, _conn: Any, media_id: str) -> Image | None:
        self.asked.append(media_id)
        await asyncio.sleep(0.01)
        if self.away:
            raise PostgresUnavailable()
        return self.images.get(media_id)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """A transaction."""
        yield None

    write = read

    def put(self, size: int) -> str:
        """Another image, of so many bytes."""
        media_id = new_id()
        self.images[media_id] = Image(content_type="image/png", content=bytes(size))
        return media_id


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A made-up Postgres."""
    return Shelf(monkeypatch)


async def test_of_a_hall_that_asks_at_once_one_goes_to_postgres(shelf: Shelf) -> None:
    images, media_id = Images(), shelf.put(10)
    found = await asyncio.gather(*(images.get(shelf, media_id) for _ in range(100)))  # type: ignore[arg-type]
    assert found == [shelf.images[media_id]] * 100
    await images.get(shelf, media_id)  # type: ignore[arg-type]
    assert shelf.asked == [media_id]


async def test_memory_has_a_bound_and_what_was_asked_for_last_stays(shelf: Shelf) -> None:
    images = Images(kept_bytes=25)
    first, second, third = (shelf.put(10) for _ in range(3))
    for media_id in (first, second, first, third, first, second):
        await images.get(shelf, media_id)  # type: ignore[arg-type]
    assert shelf.asked == [first, second, third, second]
    huge = shelf.put(100)
    assert len((await images.get(shelf, huge)).content) == 100  # type: ignore[arg-type]
    await images.get(shelf, huge)  # type: ignore[arg-type]
    assert shelf.asked[4:] == [huge, huge]


async def test_who_leaves_does_not_take_the_image_from_the_others(shelf: Shelf) -> None:
    images, media_id = Images(), shelf.put(10)
    leaving, staying = (asyncio.create_task(images.get(shelf, media_id)) for _ in range(2))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == shelf.images[media_id]


async def test_a_failure_is_not_remembered(shelf: Shelf) -> None:
    images, media_id = Images(), shelf.put(10)
    shelf.away = True
    with pytest.raises(PostgresUnavailable):
        await images.get(shelf, media_id)  # type: ignore[arg-type]
    shelf.away = False
    assert await images.get(shelf, media_id) == shelf.images[media_id]  # type: ignore[arg-type]
    with pytest.raises(MediaUnknown):
        await images.get(shelf, new_id())  # type: ignore[arg-type]


async def test_an_image_that_is_gone_is_not_looked_for_again_at_once(shelf: Shelf) -> None:
    images, gone = Images(), new_id()
    for _ in range(3):
        with pytest.raises(MediaUnknown):
            await images.get(shelf, gone)  # type: ignore[arg-type]
    assert shelf.asked == [gone] * 2, "a replica, and the primary"


async def test_an_image_that_was_restored_is_found_a_moment_later(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizcast.web.images.UNKNOWN_S", 0.02)
    images, media_id = Images(), new_id()
    with pytest.raises(MediaUnknown):
        await images.get(shelf, media_id)  # type: ignore[arg-type]
    shelf.images[media_id] = Image(content_type="image/png", content=b"restored")
    await asyncio.sleep(0.03)
    assert await images.get(shelf, media_id) == shelf.images[media_id]  # type: ignore[arg-type]


async def test_ids_that_are_made_up_take_no_memory_without_bound(shelf: Shelf) -> None:
    images, made_up = Images(), [new_id() for _ in range(UNKNOWN_MAX + 1)]
    await asyncio.gather(*(images.get(shelf, one) for one in made_up), return_exceptions=True)  # type: ignore[arg-type]
    assert len(images._unknown) <= UNKNOWN_MAX
