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


class StreamingProtocol(HttpToolsProtocol):
    """Adds `scope["extensions"]["quizcast.transport"]["transport"]`."""

    def on_message_begin(self) -> None:
        """httptools calls this as a request begins; uvicorn has made its scope by the time super() returns."""
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
