"""The gate: what is over is refused unparsed, and only what is surely one whole and plain request."""

import asyncio
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from quizcast.hub import FULL_RETRY_S
from quizcast.intake import RETRY_AFTER_S
from quizcast.metrics import INTAKE
from quizcast.web.gate import Gate
from quizcast.web.refusals import BEHIND_S

ANSWERS, EVENTS, JOIN = b"POST /api/v1/games/g1/answers", b"GET /api/v1/games/g1/events", b"POST /api/v1/join"


def gate(*, over: bool = True, draining: bool = False) -> Gate:
    intake = SimpleNamespace(
        some_full=over, answers_full=lambda game_id, *, behind: (over or behind) and game_id == "g1", joins_full=over
    )
    services: Any = SimpleNamespace(intake=intake, hub=SimpleNamespace(full=over, draining=draining))
    return Gate(lambda: services)


class Line:
    """Takes what is said to it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.said: list[bytes] = []

    def head(self, status: int, headers: object) -> bytes:
        assert not headers
        return b"HTTP/1.1 %d \r\n" % status

    def refuse(self, said: bytes) -> None:
        self.said.append(said)


async def some_turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


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
async def test_what_is_over_is_refused_with_a_time_to_come_back(
    data: bytes, status: int, code: bytes, seconds: tuple[int, ...]
) -> None:
    door, line = gate(), Line()
    for _ in range(20):  # a slice of the loop's time each
        assert all([door.refuses(line, data) for _ in range(10)])
        await some_turns()
    assert len(line.said) == 200
    assert all(one.startswith(b"HTTP/1.1 %d " % status) and code in one for one in line.said)
    told = {int(re.findall(rb"retry-after: (\d+)\r\n", one)[0]) for one in line.said}
    assert told == set(seconds)  # spread, so that they do not come back together
    alone = Line()
    for _ in seconds:  # who is refused alone, in a slice of their own, as well
        assert door.refuses(alone, data)
        await some_turns()
    assert len({re.findall(rb"retry-after: (\d+)\r\n", one)[0] for one in alone.said}) == len(set(seconds))


async def test_who_is_refused_is_counted() -> None:
    counter = INTAKE.labels("answer", "overloaded")
    before = counter._value.get()
    door, line = gate(), Line()
    for _ in range(30):
        assert door.refuses(line, request(ANSWERS, body=b"{}"))
    await some_turns()
    assert counter._value.get() - before == 30


async def test_nobody_is_let_in_while_even_those_who_are_refused_have_to_wait() -> None:
    door, line = gate(over=False), Line()
    services: Any = door._services()
    answer = request(ANSWERS, body=b"{}")
    services.intake.some_full, services.intake.answers_full = True, lambda _game_id, *, behind: True
    assert door.refuses(line, answer)
    services.intake.some_full, services.intake.answers_full = False, lambda _game_id, *, behind: behind
    assert not door.refuses(line, answer)
    time.sleep(BEHIND_S * 1.5)  # noqa: ASYNC251 - the loop stands still, as when it reads thousands of lines
    assert door.refuses(line, answer)
    assert not door.refuses(line, request(JOIN, body=b"{}"))  # of which so many a second are let in
    await some_turns()
    assert not door.refuses(line, answer)


@pytest.mark.parametrize("address", [ANSWERS, EVENTS, JOIN])
async def test_what_is_not_over_is_let_through(address: bytes) -> None:
    assert not gate(over=False).refuses(Line(), request(address))
    assert not gate(draining=True).refuses(Line(), request(address))  # has something else to say


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
        request(ANSWERS).replace(b"Host: x", b"Content-Length: " + b"2" * 5000) + b"{}",  # more digits than int() takes
        request(JOIN, b"Content-Length: keep-alive"),
    ],
)
async def test_what_is_not_surely_one_plain_request_is_left_to_the_parser(data: bytes) -> None:
    assert not gate().refuses(Line(), data)
