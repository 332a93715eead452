"""uvicorn's HTTP protocol with a road of its own for what is hot, and limits in size and time; bottom of `web`.

A request that the app calls `hot` is handed over when its body is there, and answered when the app likes: no task, no
event, no messages, and one write for a reply. Or it becomes a stream, whose frames go straight into the transport, and
then all that is left of it is the line. Everything else is ASGI, and all other HTTP is uvicorn's.
"""

import asyncio
import functools
import logging
import resource
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from quizcast.metrics import CONNECTIONS_REFUSED

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

END = b"0\r\n\r\n"  # the last chunk of a stream
HEAD_MAX = 65_536  # bytes of a request's line and headers; the parser itself would take them without end
HOT_BODY_MAX = 4096  # bytes; of a larger body some more is handed over, for the handler to refuse, and the rest is not
HEADERS_MAX = 100  # a browser sends twenty, proxies add ten
# How long a client may take. `cut_slow` looks at all lines every `LOOK_S`: a millisecond for 12,000, and no timers.
HEAD_S = 10.0  # for a request's head, and for the first byte on a new line
BODY_S = 120.0  # for a body: the largest file at half a megabit per second
UNREAD_S = 60.0  # for the next piece of a reply that it does not read
LOOK_S = 2
# Open files that connections may not take. Half of them are the process's own: some sixty, and up to 32 to a Redis.
# The others are lent to requests that are refused in words, and to `/livez` and its like; with none to spare no
# connection could even be accepted to be ended.
FILES_KEPT = 256
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger(__name__)


class Headers(dict[bytes, bytes]):
    """A request's headers by their names in small letters; of one that comes twice, the last."""

    __slots__ = ()

    def text(self, name: bytes) -> str:
        """A header's value, or nothing."""
        return self.get(name, b"").decode("latin-1")


class _Nobody:
    """Takes the place of the event by which uvicorn wakes a request's task, where there is none."""

    def set(self) -> None:
        """Nobody waits."""


class HotRequest:
    """A request with its body, to be answered by one `reply` or `stream`, now or later; `left` is called at the end.

    Until then it stands where uvicorn keeps the cycle of a connection's request, and has what uvicorn looks at there:
    requests that come behind it on the same line wait, and a server that stops lets it come to its end.
    """

    __slots__ = (
        "_protocol",
        "body",
        "disconnected",
        "handler",
        "headers",
        "keep_alive",
        "left",
        "query",
        "response_complete",
    )
    message_event = _Nobody()
    more_body = False  # when it is handed over; uvicorn need not keep it to swallow what may still be passed over

    def __init__(self, protocol: "QuizcastProtocol", handler: "Handler", headers: Headers, query: bytes) -> None:
        self.headers = headers
        self.query = query
        self.body = b""
        self.handler: Handler | None = handler
        self.left: Callable[[], None] | None = None  # called once when a stream's line is gone
        self.keep_alive = True
        self.disconnected = self.response_complete = False
        self._protocol = protocol

    def reply(self, status: int, headers: RawHeaders, body: bytes, *, close: bool = False) -> None:
        """Answer, and let the line go on with the next request; `close` ends it instead.

        Does nothing when the client has gone. Cuts the line of what has become a stream, and of who does not read.
        """
        protocol = self._protocol
        # Or who asks on and on, and reads nothing of what they are told, would fill the memory.
        if protocol.is_stream(self) or protocol.flow.write_paused:
            protocol.transport.abort()
        if self.response_complete or protocol.transport.is_closing():
            return
        close = close or not self.keep_alive
        length = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
        end = b"connection: close\r\n" if close else b""
        protocol.transport.write(b"%b%b%b\r\n%b" % (protocol.head(status, headers), length, end, body))
        self.response_complete = True
        if close:
            protocol.transport.close()
        protocol.on_response_complete()

    def stream(self, status: int, headers: RawHeaders) -> asyncio.WriteTransport | None:
        """Begin an answer of which the body's chunks are written to the transport, after which that is closed.

        None when the client has gone.
        """
        protocol = self._protocol
        if protocol.transport.is_closing():
            return None
        protocol.transport.write(protocol.head(status, headers) + b"transfer-encoding: chunked\r\n\r\n")
        # It may last for hours: nothing is kept of what was asked.
        self.headers, self.query, self.body, self.handler = _NO_HEADERS, b"", b"", None
        protocol.became_stream(self)
        return protocol.transport


_NO_HEADERS = Headers()


Handler: TypeAlias = Callable[[HotRequest], None]


class HotApp(Protocol):
    """What the app has to have besides ASGI."""

    def refuses(self, line: "QuizcastProtocol", data: bytes) -> bool:
        """Whether what came in on an idle line is one whole request that is refused unparsed: soon, by `refuse`."""

    def part(self, line: "QuizcastProtocol") -> None:
        """Close a stream's line, whose client has ended it: soon."""

    def hot_handler(self, method: bytes, path: bytes, *, full: bool) -> Handler | None:
        """What serves a request, if it is to be served on the hot road; `full`: on one connection too many."""


