"""Accounts and quizzes; floor 5. Functions take a connection: `Database.write`, or `.read` for what may be old."""

import base64
import binascii
import time
from typing import Any

import msgspec
from psycopg.errors import UniqueViolation

from quizcast.domain.quiz import Question, Quiz, QuizContent
from quizcast.errors import CursorInvalid, EmailTaken, QuizUnknown, RefreshInvalid, Stale
from quizcast.ids import new_id
from quizcast.store.db import QUERIES, Connection, Database
from quizcast.wire.api import HostView, Page, QuizSummary

_encode = msgspec.json.Encoder().encode
_decode_questions = msgspec.json.Decoder(tuple[Question, ...]).decode


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A host as stored."""

    id: str
    email: str
    name: str
    password_hash: str

    def __repr__(self) -> str:
        """Which account, and nothing personal."""
        return f"Account({self.id})"

    @property
    def view(self) -> HostView:
        """The host as the host may see it."""
        return HostView(id=self.id, email=self.email, name=self.name)


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────────────────


async def create_host(conn: Connection, *, email: str, name: str, password_hash: str) -> HostView:
    """A new account. Raises `EmailTaken`, whatever the case of the letters."""
    host = HostView(id=new_id(), email=email, name=name)
    try:
        await conn.execute(
            QUERIES["create_host"],
            {"id": host.id, "email": host.email, "name": host.name, "password_hash": password_hash},
        )
    except UniqueViolation:
        raise EmailTaken() from None
    return host


async def host_by_email(conn: Connection, email: str) -> Account | None:
    """The account with this address, whatever the case of the letters."""
    return await _account(conn, "host_by_email", {"email": email})


async def host_by_id(conn: Connection, host_id: str) -> Account | None:
    """The account with this id."""
    return await _account(conn, "host_by_id", {"id": host_id})


async def _account(conn: Connection, query: str, params: dict[str, str]) -> Account | None:
    row = await (await conn.execute(QUERIES[query], params)).fetchone()
    return Account(id=row[0], email=row[1], name=row[2], password_hash=row[3]) if row else None


async def set_password_hash(conn: Connection, host_id: str, password_hash: str) -> None:
    """Put a password's hash with newer parameters in place."""
    await conn.execute(QUERIES["set_password_hash"], {"id": host_id, "password_hash": password_hash})


async def begin_refresh(conn: Connection, host_id: str, digest: bytes, ttl_s: int) -> None:
    """Start a family of refresh tokens: a login."""
    await conn.execute(QUERIES["forget_expired_refresh"], {"host_id": host_id})
    await _insert_refresh(conn, digest, new_id(), host_id, ttl_s)


async def spend_refresh(db: Database, spent: bytes, fresh: bytes, ttl_s: int) -> HostView:
    """Put `fresh` in the place of `spent`; whose they are.

    A token that was spent before ends its whole family, since either its owner or a thief holds a copy; that stays
    done although this then raises `RefreshInvalid`.
    """
    async with db.write() as conn:
        row = await (await conn.execute(QUERIES["spend_refresh"], {"digest": spent})).fetchone()
        account = await host_by_id(conn, row[1]) if row else None
        if row and account:
            await _insert_refresh(conn, fresh, row[0], account.id, ttl_s)
            return account.view
        await conn.execute(QUERIES["end_refresh_family"], {"digest": spent})
    raise RefreshInvalid()


async def end_refresh(conn: Connection, digest: bytes) -> None:
    """Log out: end the family that this token belongs to. Does nothing for an unknown one."""
    await conn.execute(QUERIES["end_refresh_family"], {"digest": digest})


async def _insert_refresh(conn: Connection, digest: bytes, family: str, host_id: str, ttl_s: int) -> None:
    params = {"digest": digest, "family": family, "host_id": host_id, "ttl_s": ttl_s}
    await conn.execute(QUERIES["insert_refresh"], params)


# ── quizzes ───────────────────────────────────────────────────────────────────────────────────────────────────


