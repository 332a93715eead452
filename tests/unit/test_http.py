"""Errors as problem documents, and bodies in: what every route shares."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from quizcast import errors
from quizcast.domain.quiz import QuizContent
from quizcast.errors import BodyTooLarge, InvalidInput, MalformedBody, Problem, QuizcastError, UnsupportedMedia
from quizcast.web.bodies import decode, read_body
from quizcast.web.http import STATUS, problem, status_of
from quizcast.wire.api import AnswerRequest, CreateGame

STATUSES = {
    errors.InvalidInput: 422,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.OperatorError: 500,
}


def tree(kind: type[QuizcastError] = QuizcastError) -> Iterator[type[QuizcastError]]:
    """A class and everything below it."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below)


ALL = sorted(set(tree()), key=lambda kind: kind.__name__)


def test_every_branch_of_the_tree_has_its_status() -> None:
    assert set(QuizcastError.__subclasses__()) >= set(STATUSES)
    branches = {kind for kind in QuizcastError.__subclasses__() if kind.__module__ == errors.__name__}
    assert branches == set(STATUSES)
    assert all(STATUS[kind] == status for kind, status in STATUSES.items())


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_becomes_a_problem_document(kind: type[QuizcastError]) -> None:
    status, headers, body = problem(
        kind("what is wrong", problems=[Problem(path="a.b", message="no")], retry_after_s=2)
    )
    document = msgspec.json.decode(body)
    assert document == {
        "type": f"urn:quizcast:error:{kind.code}",
        "title": kind.title(),
        "status": status,
        "code": kind.code,
        "detail": "what is wrong",
        "errors": [{"path": "a.b", "message": "no"}],
    }
    given = dict(headers)
    assert given[b"content-type"] == b"application/problem+json"
    assert given[b"cache-control"] == b"no-store"
    assert given[b"retry-after"] == b"2"
    assert (b"www-authenticate" in given) == (status == 401)
    assert status == status_of(kind())
    branch = next((one for one in STATUSES if issubclass(kind, one)), None)
    if kind not in (MalformedBody, BodyTooLarge, UnsupportedMedia):
        assert status == (STATUSES[branch] if branch else 500)


def test_codes_are_words_and_no_two_classes_share_one() -> None:
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_a_title_is_a_sentence_of_the_docstring_and_the_detail_where_there_is_none() -> None:
    document = msgspec.json.decode(problem(errors.PinUnknown())[2])
    assert document["title"] == document["detail"] == "No game has this PIN"
    assert "errors" not in document


def test_a_class_without_a_row_has_that_of_the_one_above() -> None:
    class NewKindOfConflict(errors.GameOver):
        """Something new."""

    assert status_of(NewKindOfConflict()) == 409


@pytest.mark.parametrize(("seconds", "told"), [(0.2, b"1"), (1, b"1"), (1.4, b"2"), (1.6, b"2"), (10**9, b"3600")])
def test_retry_after_is_whole_seconds_never_too_few_and_in_bounds(seconds: float, told: bytes) -> None:
    assert dict(problem(errors.TooMany(retry_after_s=seconds))[1])[b"retry-after"] == told


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        (CreateGame, b'{"quiz_id": 1}', "quiz_id"),
        (CreateGame, b"{}", "body"),
        (CreateGame, b"[]", "body"),
        (CreateGame, b'{"quiz_id": "x", "options": {"lead_ms": "x"}}', "options.lead_ms"),
        (QuizContent, b'{"title": "T", "questions": [{"kind": "poll", "prompt": 1}]}', "questions[0].prompt"),
    ],
)
def test_what_is_wrong_has_a_path(kind: type, body: bytes, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(body, kind, "", packed=False)
    assert [one.path for one in caught.value.problems] == [path]
    assert path not in caught.value.problems[0].message or path == "body"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"question": NaN}', b"{}x"])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises((MalformedBody, InvalidInput)) as caught:
        decode(body, AnswerRequest, "application/json", packed=True)
    assert "\n" not in str(caught.value)


def test_messagepack_is_read_where_it_is_taken_and_nowhere_else() -> None:
    packed = msgspec.msgpack.encode({"question": 1, "answer": [0, 1]})
    assert decode(packed, AnswerRequest, "application/msgpack", packed=True) == AnswerRequest(question=1, answer=[0, 1])
    with pytest.raises(UnsupportedMedia):
        decode(packed, AnswerRequest, "application/msgpack", packed=False)
    with pytest.raises(MalformedBody):
        decode(packed[:-1], AnswerRequest, "application/msgpack", packed=True)


def receiving(*messages: dict[str, Any]) -> Any:
    """An ASGI `receive` that gives these; asking for one more fails the test."""
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    return receive


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """A piece of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_put_together() -> None:
    pieces = receiving(part(b"ab"), part(b""), part(b"cd", more=False))
    assert asyncio.run(read_body(pieces, 4)) == b"abcd"


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"abcde", more=False)],
        [part(b"abcde")],  # the rest is not even read
        [part(b"abc"), part(b"de")],
        [part(b"abc"), part(b"de", more=False)],
    ],
)
def test_a_body_that_is_too_large_is_refused_as_soon_as_it_is(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(receiving(*messages), 4))


def test_half_a_body_is_none() -> None:
    with pytest.raises(MalformedBody):
        asyncio.run(read_body(receiving(part(b"ab"), {"type": "http.disconnect"}), 4))
