"""uvicorn's HTTP protocol with two roads for what is hot, and a limit to a request's head; at the bottom of `web`.

A stream's frames go straight into the connection's transport, offered as an ASGI extension: no coroutine, no message
and no copy per delivery. What the app writes there is the body of a response that it has started by the ordinary ASGI
message, framed as `chunked` does. And a request that the app `wants_whole` is handed over with its body as soon as
that is there, and replied to when the app likes: no task, no event, and one write. All other HTTP is uvicorn's.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

EXTENSION = "quizcast.transport"
END = b"0\r\n\r\n"  # the last chunk
HEAD_MAX = 65_536  # bytes of a request's line and headers; the parser itself would take them without end
WHOLE_MAX = 8192  # bytes of a body that may be handed over whole; more goes the ordinary way, and is refused there
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


log = logging.getLogger(__name__)


class WholeRequest:
    """A request with its body, served without a task: `reply` once, now or later."""

    __slots__ = ("_cycle", "_protocol", "body", "scope")

    def __init__(self, protocol: "QuizcastProtocol", cycle: RequestResponseCycle) -> None:
        self.scope: Scope = cast("Scope", cycle.scope)
        self.body = bytes(cycle.body)
        self._protocol = protocol
        self._cycle = cycle

    def reply(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, close: bool = False) -> None:
        """Answer it in one write, and let the connection go on with the next; `close` ends it instead.

        Does nothing when the client has gone, or has had an answer.
        """
        cycle, protocol = self._cycle, self._protocol
        if cycle.disconnected or cycle.response_started or protocol.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in (*protocol.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if close := close or not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        protocol.transport.write(b"".join(parts))
        cycle.response_started = cycle.response_complete = True
        if close:
            protocol.transport.close()
        protocol.on_response_complete()


class WholeApp(Protocol):
    """What the app has to have besides ASGI."""

    def wants_whole(self, scope: Scope) -> bool:
        """Whether a request, of which the head is there, is to be handed over whole."""

    def serve_whole(self, request: WholeRequest) -> bool:
        """Serve it; False when it is to go the ordinary way after all."""


class QuizcastProtocol(HttpToolsProtocol):
    """Adds `scope["extensions"]["quizcast.transport"]["transport"]`, whole requests, and a limit to a head."""

    app: WholeApp
    _in_head = True
    _head_size = 0
    _gathering: RequestResponseCycle | None = None  # the request whose body is awaited, to hand it over whole

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """uvicorn calls this when it is a request's turn, which is when its head is there or the one before is out."""
        if cycle.more_body and not cycle.waiting_for_100_continue and self.app.wants_whole(cast("Scope", cycle.scope)):
            self._gathering = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """httptools calls this with a piece of a body."""
        super().on_body(body)
        if (cycle := self._gathering) is not None and len(cycle.body) > WHOLE_MAX:
            self._gathering = None
            super()._start_asgi_task(cycle, cast("Any", self.app))

    def on_message_complete(self) -> None:
        """httptools calls this when a request is there with its body."""
        super().on_message_complete()
        if (cycle := self._gathering) is not None:
            self._gathering = None
            if not self._served(WholeRequest(self, cycle)):
                super()._start_asgi_task(cycle, cast("Any", self.app))

    def _served(self, request: WholeRequest) -> bool:
        try:
            return self.app.serve_whole(request)
        except Exception:  # a fault of ours; raised from here, the parser would take it for the client's
            log.exception("a whole request could not be served")
            return False

    def data_received(self, data: bytes) -> None:
        """asyncio calls this with what has come in."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_size += len(data)
            if self._head_size > HEAD_MAX and not self.transport.is_closing():
                self.transport.write(TOO_LARGE)
                self.transport.close()

    def on_headers_complete(self) -> None:
        """httptools calls this when a request's head is there."""
        self._in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """uvicorn calls this when an answer is out. A phone's line idles for most of a game: keep nothing by it."""
        super().on_response_complete()
        # A body that is still coming in is uvicorn's to swallow, and needs the cycle for that.
        if self.cycle is not None and self.cycle.response_complete and not self.cycle.more_body:
            # As before the first request. The scope is let go of, not cleared: the app may not have returned yet.
            self.cycle, self.headers, self.scope = cast("Any", None), [], cast("Any", {})

    def on_message_begin(self) -> None:
        """httptools calls this as a request begins; uvicorn has made its scope by the time super() returns."""
        self._in_head, self._head_size = True, 0
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope["extensions"] = {EXTENSION: {"transport": self.transport}}


def transport_of(scope: Mapping[str, Any]) -> asyncio.WriteTransport:
    """The transport under a request. The server has to be `quizcast web`."""
    transport: asyncio.WriteTransport = scope["extensions"][EXTENSION]["transport"]
    return transport


def chunk(frame: bytes) -> bytes:
    """Bytes as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(frame), frame)
