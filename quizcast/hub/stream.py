"""One viewer's event stream: bytes into a transport, and how it ends; floor 5.

Invariant: one slow reader costs no one else anything. `push` never waits; what a reader does not take stays in its
transport's buffer, and a stream whose buffer is full is cut, to come back by `Last-Event-ID`.
"""

import asyncio
from enum import Enum
from typing import Protocol

import msgspec

from quizcast.metrics import STREAMS_CLOSED

CLOSE_MAX_S = 5.0  # for the last bytes to be read


class Closed(Enum):
    """Why a stream ended; `retry` says whether the client should come back."""

    GONE = ("gone", True)  # the client left, or its line broke
    SLOW = ("slow", True)
    AGE = ("age", True)
    DRAIN = ("drain", True)
    LOST = ("lost", True)  # Redis was away too long to go on with
    KICKED = ("kicked", False)
    OVER = ("over", False)

    def __init__(self, reason: str, retry: bool) -> None:
        self.reason = reason
        self.retry = retry


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Who watches: a participant by id, or (None) somebody who leads or shows the game."""

    participant_id: str | None = None

    @property
    def who(self) -> str:
        """The label under which such streams are counted."""
        return "staff" if self.participant_id is None else "participant"


class Home(Protocol):
    """The crowd that a stream is in, as far as streams know it."""

    def touch(self, stream: "Stream") -> None:
        """It is being written to, or closed."""

    def discard(self, stream: "Stream") -> None:
        """It has no more to do with it."""


class Stream:
    """A viewer and the transport their frames go into. Slots, because there are ten thousand of them."""

    __slots__ = ("_buffer_max", "_fd", "_transport", "closed", "expires_at", "home", "place", "viewer")

    def __init__(self, viewer: Viewer, transport: asyncio.WriteTransport, buffer_max: int, expires_at: float) -> None:
        self.viewer = viewer
        self.expires_at = expires_at  # of the loop's clock
        self.closed: Closed | None = None
        self.home: Home | None = None
        self.place = -1  # at home
        self._transport = transport
        self._buffer_max = buffer_max
        socket = transport.get_extra_info("socket")
        plain = socket is not None and transport.get_extra_info("sslcontext") is None
        self._fd: int = socket.fileno() if plain else -1

    def push(self, chunk: bytes) -> None:
        """Hand bytes to the transport, or cut the stream when its reader is too far behind."""
        if self.closed is not None:
            return
        transport = self._transport
        if transport.is_closing():  # the line broke a moment ago; writing to it would raise into everybody's loop
            self.close(Closed.GONE)
            return
        self._touch()
        transport.write(chunk)
        if transport.get_write_buffer_size() > self._buffer_max:
            self.close(Closed.SLOW)

    def _touch(self) -> None:
        if self.home is not None:
            self.home.touch(self)

    @property
    def direct(self) -> int:
        """The socket, for who sends past the transport what would go out at once; -1 when it would not, or is none.

        That holds until the stream is touched, or its connection lost.
        """
        transport = self._transport
        if self.closed is not None or transport.is_closing() or transport.get_write_buffer_size():
            return -1
        return self._fd

    @property
    def behind(self) -> bool:
        """Whether its reader has left something unread that the kernel's buffer does not hold any more."""
        return self.closed is None and self._transport.get_write_buffer_size() > 0

    def close(self, reason: Closed, last: bytes = b"") -> None:
        """End the stream, after `last`. The second call does nothing: the first reason is the true one."""
        if self.closed is not None:
            return
        self.closed = reason
        self._touch()
        STREAMS_CLOSED.labels(reason.reason).inc()
        if reason is Closed.SLOW:
            self._transport.abort()  # an orderly close would wait for the reader who is not reading
        elif reason is not Closed.GONE and not self._transport.is_closing():
            self._transport.write(last)
            self._transport.close()
            if self._transport.get_write_buffer_size():  # who does not read would keep the line open for ever
                asyncio.get_running_loop().call_later(CLOSE_MAX_S, self._transport.abort)
