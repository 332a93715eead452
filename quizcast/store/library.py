"""Hosts' quizzes; inside `store`. What belongs to another host is not there."""

import msgspec

from quizcast.domain.quiz import Question, Quiz, QuizContent
from quizcast.errors import QuizUnknown, Stale
from quizcast.ids import new_id
from quizcast.store.db import Connection, fetch, fetch_one
from quizcast.store.paging import before, page
from quizcast.store.shipped import query
from quizcast.wire.api import Page, QuizSummary

_encode = msgspec.json.Encoder().encode
_decode_questions = msgspec.json.Decoder(tuple[Question, ...]).decode


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    version: int
    title: str
    description: str
    language: str
    questions: str


async def list_quizzes(conn: Connection, host_id: str, limit: int, cursor: str | None = None) -> Page[QuizSummary]:
    """A host's quizzes, the newest first. Raises `CursorInvalid`."""
    params = {"host_id": host_id, "before": before(cursor), "most": limit + 1}
    return page(await fetch(conn, QuizSummary, "quizzes_page", params), limit, lambda one: one.id)


async def get_quiz(conn: Connection, host_id: str, quiz_id: str) -> Quiz:
    """A quiz with its questions. Raises `QuizUnknown`."""
    row = await fetch_one(conn, _Row, "quiz_by_id", {"host_id": host_id, "id": quiz_id})
    if row is None:
        raise QuizUnknown()
    return Quiz(
        id=row.id,
        version=row.version,
        title=row.title,
        description=row.description,
        language=row.language,
        questions=_decode_questions(row.questions),
    )


async def create_quiz(conn: Connection, host_id: str, content: QuizContent, key: str = "") -> Quiz:
    """Store a new quiz, which must have no `problems`; or the one that was made with this Idempotency-Key before."""
    params = {"id": new_id(), "host_id": host_id, "idempotency_key": key or None, **_columns(content)}
    row = await (await conn.execute(query("insert_quiz"), params)).fetchone()
    if row is None:
        row = await (await conn.execute(query("quiz_by_key"), params)).fetchone()
    if row is None:
        raise QuizUnknown()  # made with this key by another request, and deleted since
    return await get_quiz(conn, host_id, row[0])


async def update_quiz(
    conn: Connection, host_id: str, quiz_id: str, content: QuizContent, expected_version: int | None = None
) -> Quiz:
    """Replace a quiz, which must have no `problems`. Raises `QuizUnknown`, or `Stale` when it has another version."""
    params = {"id": quiz_id, "host_id": host_id, "expected": expected_version, **_columns(content)}
    row = await (await conn.execute(query("update_quiz"), params)).fetchone()
    quiz = await get_quiz(conn, host_id, quiz_id)
    if row is None:
        raise Stale(f"it has version {quiz.version} now; read it again")
    return quiz


async def delete_quiz(conn: Connection, host_id: str, quiz_id: str) -> None:
    """Delete a quiz; games that were played with it keep their copies. Raises `QuizUnknown`."""
    row = await (await conn.execute(query("delete_quiz"), {"id": quiz_id, "host_id": host_id})).fetchone()
    if row is None:
        raise QuizUnknown()


def _columns(content: QuizContent) -> dict[str, object]:
    return {
        "title": content.title,
        "description": content.description,
        "language": content.language,
        "questions": _encode(content.questions).decode(),
        "question_count": len(content.questions),
    }
