"""The hot road on a real server and real lines: for its clients, HTTP is what it always is."""

import asyncio
import contextlib
import gc
import itertools
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest
import uvicorn

from quizcast.errors import Overloaded
from quizcast.metrics import INTAKE
from quizcast.web import answers
from quizcast.web.bodies import read_body
from quizcast.web.partings import Partings
from quizcast.web.protocol import (
    END,
    HOT_BODY_MAX,
    UNREAD_S,
    Handler,
    HotRequest,
    QuizcastProtocol,
    chunk,
    cut_slow,
    written,
)
from quizcast.web.refusals import Refusal, Refusals
from tests.integration.live_game import until

READ_MAX = 262_144  # bytes that one turn of uvloop takes from a line
OK, HEADERS = 202, [(b"content-type", b"text/plain")]


class Echo:
    """Has requests to /hot wait for their reply, which is their body; answers others from a task, marked as such."""

    def __init__(self) -> None:
        self.waiting: list[HotRequest] = []
        self.fault: Exception | None = None
        self.over = False
        self.partings = Partings()
        self.refusals = Refusals()
        self.refusal = Refusal(answers.ENDPOINT, Overloaded, [1], INTAKE.labels("answer", Overloaded.code))
        self.refusal.rests = itertools.repeat(written(HEADERS, b"over"))  # type: ignore[assignment]

    def refuses(self, line: QuizcastProtocol, data: bytes) -> bool:
        if not self.over or not data.startswith(b"POST /hot"):
            return False
        self.refusals.add(line, self.refusal)
        return True

    def part(self, line: QuizcastProtocol) -> None:
        self.partings.add(line.transport, line.loop)

    def hot_handler(self, _method: bytes, url: bytes, *, full: bool) -> Handler | None:
        return self.take if url.partition(b"?")[0] == b"/hot" else None

    def take(self, request: HotRequest) -> None:
        if self.fault is not None:
            raise self.fault
        self.waiting.append(request)

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


def post(body: bytes, path: str = "/hot", extra: str = "", version: str = "1.1") -> bytes:
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
        """Wait until so many hot requests await their reply."""
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


async def test_a_hot_request_is_replied_to_later_and_the_line_goes_on(running: Running) -> None:
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
        line.send(post(body, "/other"))
        assert (await line.reply())[1] == b"task:" + body