class Flow(FlowControl):
    """uvicorn's, that reads nothing while requests wait on the line: each that is answered would let thousands in."""

    def __init__(self, transport: asyncio.Transport, waiting: Collection[Any]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Called with each answer, and for a body that is waited for."""
        if not self._waiting:
            super().resume_reading()


class QuizcastProtocol(HttpToolsProtocol):
    """uvicorn's, with the hot road and limits to what a client may send, and in which time."""

    app: HotApp
    cycle: Any  # of the request that is being served: uvicorn's own, or a `HotRequest`
    scope: Any
    _due = 0.0  # by when what is to come in has to be there, by the loop's clock; 0 while it is us who are waited for
    _unread_due = 0.0  # by when some of a reply has to be read; 0 while it is
    _full = False  # one line too many
    _in_head = False
    _head_size = 0
    _coming: HotRequest | None = None  # whose body is not there yet
    _passing_over = False  # the rest of a body that was too large
    _stream: HotRequest | None = None
    _held: bytes | None = None  # what has come in behind a request that is about to be refused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """asyncio calls this with a new connection. The limit is looked up each time: an operator may raise it."""
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._due = self.loop.time() + HEAD_S
        over = len(self.connections) - (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_KEPT)
        if over > 0:
            self._full = True
            CONNECTIONS_REFUSED.inc()
        if over > FILES_KEPT // 2:
            transport.abort()

    def on_message_begin(self) -> None:
        """httptools calls this as a request begins."""
        self._in_head, self._head_size = True, 0
        self._due = self.loop.time() + HEAD_S
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools calls this with a header, or with one that comes behind a body: no proxy has looked at those."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools calls this when a request's head is there."""
        self._in_head = False
        self._due += BODY_S
        if len(self.headers) > HEADERS_MAX:
            raise ValueError("too many headers")  # which is a 400 and the end of the line, by uvicorn
        headers = Headers(self.headers)
        path, _, query = self.url.partition(b"?")
        expects = headers.get(b"expect", b"").lower() == b"100-continue"
        handler = self.app.hot_handler(self.parser.get_method(), path, full=self._full)
        if handler is None:
            self._make_scope()
            self.expect_100_continue = expects
            super().on_headers_complete()
            return
        self._coming = HotRequest(self, handler, headers, query)
        if not self.parser.should_keep_alive() or (b"connection" in headers and self._is_last()):
            self._coming.keep_alive = False
        if expects and self._idle:
            self.transport.write(GO_ON)

    def _is_last(self) -> bool:
        # Of what is to be upgraded, which is never done here, the parser reads the head alone: the line ends with it.
        return self.parser.should_upgrade() or self.parser.get_http_version() == "1.0"

    def _make_scope(self) -> None:
        """What uvicorn makes of each request as it begins, and only ASGI has a use for."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers  # which is the scope's list

    def on_body(self, body: bytes) -> None:
        """httptools calls this with a piece of a body."""
        if self._coming is not None:
            self._coming.body += body
            if len(self._coming.body) > HOT_BODY_MAX:
                self._passing_over = True
                self._hand_over(self._coming)
        elif not self._passing_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """httptools calls this when a request is there with its body."""
        self._due = 0.0
        if self._coming is not None:
            self._hand_over(self._coming)
            return
        if self._passing_over:
            self._passing_over = False
        else:
            super().on_message_complete()
        if self._idle:  # its reply has gone out before
            self._rest()

    def _hand_over(self, request: HotRequest) -> None:
        waits = not self._idle
        self._coming, self.cycle = None, request
        if waits:  # for the one ahead of it on the line to be answered, as uvicorn has its own wait
            self.flow.pause_reading()
            self.pipeline.appendleft((cast("Any", request), cast("Any", self.app)))
        else:
            self._serve(request)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """uvicorn calls this when it is the turn of a request that had to wait, or of one that is not hot."""
        if isinstance(cycle, HotRequest):
            self.loop.call_soon(self._serve, cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _serve(self, request: HotRequest) -> None:
        try:
            if request.handler is not None:
                request.handler(request)
        except Exception:  # the last resort: raised from here, the parser would take it for the client's fault
            log.exception("a hot request could not be served")
            request.reply(500, [], b"Internal Server Error", close=True)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        """Called when an answer is out. A phone's line idles for most of a game: keep nothing by it."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            elif not self._due:  # the next one is not on its way
                self._rest()
            self.flow.resume_reading()
        # A body that is still coming in is uvicorn's to swallow, and needs the cycle for that.
        if self.cycle is not None and self.cycle.response_complete and not self.cycle.more_body:
            self.cycle = None
            if not self._in_head:  # of the next request
                self._let_go()

    def refuse(self, said: bytes) -> None:
        """Say so to who has waited for it, and go on with what they have sent meanwhile."""
        held, self._held = self._held, None
        if self.flow.write_paused:  # as in `HotRequest.reply`
            self.transport.abort()
        if self.transport.is_closing():
            return
        self.transport.write(said)
        self.flow.resume_reading()
        self._rest()
        if held:
            self.data_received(held)

    def _rest(self) -> None:
        # uvicorn would set a timer for this, and cancel it as the next request comes: for each of them.
        self._due = self.loop.time() + self.timeout_keep_alive

    def head(self, status: int, headers: RawHeaders) -> bytes:
        """A reply's head, up to where a body's length would be told."""
        return STATUS_LINE[status] + _lines((*self.server_state.default_headers, *headers))

    def is_stream(self, request: HotRequest) -> bool:
        """Whether it is this request that has become a stream."""
        return self._stream is request

    def became_stream(self, request: HotRequest) -> None:
        """A request has become a stream, which lasts as long as the line: what is sent behind it is passed over."""
        self._stream, self._coming, self._due = request, None, 0.0
        self.pipeline.clear()
        self.flow.resume_reading()  # or nobody would notice that the client leaves
        self._let_go()

    def _let_go(self) -> None:
        # The scope is let go of, not cleared: the app may not have returned yet.
        self.url, self.headers, self.scope = b"", [], None

    def data_received(self, data: bytes) -> None:
        """asyncio calls this with what has come in."""
        if self._stream is not None:
            return
        if self._held is not None:
            self._held += data
            if len(self._held) > HEAD_MAX:  # the rest may wait in the kernel
                self.flow.pause_reading()
            return
        idle = self.cycle is None and self._coming is None and not (self._in_head or self._passing_over)
        if idle and not self._full and self.app.refuses(self, data):
            self._held, self._due = b"", 0.0
            return
        self._head_size += len(data)  # from nothing, where a head begins in it
        super().data_received(data)
        if self._in_head and self._head_size > HEAD_MAX and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def pause_writing(self) -> None:
        """asyncio calls this when much has been written that the client has not read."""
        super().pause_writing()
        if self._stream is None:  # whose buffer is the hub's to watch
            self._unread_due = self.loop.time() + UNREAD_S

    def resume_writing(self) -> None:
        """asyncio calls this when the client has read most of it."""
        super().resume_writing()
        self._unread_due = 0.0

    def is_late(self, now: float) -> bool:
        """Whether the client takes too long to send what it began, or to read; `now` by the loop's clock."""
        if not (self._due or self._unread_due) and self.transport.is_closing():
            self._due = now + UNREAD_S  # whoever closed it: that waits for the client to read what is left
        return 0 < self._due < now or 0 < self._unread_due < now

    def cut(self, now: float) -> None:
        """End the line of a client that is late, unless it waits for us."""
        if self.transport.is_closing() or 0 < self._unread_due < now:
            self.transport.abort()
        elif self.flow.read_paused or (self._in_head and not self._idle):
            self._due = now + HEAD_S
        else:
            if self._in_head or self._coming is not None or not self._idle:
                self.transport.write(TOO_SLOW)
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's says nothing, which is False
        """asyncio calls this when the client has ended the line; True: we close it ourselves."""
        if self._stream is None:
            return False
        self.app.part(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio calls this when the line is gone, and closes the socket after it."""
        stream, self._stream = self._stream, None
        try:
            super().connection_lost(exc)
        finally:
            # The line, its request and its stream would hold each other, and collections that find them are rare.
            if isinstance(self.cycle, HotRequest):
                self.cycle = None
            if stream is not None and stream.left is not None:  # whatever happened: the hub has to forget the socket
                left, stream.left = stream.left, None
                left()

    def shutdown(self) -> None:
        """uvicorn calls this as it stops: what is idle is closed, the others are to be answered first."""
        if self._coming is not None and self._idle:
            self._coming.keep_alive = False
        else:
            super().shutdown()


def cut_slow(lines: Iterable[object], now: float) -> None:
    """End the lines of all clients that take too long; `now` by the loop's clock."""
    for line in [one for one in lines if isinstance(one, QuizcastProtocol) and one.is_late(now)]:
        line.cut(now)


def written(headers: RawHeaders, body: bytes) -> bytes:
    """Headers and a body, with the body's length: what comes behind a `head`."""
    return b"%bcontent-length: %d\r\n\r\n%b" % (_lines(tuple(headers)), len(body), body)


@functools.lru_cache(maxsize=100)  # a few kinds of replies; what changes in them, once a second, is the date
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([part for name, value in headers for part in (name, b": ", value, b"\r\n")])


def chunk(frame: bytes) -> bytes:
    """Bytes as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(frame), frame)
