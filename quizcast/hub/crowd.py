"""Streams of a game that are told the same things, and how all of them are told at once; floor 5.

To ask each of thousands of streams for its socket takes longer than to hand it to the kernel: their memory has long
left the processor's caches. So the sockets stand in an array, and only those streams are asked that were `touched`.
Invariant: a socket stands there while nothing waits in its stream's transport, and at the latest until `discard`. That
comes with the transport's `connection_lost`, before which no event loop closes a socket; so the number is never
another connection's.
"""

from array import array
from collections.abc import Iterator

from quizcast.hub.ring import Ring
from quizcast.hub.stream import Stream

TOGETHER = 128  # sockets in one call: the first of thousands are not to wait for the last


class Crowd:
    """Streams in the order in which they came: who came after each other lie beside each other in memory."""

    def __init__(self) -> None:
        self._streams: list[Stream | None] = []  # None where one has left
        self._sockets = array("i")  # of each, -1 for none
        self._touched: dict[Stream, None] = {}
        self._here = 0

    def __len__(self) -> int:
        return self._here

    def __iter__(self) -> Iterator[Stream]:
        return (stream for stream in self._streams if stream is not None)

    def add(self, stream: Stream) -> None:
        """One more, at the end."""
        if len(self._streams) > 2 * self._here:
            self._close_up()
        stream.place, stream.touched = len(self._streams), self._touched
        self._streams.append(stream)
        self._sockets.append(-1)
        self._touched[stream] = None
        self._here += 1

    def discard(self, stream: Stream) -> bool:
        """Forget a stream, whose transport is about to close its socket; whether it was there."""
        if stream.touched is not self._touched:
            return False
        self._streams[stream.place] = None
        self._sockets[stream.place] = -1
        self._touched.pop(stream, None)
        stream.touched = None
        self._here -= 1
        return True

    def behind(self) -> int:
        """How many have a reader who has left something unread that the kernel's buffer does not hold any more."""
        return sum(stream.behind for stream in self._touched)

    def push(self, chunk: bytes) -> None:
        """Hand bytes to each transport."""
        for stream in self:
            stream.push(chunk)

    def send(self, ring: Ring, chunk: bytes) -> None:
        """The same past the transports, where nothing waits in them. When it raises `OSError`, nobody knows who has
        how much of it."""
        for stream in list(self._touched):
            socket = self._sockets[stream.place] = stream.direct
            if socket >= 0 or stream.closed is not None:
                del self._touched[stream]
        for first in range(0, len(self._sockets), TOGETHER):
            for place, sent in ring.send(self._sockets[first : first + TOGETHER], chunk):
                if (short := self._streams[first + place]) is not None:
                    short.push(chunk[sent:])

    def _close_up(self) -> None:
        streams = list(self)
        self._sockets = array("i", [self._sockets[stream.place] for stream in streams])
        for place, stream in enumerate(streams):
            stream.place = place
        self._streams = list(streams)
