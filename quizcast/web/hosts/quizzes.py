"""The quiz library: lists, versions, files in and out; one of the rooms of `hosts`."""

import asyncio
import time
from typing import Any, Literal

from quizcast import formats
from quizcast.domain.quiz import Quiz, QuizContent, problems
from quizcast.errors import (
    CursorInvalid,
    FileInvalid,
    InvalidInput,
    PostgresUnavailable,
    QuizUnknown,
    Stale,
)
from quizcast.store import library
from quizcast.web.hosts.parts import file_reply, host_route, one_of
from quizcast.web.http import PAGED, Call, Query, Reply
from quizcast.wire.api import (
    FieldProblem,
    Imported,
    Page,
    QuizSummary,
)


async def list_quizzes(call: Call) -> Any:
    """The host's quizzes, newest first."""
    limit, cursor = call.page()
    async with call.services.db.write() as conn:  # hosts look for what they have just saved
        return await library.list_quizzes(conn, call.host_id, limit, cursor)


async def create_quiz(call: Call) -> Any:
    """A new quiz."""
    content = _sound(call.body)
    async with call.services.db.write() as conn:
        return _tagged(await library.create_quiz(conn, call.host_id, content, call.idempotency_key))


async def get_quiz(call: Call) -> Any:
    """One quiz, with the key."""
    async with call.services.db.write() as conn:
        return _tagged(await library.get_quiz(conn, call.host_id, call.param("quiz_id")))


async def put_quiz(call: Call) -> Any:
    """Write a quiz anew; with `If-Match`, only over the version that the author has seen."""
    content, expected = _sound(call.body), _if_match(call)
    async with call.services.db.write() as conn:
        return _tagged(await library.update_quiz(conn, call.host_id, call.param("quiz_id"), content, expected))


async def delete_quiz(call: Call) -> Any:
    """Delete a quiz. Games that were played keep their own copy."""
    async with call.services.db.write() as conn:
        quiz_id, expected = call.param("quiz_id"), _if_match(call)
        if expected is not None and (await library.get_quiz(conn, call.host_id, quiz_id)).version != expected:
            raise Stale()
        await library.delete_quiz(conn, call.host_id, quiz_id)
    return None


async def import_quizzes(call: Call) -> Any:
    """Quizzes from a file. A large collection becomes several; what could not be used is said in `warnings`."""
    data: bytes = call.body
    parsed = await asyncio.to_thread(formats.parse, data, call.query("format") or None, call.query("name"))
    key = call.idempotency_key
    async with call.services.db.write() as conn:
        quizzes = [
            await library.create_quiz(conn, call.host_id, content, f"{key}#{place}" if key else "")
            for place, content in enumerate(parsed.quizzes)
        ]
    warnings = [FieldProblem(path=one.path, message=one.message) for one in parsed.warnings]
    return Imported(quizzes=[_summary(quiz) for quiz in quizzes], found=parsed.found, warnings=warnings)


async def export_quiz(call: Call) -> Any:
    """A quiz as a file."""
    kind = one_of(call, "format", formats.EXPORT_FORMATS)
    async with call.services.db.write() as conn:  # what was saved a moment ago is what is wanted
        quiz = await library.get_quiz(conn, call.host_id, call.param("quiz_id"))
    return file_reply(formats.dump(quiz, kind))


def _sound(content: QuizContent) -> QuizContent:
    if found := problems(content):
        raise InvalidInput(f"{found[0].path}: {found[0].message}", problems=found)
    return content


def _tagged(quiz: Quiz) -> Reply:
    return Reply(body=quiz, headers={"etag": f'"{quiz.version}"'})


def _if_match(call: Call) -> int | None:
    given = call.request.headers.get("if-match", "").strip()
    if given in ("", "*"):
        return None
    text = given.removeprefix("W/").strip('"')
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1  # -1: no version is that


def _summary(quiz: Quiz) -> QuizSummary:
    return QuizSummary(
        id=quiz.id,
        title=quiz.title,
        description=quiz.description,
        language=quiz.language,
        version=quiz.version,
        question_count=len(quiz.questions),
        updated_at=int(time.time() * 1000),
    )


ENDPOINTS = [
    host_route(
        "GET",
        "/quizzes",
        list_quizzes,
        "The host's quizzes, newest first.",
        reply=Page[QuizSummary],
        query=PAGED,
        errors=(CursorInvalid, PostgresUnavailable),
    ),
    host_route(
        "POST",
        "/quizzes",
        create_quiz,
        "A new quiz.",
        status=201,
        body=QuizContent,
        reply=Quiz,
        idempotent=True,
        errors=(InvalidInput, PostgresUnavailable),
    ),
    host_route(
        "POST",
        "/quizzes/import",
        import_quizzes,
        "Quizzes from a file: the body is the file as it is.",
        status=201,
        body=bytes,
        body_max="import_bytes_max",
        reply=Imported,
        idempotent=True,
        query=(
            Query(name="format", type=Literal[formats.IMPORT_FORMATS], says="told by the content unless said"),
            Query(name="name", type=str, says="the file's name, for formats that hold no title"),
        ),
        errors=(FileInvalid, PostgresUnavailable),
    ),
    host_route(
        "GET",
        "/quizzes/{quiz_id}",
        get_quiz,
        "One quiz, with its version as ETag.",
        reply=Quiz,
        errors=(QuizUnknown, PostgresUnavailable),
    ),
    host_route(
        "PUT",
        "/quizzes/{quiz_id}",
        put_quiz,
        "Write a quiz anew; with If-Match, only over the version that the author has seen.",
        body=QuizContent,
        reply=Quiz,
        errors=(QuizUnknown, Stale, InvalidInput, PostgresUnavailable),
    ),
    host_route(
        "DELETE",
        "/quizzes/{quiz_id}",
        delete_quiz,
        "Delete a quiz. Games that were played keep their own copy.",
        status=204,
        errors=(QuizUnknown, Stale, PostgresUnavailable),
    ),
    host_route(
        "GET",
        "/quizzes/{quiz_id}/export",
        export_quiz,
        "A quiz as a file.",
        reply=bytes,
        media_types=("application/json", "text/csv"),
        query=(Query(name="format", type=Literal[formats.EXPORT_FORMATS], says="json unless said"),),
        errors=(QuizUnknown, PostgresUnavailable),
    ),
]
