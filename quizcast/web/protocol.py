"""uvicorn's HTTP protocol with two roads for what is hot, and a limit to a request's head; at the bottom of `web`.

A stream's frames go straight into the connection's transport, offered as an ASGI extension: no coroutine, no message
and no copy per delivery. What the app writes there is the body of a response that it has started by the ordinary ASGI
message, framed as `chunked` does. And a request that the app `wants_whole` is handed over with its body as soon as
that is there, and replied to when the app likes: no task, no event, and one write. All other HTTP is uvicorn's.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

EXTENSION = "quizcast.transport"
END = b"0\r\n\r\n"  # the last chunk
HEAD_MAX = 65_536  # bytes of a request's line and headers; the parser itself would take them without end
WHOLE_MAX = 4096  # bytes of a body; more goes the ordinary way, where it is refused
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

log = logging.getLogger(__name__)


class _Nobody:
    """Takes the place of the event by which uvicorn wakes a request's task, where there is none."""

    def set(self) -> None:
        """Nobody waits."""


class WholeRequest:
    """A request with its body, served without a task: `reply` once, now or later.

    Until then it stands where uvicorn keeps the cycle of a connection's request, and has what uvicorn looks at there:
    requests that come behind it on the same line wait, and a server that stops lets it come to its end.
    """

    __slots__ = ("_protocol", "body", "disconnected", "headers", "keep_alive", "response_complete", "url")
    message_event = _Nobody()
    more_body = False

    def __init__(self, protocol: "QuizcastProtocol", body: bytes, *, keep_alive: bool) -> None:
        self.url: bytes = protocol.url
        self.headers: Sequence[tuple[bytes, bytes]] = protocol.headers
        self.body = body
        self._protocol = protocol
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = False

    def reply(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, close: bool = False) -> None:
        """Answer it in one write, and let the connection go on with the next; `close` ends it instead.

        Does nothing when the client has gone.
        """
        protocol = self._protocol
        if self.response_complete or protocol.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in (*protocol.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if close := close or not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        protocol.transport.write(b"".join(parts))
        self.response_complete = True
        if close:
            protocol.transport.close()
        protocol.on_response_complete()


class WholeApp(Protocol):
    """What the app has to have besides ASGI."""

    def wants_whole(self, url: bytes) -> bool:
        """Whether POSTs to this address are to be handed over whole."""

    def serve_whole(self, request: WholeRequest) -> bool:
        """Serve it; False when it is to go the ordinary way after all."""


class QuizcastProtocol(HttpToolsProtocol):
    """Adds `scope["extensions"]["quizcast.transport"]["transport"]`, whole requests, and a limit to a head."""

    app: WholeApp
    _in_head = True
    _head_size = 0
    _body: bytes | None = None  # of a request that is to be handed over whole, as far as it has come

    def on_headers_complete(self) -> None:
        """httptools calls this when a request's head is there."""
        self._in_head = False
        idle = self.cycle is None or self.cycle.response_complete
        if (
            idle
            and self.parser.get_method() == b"POST"
            and self.app.wants_whole(self.url)
            and not (self.expect_100_continue or self.parser.should_upgrade())
        ):
            self._body = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """httptools calls this with a piece of a body."""
        if self._body is None:
            super().on_body(body)
            return
        self._body += body
        if len(self._body) > WHOLE_MAX:
            self._go_the_ordinary_way(self._body)

    def on_message_complete(self) -> None:
        """httptools calls this when a request is there with its body."""
        if (body := self._body) is not None:
            keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            whole = WholeRequest(self, body, keep_alive=keep_alive)
            self.cycle, self._body = cast("Any", whole), None
            if self._served(whole):
                return
            self.cycle = cast("Any", None)
            self._go_the_ordinary_way(body)
        super().on_message_complete()

    def _served(self, request: WholeRequest) -> bool:
        try:
            return self.app.serve_whole(request)
        except Exception:  # a fault of ours; raised from here, the parser would take it for the client's
            log.exception("a whole request could not be served")
            return False

    def _go_the_ordinary_way(self, body: bytes) -> None:
        self._body = None
        super().on_headers_complete()
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """asyncio calls this with what has come in."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_size += len(data)
            if self._head_size > HEAD_MAX and not self.transport.is_closing():
                self.transport.write(TOO_LARGE)
                self.transport.close()

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
