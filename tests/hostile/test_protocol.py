"""The hot road's HTTP, fed with anything: what is sent in pieces is answered as if it had come whole, and no bytes,
however wrong, raise anything in the loop or keep the next client from being served.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizcast.web.protocol import HOT_BODY_MAX, HotRequest
from tests.hostile.effort import examples
from tests.integration.live_game import until
from tests.integration.test_hot_road import HEADERS, OK, Echo, Running, post

QUIET_S = 0.05  # with nothing more for so long, all has been said

bodies = st.binary(max_size=60) | st.sampled_from([b"x" * HOT_BODY_MAX, b"\r\n\r\n", b"POST /hot HTTP/1.1\r\n\r\n"])


def chunked(body: bytes) -> bytes:
    """A request of which the body comes in chunks."""
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
    return b"POST /hot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"


requests = st.one_of(
    bodies.map(post),
    bodies.map(lambda body: post(body, "/cold")),
    bodies.map(chunked),
    st.just(b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n"),
    st.just(b"GET /cold HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n"),
)
words = st.sampled_from(
    [b"POST /hot HTTP/1.1\r\n", b"GET /hot HTTP/9.9\r\n", b"Content-Length: ", b"-1", b"9" * 30, b"Transfer-Encoding: ",
     b"chunked", b"Host: x", b"\r\n", b"\n", b"\r\n\r\n", b"ffffffffffffffff\r\n",
     b"0\r\n", b"Expect: 100-continue\r\n",
     b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x00"]
)  # fmt: skip


class Prompt(Echo):
    """Answers hot requests at once, every other one a moment later."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = 0

    def take(self, request: HotRequest) -> None:
        self._turn += 1
        answer = lambda: request.reply(OK, HEADERS, request.body)  # noqa: E731
        if self._turn % 2:
            answer()
        else:
            asyncio.get_running_loop().call_soon(answer)


class Bench:
    """A running server in a loop of its own, for tests that are no coroutines."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.faults: list[dict[str, Any]] = []
        self._stack = contextlib.AsyncExitStack()
        self.running: Running = self._runner.run(self._stack.enter_async_context(self._served()))

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncIterator[Running]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: self.faults.append(fault))
        made = Running(Prompt())
        serving = asyncio.create_task(made.server._serve())  # without its signal handlers
        await until(lambda: made.server.started)
        yield made
        made.hang_up()
        made.server.should_exit = True
        await asyncio.wait_for(serving, 10)

    def close(self) -> None:
        """Stop the server."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def said(self, *parts: bytes, until_over: bytes = b"") -> bytes:
        """All that comes back for these bytes, sent piece by piece, until it ends so or the server says no more."""
        return self._runner.run(self._said(parts, until_over))

    async def _said(self, parts: tuple[bytes, ...], until_over: bytes) -> bytes:
        line = await self.running.line()
        heard = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            for part in parts:
                line.send(part)
                await line.writer.drain()
                await asyncio.sleep(0)
            while not (until_over and heard.endswith(until_over)):
                got = await asyncio.wait_for(line.reader.read(65536), 5 if until_over else QUIET_S)
                if not got:
                    break
                heard += got
        line.writer.close()
        return re.sub(rb"(?i)date: [^\r]*", b"date", heard)


@pytest.fixture
def bench() -> Any:
    made = Bench()
    yield made
    made.close()


LAST = post(b"the last of them")


def test_pieces_are_answered_as_the_whole_would_be(bench: Bench) -> None:
    @examples(60)
    @given(st.lists(requests, max_size=5), st.lists(st.integers(1, 200), max_size=12))
    def try_it(asked: list[bytes], steps: list[int]) -> None:
        whole = b"".join([*asked, LAST])
        parts, rest = [], whole
        for step in steps:
            parts.append(rest[:step])
            rest = rest[step:]
        replies = bench.said(whole, until_over=b"the last of them")
        assert replies.count(b"HTTP/1.1 202") == len(asked) + 1
        assert bench.said(*filter(None, [*parts, rest]), until_over=b"the last of them") == replies

    try_it()
    assert not bench.faults


def test_no_bytes_raise_anything_or_keep_the_next_client_waiting(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)

    @examples(60)
    @given(st.lists(requests, max_size=1), st.lists(words | st.binary(max_size=20), max_size=8))
    def try_it(before: list[bytes], garbage: list[bytes]) -> None:
        heard = bench.said(*before, *filter(None, garbage))
        assert heard == b"" or heard.startswith(b"HTTP/1.1 ")
        assert b"the last of them" in bench.said(LAST, until_over=b"the last of them")

    try_it()
    assert not bench.faults
    assert not caplog.records