async def test_a_body_may_come_in_pieces_and_in_chunks(running: Running) -> None:
    line = await running.line()
    for piece in (post(b"a body")[:20], post(b"a body")[20:-3], post(b"a body")[-3:]):
        line.send(piece)
        await asyncio.sleep(0.02)
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"a body"
    line.send(b"POST /hot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"abcde"


async def test_pipelined_requests_are_answered_in_their_order(running: Running) -> None:
    line = await running.line()
    line.send(post(b"1") + post(b"2") + post(b"3", "/other") + post(b"4"))
    for body in (b"1", b"2"):
        await running.waiting(1)
        await asyncio.sleep(0.05)
        assert [one.body for one in running.app.waiting] == [body]
        running.app.reply()
    await running.waiting(1)
    running.app.reply()
    assert [(await line.reply())[1] for _ in range(4)] == [b"1", b"2", b"task:3", b"4"]


async def test_a_request_refused_unparsed_leaves_its_line_as_it_was(running: Running) -> None:
    line = await running.line()
    for over in (True, False, True, True):
        running.app.over = over
        line.send(post(b"again"))
        if not over:
            await running.waiting(1)
            running.app.reply()
        head, body = await line.reply()
        assert (head[:12], body) == ((b"http/1.1 503", b"over") if over else (b"http/1.1 202", b"again"))
        assert b"\r\ndate: " in head


async def test_what_comes_behind_a_refused_request_is_answered_behind_it(running: Running) -> None:
    line = await running.line()
    (protocol,) = running.server.server_state.connections
    running.app.over = True
    # In one turn of the loop, as it happens to a server that is busy.
    protocol.data_received(post(b"1"))  # type: ignore[union-attr]
    running.app.over = False
    protocol.data_received(post(b"2")[:9])  # type: ignore[union-attr]
    protocol.data_received(post(b"2")[9:] + post(b"3", "/other"))  # type: ignore[union-attr]
    await running.waiting(1)
    running.app.reply()
    assert [(await line.reply())[1] for _ in range(3)] == [b"over", b"2", b"task:3"]


async def test_a_line_is_not_closed_for_idling_while_a_request_on_it_is_about_to_be_refused(running: Running) -> None:
    line = await running.line()
    running.app.over = True
    line.send(post(b"1"))
    await line.reply()
    (protocol,) = running.server.server_state.connections
    for _ in range(2):
        late = asyncio.get_running_loop().time() + protocol.timeout_keep_alive + 1
        assert protocol.is_late(late)  # type: ignore[union-attr]
        protocol.data_received(post(b"2"))  # type: ignore[union-attr]
        assert not protocol.is_late(late)  # type: ignore[union-attr]
        assert (await line.reply())[1] == b"over"


async def test_of_who_goes_on_and_on_while_about_to_be_refused_little_is_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await running.line()
    running.app.over = True
    held: list[Any] = []
    monkeypatch.setattr(running.app.refusals, "add", lambda one, _refusal: held.append(one))  # its turn is not yet
    line.send(post(b"x"))
    await until(lambda: bool(held))
    running.app.over = False
    line.send(post(b"y" * 4000) * 2000)
    await until(lambda: held[0].flow.read_paused)
    await asyncio.sleep(0.1)
    assert len(held[0]._held) < 1_000_000
    held[0].refuse(b"HTTP/1.1 503 Over\r\ncontent-length: 4\r\n\r\nover")
    assert (await line.reply())[1] == b"over"
    for _ in range(2000):
        await running.waiting(1)
        running.app.reply()
        assert (await line.reply())[1] == b"y" * 4000


async def test_a_line_that_trips_over_what_it_sent_behind_a_refusal_takes_nothing_from_the_others(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, other = await running.line(), await running.line()
    protocols = list(running.server.server_state.connections)
    running.app.over = True
    for protocol in protocols:
        protocol.data_received(post(b"out"))  # type: ignore[union-attr]
    protocols[0].data_received(post(b"behind"))  # type: ignore[union-attr]
    with monkeypatch.context() as patch:
        patch.setattr(running.app, "refuses", lambda _line, _data: 1 / 0)
        assert [(await one.reply())[1] for one in (line, other)] == [b"over", b"over"]
    assert "behind a refusal" in caplog.text
    await until(lambda: len(running.server.server_state.connections) == 1)
    (protocol,) = running.server.server_state.connections
    protocol.data_received(post(b"out again"))  # type: ignore[union-attr]
    said = [asyncio.create_task(one.reader.read(12)) for one in (line, other)]
    assert sorted([await asyncio.wait_for(one, 5) for one in said]) == [b"", b"HTTP/1.1 503"]


async def test_thousands_who_are_refused_leave_turns_to_those_who_were_let_in(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizcast.web.refusals.SLICE_S", 0.0)  # which one line takes longer than
    lines = [await running.line() for _ in range(20)]
    lines[0].send(post(b"in"))
    await running.waiting(1)
    running.app.over = True
    connections = list(running.server.server_state.connections)
    idle = [one for one in connections if one.cycle is None]
    refused: list[int] = []
    for one in idle:
        one.data_received(post(b"out"))  # type: ignore[union-attr]
    for _ in range(3):  # turns of the loop
        await asyncio.sleep(0)
        refused.append(sum(one._held is None for one in idle))  # type: ignore[union-attr]
    assert 0 < refused[-1] < len(idle)
    running.app.reply()
    assert (await lines[0].reply())[1] == b"in"
    assert {(await line.reply())[1] for line in lines[1:]} == {b"over"}


async def test_a_body_that_looks_like_a_request_is_none(running: Running) -> None:
    line = await running.line()
    body = b"POST /hot HTTP/1.1"
    line.send(post(body).removesuffix(body))
    await asyncio.sleep(0.05)
    running.app.over = True
    line.send(body)
    await running.waiting(1)
    running.app.reply()
    head, said = await line.reply()
    assert (head[:12], said) == (b"http/1.1 202", body)


async def test_a_thousand_pipelined_requests_that_are_refused_at_once_are_no_recursion(running: Running) -> None:
    running.app.waiting = Refusing()  # type: ignore[assignment]
    line = await running.line()
    line.send(post(b"x") * 1000)
    assert [(await line.reply())[1] for _ in range(1000)] == [b"x"] * 1000


async def test_who_asks_on_and_on_without_reading_is_cut_off(running: Running) -> None:
    running.app.waiting = Refusing()  # type: ignore[assignment]
    line = await running.line()
    some = post(b"x" * 4000) * 50
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while True:  # until there is more than the kernel holds of either direction
                line.send(some)
                await line.writer.drain()
    await until(lambda: not running.server.server_state.connections)


async def test_who_asks_on_and_on_while_others_wait_ahead_on_the_line_fills_no_memory(running: Running) -> None:
    line = await running.line()
    (protocol,) = running.server.server_state.connections
    requests = post(b"x") * 40_000  # some 3 MB

    async def ask() -> None:
        line.send(requests)
        await line.writer.drain()

    asking = asyncio.create_task(ask())
    most = 0
    for _ in range(5_000):
        await running.waiting(1)
        running.app.reply()
        most = max(most, len(protocol.pipeline))  # type: ignore[union-attr]
        assert (await line.reply())[1] == b"x"
    asking.cancel()
    line.writer.transport.abort()
    while running.server.server_state.connections:  # until it is noticed: while others wait, nobody reads
        await running.waiting(1)
        running.app.reply()
        await asyncio.sleep(0)
    assert most < 2 * READ_MAX // len(post(b"x"))


@pytest.mark.parametrize("way", ["kept", "closed", "closed with more behind", "left while waiting", "left as a stream"])
async def test_what_nobody_reads_keeps_no_line_however_short_it_is(running: Running, way: str) -> None:
    """Too short for the transport to say that it is full, too long for what the kernel still takes."""
    line = await running.line()
    (protocol,) = running.server.server_state.connections
    assert isinstance(protocol, QuizcastProtocol)
    cast("asyncio.Transport", line.writer.transport).pause_reading()
    while not protocol.transport.get_write_buffer_size():
        protocol.transport.write(b"x" * 1000)
    assert not protocol.flow.write_paused
    line.send(post(b"x" * HOT_BODY_MAX * 2) + post(b"behind") if way == "closed with more behind" else post(b"unread"))
    await running.waiting(1)
    if way == "left as a stream":
        running.app.waiting.pop().stream(200, HEADERS)
    if way.startswith("left"):
        line.writer.write_eof()
        await until(protocol.transport.is_closing)
    while running.app.waiting:
        running.app.reply(close=way.startswith("closed"))
    assert running.server.server_state.connections
    later = asyncio.get_running_loop().time()
    for _ in range(3):  # looks, however far apart
        later += UNREAD_S + protocol.timeout_keep_alive
        cut_slow([protocol], later)
    await until(lambda: not running.server.server_state.connections)


class Refusing(list[HotRequest]):
    """Answers whatever is to wait in it."""

    def append(self, request: HotRequest) -> None:
        request.reply(OK, HEADERS, request.body)


async def test_a_fault_of_ours_is_a_500_and_in_the_log(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    line = await running.line()
    running.app.fault = ValueError("a fault")
    line.send(post(b"stumbled"))
    head, _ = await line.reply()
    assert head.startswith(b"http/1.1 500 ")
    assert await line.ended()
    assert "a hot request could not be served" in caplog.text


@pytest.mark.parametrize("size", [HOT_BODY_MAX, HOT_BODY_MAX + 1, HOT_BODY_MAX * 40])
async def test_of_a_body_that_is_too_large_enough_is_handed_over_to_tell(running: Running, size: int) -> None:
    line = await running.line()
    line.send(post(b"x" * size)[:-1] if size > HOT_BODY_MAX + 1 else post(b"x" * size))
    await running.waiting(1)
    assert (len(running.app.waiting[0].body) > HOT_BODY_MAX) is (size > HOT_BODY_MAX)
    assert len(running.app.waiting[0].body) <= max(HOT_BODY_MAX + 65_536, size)
    running.app.reply()
    await line.reply()
    if size > HOT_BODY_MAX + 1:
        line.send(b"x")  # the end of it, to be passed over
    line.send(post(b"next"))
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"next"


async def test_who_asks_whether_to_go_on_is_told_to(running: Running) -> None:
    line = await running.line()
    line.send(b"POST /hot HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await asyncio.wait_for(line.reader.readline(), 5)).startswith(b"HTTP/1.1 100")
    await line.reader.readline()
    line.send(b"ok")
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"ok"


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
    left = next(one for one in running.app.waiting if one.body == b"gone")
    assert left.stream(200, HEADERS) is None
    while running.app.waiting:
        running.app.reply()
    twice.reply(OK, HEADERS, b"again")
    assert (await line.reply())[1] == b"here"
    line.send(post(b"next", "/other"))
    assert (await line.reply())[1] == b"task:next"


async def test_a_server_that_stops_lets_a_hot_request_come_to_its_end(running: Running) -> None:
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


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_stream_lasts_as_long_as_its_line_and_its_end_is_told_once(running: Running, who: str) -> None:
    left: list[str] = []
    line = await running.line()
    line.send(b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n" + post(b"behind"))
    await running.waiting(1)
    request = running.app.waiting.pop()
    transport = request.stream(200, HEADERS)
    assert transport is not None
    request.left = lambda: left.append("left")
    assert b"transfer-encoding: chunked" in (await line.reader.readuntil(b"\r\n\r\n")).lower()
    transport.write(chunk(b"one") + chunk(b"two"))
    assert await line.reader.readexactly(16) == b"3\r\none\r\n3\r\ntwo\r\n"
    line.send(post(b"behind"))  # the end of the stream is the end of the line
    await asyncio.sleep(0.05)
    assert not left
    assert not running.app.waiting
    if who == "client":
        line.writer.transport.abort()
    else:
        transport.write(END)
        transport.close()
        assert await line.reader.readexactly(5) == END
        assert await line.ended()
    await until(lambda: left == ["left"])


async def test_thousands_who_leave_at_once_leave_turns_to_others(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizcast.web.partings.A_TURN", 2)
    lines = [await running.line() for _ in range(20)]
    for line in lines:
        line.send(post(b"x"))
    await running.waiting(len(lines))
    left: list[HotRequest] = []
    for request in running.app.waiting:
        request.stream(200, HEADERS)
        request.left = partial(left.append, request)
    streams = list(running.server.server_state.connections)
    open_streams: list[int] = []
    for one in streams:
        assert one.eof_received()  # type: ignore[func-returns-value]
    for _ in range(5):  # turns of the loop
        await asyncio.sleep(0)
        open_streams.append(sum(not one.transport.is_closing() for one in streams))
    assert open_streams == [18, 16, 14, 12, 10]
    await until(lambda: len(left) == len(lines))
    for line in lines:
        await line.reader.readuntil(b"\r\n\r\n")
        assert await line.ended()


async def test_nothing_is_kept_of_what_a_stream_was_asked_with(running: Running) -> None:
    line = await running.line()
    line.send(b"GET /hot?token=secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n")
    await running.waiting(1)
    request = running.app.waiting.pop()
    request.stream(200, HEADERS)
    (protocol,) = running.server.server_state.connections
    assert not request.headers
    assert not protocol.headers  # type: ignore[union-attr]
    assert not protocol.scope  # type: ignore[union-attr]
    assert not protocol.url  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["stream", "waiting"])
async def test_of_a_line_that_is_gone_nothing_is_left_for_the_garbage_collector(running: Running, how: str) -> None:
    line = await running.line()
    line.send(post(b"x"))
    await running.waiting(1)
    request = running.app.waiting.pop()
    gc.collect()
    gc.disable()
    try:
        held: list[object] = []
        if how == "stream":
            held += [request.stream(200, HEADERS)]  # as the hub's streams hold their transport
            request.left = partial(held.clear)
        (protocol,) = map(weakref.ref, running.server.server_state.connections)
        line.writer.transport.abort()
        if how == "waiting":
            await until(lambda: not running.server.server_state.connections)
            request.reply(OK, HEADERS, b"")
        del request, held
        await until(lambda: protocol() is None)
    finally:
        gc.enable()


async def test_a_reply_to_what_has_become_a_stream_cuts_the_line(running: Running) -> None:
    line = await running.line()
    line.send(b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n")
    await running.waiting(1)
    request = running.app.waiting.pop()
    request.stream(200, HEADERS)
    await line.reader.readuntil(b"\r\n\r\n")
    request.reply(500, [], b"oops")
    with contextlib.suppress(ConnectionResetError):
        assert await line.ended()


@pytest.mark.parametrize("path", ["/hot", "/other"])
@pytest.mark.parametrize("cut", [10, -1])
async def test_a_reply_leaves_the_next_request_alone_that_is_coming_in(running: Running, path: str, cut: int) -> None:
    line = await running.line()
    line.send(post(b"first"))
    await running.waiting(1)
    following = post(b"second", path, "X-Mark: here\r\n")
    line.send(following[:cut])
    await asyncio.sleep(0.05)
    running.app.reply()
    assert (await line.reply())[1] == b"first"
    line.send(following[cut:])
    if path == "/hot":
        await running.waiting(1)
        assert running.app.waiting[0].headers[b"x-mark"] == b"here"
        running.app.reply()
    assert (await line.reply())[1] == (b"" if path == "/hot" else b"task:") + b"second"


async def test_what_comes_behind_a_body_is_no_header(running: Running) -> None:
    line = await running.line()
    head = b"POST /hot HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer head\r\nTransfer-Encoding: chunked\r\n\r\n"
    line.send(head + b"1\r\na\r\n0\r\nAuthorization: Bearer trailer\r\n\r\n")
    await running.waiting(1)
    assert dict(running.app.waiting[0].headers)[b"authorization"] == b"Bearer head"


async def test_who_would_like_to_upgrade_is_served_as_they_are(running: Running) -> None:
    line = await running.line()
    line.send(b"GET /hot HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n")
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[0].startswith(b"http/1.1 202 ")
    assert await line.ended()


async def test_a_server_that_stops_waits_for_a_body_that_is_coming(running: Running) -> None:
    line = await running.line()
    line.send(post(b"last")[:-1])
    await asyncio.sleep(0.05)
    running.server.should_exit = True
    await asyncio.sleep(0.3)
    line.send(b"t")
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"last"
    assert await line.ended()
