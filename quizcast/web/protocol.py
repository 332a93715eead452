"""uvicorn's HTTP protocol, with the connection's transport offered to the app as an ASGI extension.

A stream's frames go straight into the transport: no coroutine, no message and no copy per delivery. What the app
writes there is the body of a response that it has started by the ordinary ASGI message, framed as `chunked` does.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "quizcast.transport"
END = b"0\r\n\r\n"  # the last chunk
HEAD_MAX = 65_536  # bytes of a request's line and headers; the parser itself would take them without end
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class StreamingProtocol(HttpToolsProtocol):
    """Adds `scope["extensions"]["quizcast.transport"]["transport"]`, and a limit to a request's head."""

    _in_head = True
    _head_size = 0

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
