"""Requests that are served without a task, on a real server and real lines: HTTP stays what it is for their clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from quizcast.web.http import read_body
from quizcast.web.protocol import WHOLE_MAX, QuizcastProtocol, WholeRequest
from tests.integration.live_game import until

OK, HEADERS = 202, [(b"content-type", b"text/plain")]


class Echo:
    """Replies with the body: whole requests to /whole when told to, others from a task, marked as such."""

    def __init__(self) -> None:
        self.waiting: list[WholeRequest] = []
        self.declines = False
        self.fault: Exception | None = None

    def wants_whole(self, url: bytes) -> bool:
        return url == b"/whole"

    def serve_whole(self, request: WholeRequest) -> bool:
        if self.fault is not None:
            raise self.fault
        if not self.declines:
            self.waiting.append(request)
        return not self.declines

    def reply(self, **options: Any) -> None:
        """Answer the request that has waited longest."""
        request = self.waiting.pop(0)
        request.reply(OK, HEADERS, request.body, **options)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        body = b"task:" + await read_body(receive, 1 << 20)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": OK, "headers": [*HEADERS, length]})
        await send({"type": "http.response.body", "body": body})


class Line:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def reply(self) -> tuple[bytes, bytes]:
        """The next reply's head, in small letters, and its body."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether the server has hung up, without another byte."""
        return await asyncio.wait_for(self.reader.read(), 5) == b""


def post(body: bytes, path: str = "/whole", extra: str = "", version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: x\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Running:
    """The server, the app, and lines to it."""

    def __init__(self, app: Echo) -> None:
        self.app = app
        self.server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, http=QuizcastProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False
            )
        )
        self._lines: list[Line] = []

    async def line(self) -> Line:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self._lines.append(Line(*await asyncio.open_connection("127.0.0.1", port)))
        return self._lines[-1]

    async def waiting(self, count: int) -> None:
        """Wait until so many whole requests await their reply."""
        await until(lambda: len(self.app.waiting) == count)

    def hang_up(self) -> None:
        for line in self._lines:
            line.writer.close()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running(Echo())
    with contextlib.ExitStack() as stack:
        stack.callback(made.hang_up)
        serving = asyncio.create_task(made.server._serve())  # without its signal handlers
        await until(lambda: made.server.started)
        yield made
    made.server.should_exit = True
    await asyncio.wait_for(serving, 10)


async def test_a_whole_request_is_replied_to_later_and_the_line_goes_on(running: Running) -> None:
    line = await running.line()
    for body in (b"one", b"two"):
        line.send(post(body))
        await running.waiting(1)
        running.app.reply()
        head, said = await line.reply()
        assert said == body
        assert head.startswith(b"http/1.1 202 accepted\r\n")
        assert b"\r\ndate: " in head
        assert b"connection:" not in head


async def test_a_body_may_come_in_pieces_and_in_chunks(running: Running) -> None:
    line = await running.line()
    for piece in (post(b"a body")[:20], post(b"a body")[20:-3], post(b"a body")[-3:]):
        line.send(piece)
        await asyncio.sleep(0.02)
    line.send(b"POST /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    await asyncio.sleep(0.05)
    running.app.reply()
    assert (await line.reply())[1] == b"a body"
    # What came behind it on the same line had to wait, and so it went the ordinary way.
    assert (await line.reply())[1] == b"task:abcde"
    line.send(b"POST /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"abcde"


async def test_pipelined_requests_are_answered_in_their_order(running: Running) -> None:
    line = await running.line()
    line.send(post(b"1") + post(b"2") + post(b"3", "/other") + post(b"4"))
    await running.waiting(1)
    await asyncio.sleep(0.05)
    assert len(running.app.waiting) == 1
    running.app.reply()
    assert [(await line.reply())[1] for _ in range(4)] == [b"1", b"task:2", b"task:3", b"task:4"]


async def test_what_the_app_declines_or_stumbles_over_goes_the_ordinary_way(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    line = await running.line()
    running.app.declines = True
    line.send(post(b"declined"))
    assert (await line.reply())[1] == b"task:declined"
    running.app.fault = ValueError("a fault")
    line.send(post(b"stumbled"))
    assert (await line.reply())[1] == b"task:stumbled"
    assert "a whole request could not be served" in caplog.text


@pytest.mark.parametrize("size", [WHOLE_MAX, WHOLE_MAX + 1, WHOLE_MAX * 40])
async def test_a_large_body_goes_the_ordinary_way(running: Running, size: int) -> None:
    line = await running.line()
    line.send(post(b"x" * size))
    if size <= WHOLE_MAX:
        await running.waiting(1)
        running.app.reply()
    assert (await line.reply())[1] == (b"" if size <= WHOLE_MAX else b"task:") + b"x" * size
    assert not running.app.waiting


async def test_who_asks_whether_to_go_on_is_told_to(running: Running) -> None:
    line = await running.line()
    line.send(b"POST /whole HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await asyncio.wait_for(line.reader.readline(), 5)).startswith(b"HTTP/1.1 100")
    await line.reader.readline()
    line.send(b"ok")
    assert (await line.reply())[1] == b"task:ok"


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (post(b"x", version="1.0"), {}),
        (post(b"x", extra="Connection: close\r\n"), {}),
        (post(b"x"), {"close": True}),
    ],
)
async def test_a_line_ends_with_its_reply_when_either_side_wants_that(
    running: Running, request_: bytes, options: dict[str, Any]
) -> None:
    line = await running.line()
    line.send(request_)
    await running.waiting(1)
    running.app.reply(**options)
    head, body = await line.reply()
    assert body == b"x"
    assert b"\r\nconnection: close\r\n" in head
    assert await line.ended()


async def test_a_client_who_left_and_a_second_reply_harm_nobody(running: Running) -> None:
    gone, line = await running.line(), await running.line()
    gone.send(post(b"gone"))
    line.send(post(b"here"))
    await running.waiting(2)
    gone.writer.close()
    await asyncio.sleep(0.05)
    twice = next(one for one in running.app.waiting if one.body == b"here")
    while running.app.waiting:
        running.app.reply()
    twice.reply(OK, HEADERS, b"again")
    assert (await line.reply())[1] == b"here"
    line.send(post(b"next", "/other"))
    assert (await line.reply())[1] == b"task:next"


async def test_a_server_that_stops_lets_a_whole_request_come_to_its_end(running: Running) -> None:
    idle, line = await running.line(), await running.line()
    idle.send(post(b"first", "/other"))
    await idle.reply()
    line.send(post(b"last"))
    await running.waiting(1)
    running.server.should_exit = True
    assert await idle.ended()
    running.app.reply()
    head, body = await line.reply()
    assert body == b"last"
    assert b"\r\nconnection: close\r\n" in head
    assert await line.ended()