async def list_quizzes(conn: Connection, host_id: str, limit: int, cursor: str | None) -> Page[QuizSummary]:
    """A host's quizzes, newest first. Raises `CursorInvalid`."""
    params = {"host_id": host_id, "before": read_cursor(cursor), "limit": limit + 1}
    rows = await (await conn.execute(QUERIES["list_quizzes"], params)).fetchall()
    fields = QuizSummary.__struct_fields__
    items = [QuizSummary(**dict(zip(fields, row, strict=True))) for row in rows[:limit]]
    return Page(items=items, next_cursor=make_cursor(items[-1].id) if len(rows) > limit else None)


async def get_quiz(conn: Connection, host_id: str, quiz_id: str) -> Quiz:
    """One of a host's quizzes. Raises `QuizUnknown`, for another host's too."""
    return await _quiz(conn, "get_quiz", {"host_id": host_id, "id": quiz_id})


async def create_quiz(conn: Connection, host_id: str, content: QuizContent, key: str = "") -> Quiz:
    """A new quiz; the same one again for the same `key` (the request's Idempotency-Key)."""
    params = {"id": new_id(), "host_id": host_id, "key": key or None, **_columns(content)}
    row = await (await conn.execute(QUERIES["create_quiz"], params)).fetchone()
    if row is None:
        return await _quiz(conn, "quiz_by_key", {"host_id": host_id, "key": key})
    return _as_quiz(row[0], 1, content)


async def update_quiz(conn: Connection, host_id: str, quiz_id: str, content: QuizContent, expected: int | None) -> Quiz:
    """Write a quiz over its version `expected` (None: over whichever). Raises `Stale`, `QuizUnknown`."""
    params = {"host_id": host_id, "id": quiz_id, "expected": expected, **_columns(content)}
    row = await (await conn.execute(QUERIES["update_quiz"], params)).fetchone()
    if row is None:
        await _refuse(conn, host_id, quiz_id)
    return _as_quiz(quiz_id, row[0] if row else 0, content)


async def delete_quiz(conn: Connection, host_id: str, quiz_id: str, expected: int | None) -> None:
    """Delete a quiz; games keep their own copies. Raises `Stale`, `QuizUnknown`."""
    params = {"host_id": host_id, "id": quiz_id, "expected": expected}
    if await (await conn.execute(QUERIES["delete_quiz"], params)).fetchone() is None:
        await _refuse(conn, host_id, quiz_id)


async def _refuse(conn: Connection, host_id: str, quiz_id: str) -> None:
    present = await get_quiz(conn, host_id, quiz_id)
    raise Stale(f"the quiz is at version {present.version} now")


async def _quiz(conn: Connection, query: str, params: dict[str, str]) -> Quiz:
    row = await (await conn.execute(QUERIES[query], params)).fetchone()
    if row is None:
        raise QuizUnknown()
    quiz_id, title, description, language, version, questions = row
    return Quiz(
        id=quiz_id,
        version=version,
        title=title,
        description=description,
        language=language,
        questions=_decode_questions(questions),
    )


def _columns(content: QuizContent) -> dict[str, Any]:
    return {
        "title": content.title,
        "description": content.description,
        "language": content.language,
        "questions": _encode(content.questions).decode(),
        "question_count": len(content.questions),
        "updated_at": int(time.time() * 1000),
    }


def _as_quiz(quiz_id: str, version: int, content: QuizContent) -> Quiz:
    fields = {name: getattr(content, name) for name in QuizContent.__struct_fields__}
    return Quiz(id=quiz_id, version=version, **fields)


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────


def make_cursor(last_id: str) -> str:
    """Where a page ended. Opaque to clients, so that it may change its meaning."""
    return base64.urlsafe_b64encode(f"id:{last_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> str | None:
    """The id that a page has to begin after. Raises `CursorInvalid`."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise CursorInvalid() from None
    if not text.startswith("id:") or "\0" in text:
        raise CursorInvalid()
    return text.removeprefix("id:")
