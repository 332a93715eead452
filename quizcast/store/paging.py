"""Lists page by id, the newest first; a cursor is the last id of the page before, wrapped; inside `store`."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from quizcast.errors import CursorInvalid
from quizcast.ids import is_id
from quizcast.wire.api import Page

T = TypeVar("T")


def page(found: Sequence[T], limit: int, id_of: Callable[[T], str]) -> Page[T]:
    """A page of `limit` from `limit + 1` rows that were asked for: the one too many says that there are more."""
    items = list(found[:limit])
    return Page(items=items, next_cursor=_cursor(id_of(items[-1])) if len(found) > limit and items else None)


def _cursor(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def before(cursor: str | None) -> str | None:
    """The id that a page begins after; None for the first page. Raises `CursorInvalid`."""
    if cursor is None:
        return None
    try:
        last_id = base64.urlsafe_b64decode(cursor.encode("ascii") + b"==").decode("ascii")
    except (UnicodeError, binascii.Error):
        raise CursorInvalid() from None
    if not is_id(last_id):
        raise CursorInvalid()
    return last_id
