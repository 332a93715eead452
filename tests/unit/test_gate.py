"""The gate: what is over is refused unparsed, and only what is surely one whole and plain request."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from quizcast.hub import FULL_RETRY_S
from quizcast.intake import RETRY_AFTER_S
from quizcast.web.gate import Gate

ANSWERS, EVENTS, JOIN = b"POST /api/v1/games/g1/answers", b"GET /api/v1/games/g1/events", b"POST /api/v1/join"


def gate(*, over: bool = True, draining: bool = False) -> Gate:
    intake = SimpleNamespace(some_full=over, answers_full=lambda game_id: over and game_id == "g1", joins_full=over)
    services: Any = SimpleNamespace(intake=intake, hub=SimpleNamespace(full=over, draining=draining))
    return Gate(lambda: services)


def request(address: bytes, *headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    framing = [b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([address + b" " + version, b"Host: x", *framing, *headers, b"", body])


@pytest.mark.parametrize(
    ("data", "status", "code", "seconds"),
    [
        (request(ANSWERS, body=b"{}"), 503, b'"overloaded"', RETRY_AFTER_S),
        (request(ANSWERS + b"?x=1", b"connection: keep-alive", body=b"{}"), 503, b'"overloaded"', RETRY_AFTER_S),
        (request(JOIN, body=b"{}"), 429, b'"too_many_joins"', RETRY_AFTER_S),
        (request(EVENTS), 503, b'"streams_full"', FULL_RETRY_S),
        (request(EVENTS + b"?token=t"), 503, b'"streams_full"', FULL_RETRY_S),
    ],
)
def test_what_is_over_is_refused_with_a_time_to_come_back(
    data: bytes, status: int, code: bytes, seconds: tuple[int, ...]
) -> None:
    door = gate()
    refusals = [door.refusal(data) for _ in range(200)]
    assert all(one is not None and one[0] == status and code in one[1] for one in refusals)
    told = {int(re.findall(rb"retry-after: (\d+)\r\n", one[1])[0]) for one in refusals if one is not None}
    assert told == set(seconds)  # spread, so that they do not come back together


@pytest.mark.parametrize("address", [ANSWERS, EVENTS, JOIN])
def test_what_is_not_over_is_let_through(address: bytes) -> None:
    assert gate(over=False).refusal(request(address)) is None
    assert gate(draining=True).refusal(request(address)) is None  # has something else to say


@pytest.mark.parametrize(
    "data",
    [
        request(ANSWERS.replace(b"g1", b"g2"), body=b"{}"),  # a game of another shard
        request(b"POST /api/v1/games/g1/open"),
        request(b"GET /api/v1/games/g1/answers"),
        request(b"POST /api/v1/joinery"),
        request(ANSWERS, body=b"{}", version=b"HTTP/1.0"),
        request(ANSWERS, body=b"{}")[:-1],
        request(ANSWERS, body=b"{}")[:40],
        request(ANSWERS, body=b"{}") + request(ANSWERS, body=b"{}"),
        request(EVENTS) * 2,
        request(ANSWERS, b"Content-Length: 2", body=b"{}"),
        request(ANSWERS, b"Transfer-Encoding: chunked", body=b"{}"),
        request(ANSWERS, b"transfer-encoding : chunked", body=b"{}"),
        request(ANSWERS, b"X-Mark: here\nTransfer-Encoding: chunked", body=b"{}"),
        request(ANSWERS, b"Expect: 100-continue", body=b"{}"),
        request(ANSWERS, b"Connection: close", body=b"{}"),
        request(ANSWERS, b"Connection: Upgrade", b"Upgrade: h2c", body=b"{}"),
        request(ANSWERS).replace(b"Host: x", b"Content-Length: +2") + b"{}",
    ],
)
def test_what_is_not_surely_one_plain_request_is_left_to_the_parser(data: bytes) -> None:
    assert gate().refusal(data) is None
