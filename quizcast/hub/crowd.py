"""Streams of a game that are told the same things, and how all of them are told at once; floor 5.

To ask each of thousands of streams for its socket takes a twelfth of the time in which they are sent to: their memory
has long left the processor's caches. So the sockets' numbers stand in an array, and only the streams that were touched
since, written to or closed, are asked again.
Invariants: nothing waits in the transport of a stream that is not touched; and a stream is discarded when its
connection is lost, before the event loop closes the socket, so that no number is another connection's by now.
"""

from array import array
from collections.abc import Iterator

from quizcast.hub.ring import Ring
from quizcast.hub.stream import Stream

TOGETHER = 128  # sockets asked for, and sent to in one call: the first of thousands are not to wait for the last


class Crowd:
    """Streams in the order in which they came: who came after each other lie beside each other in memory."""

    def __init__(self) -> None:
        # By place:
        self._streams: list[Stream | None] = []  # None where one has left
        self._sockets = array("i")  # -1 where the stream itself has to be handed what is sent
        self._touched = bytearray()  # 1 where that may have changed
        self._here = 0

    def __len__(self) -> int:
        return self._here

    def __iter__(self) -> Iterator[Stream]:
        return (stream for stream in self._streams if stream is not None)

    def add(self, stream: Stream) -> None:
        """One more, at the end."""
        stream.home, stream.place = self, len(self._streams)
        self._streams.append(stream)
        self._sockets.append(-1)
        self._touched.append(1)
        self._here += 1

    def discard(self, stream: Stream) -> None:
        """Forget a stream that is here, and is about to lose its socket."""
        self._streams[stream.place] = None
        self._sockets[stream.place] = -1
        self._touched[stream.place] = 0
        stream.home = None
        self._here -= 1

    def touch(self, stream: Stream) -> None:
        """A stream that is here is being written to, or closed."""
        self._touched[stream.place] = 1

    def behind(self) -> int:
        """How many have a reader who has left something unread that the kernel's buffer does not hold any more."""
        return sum(stream.behind for stream in self._asked(0, len(self._streams)))

    def push(self, chunk: bytes) -> None:
        """Hand bytes to each transport."""
        self._close_up()
        for stream in self:
            stream.push(chunk)

    def send(self, ring: Ring, chunk: bytes) -> None:
        """The same past the transports, where nothing waits in them.

        When it raises `OSError`, nobody knows who has how much of it.
        """
        self._close_up()
        for first in range(0, len(self._streams), TOGETHER):
            for stream in self._asked(first, first + TOGETHER):
                number = self._sockets[stream.place] = stream.direct
                if number >= 0 or stream.closed is not None:
                    self._touched[stream.place] = 0
            for place, sent in ring.send(self._sockets[first : first + TOGETHER], chunk):
                if (short := self._streams[first + place]) is not None:
                    short.push(chunk[sent:])

    def _asked(self, first: int, end: int) -> Iterator[Stream]:
        """Those that were touched, of some places."""
        place = self._touched.find(1, first, end)
        while place >= 0:
            if (stream := self._streams[place]) is not None:
                yield stream
            place = self._touched.find(1, place + 1, end)

    def _close_up(self) -> None:
        """Close the gaps that leavers have left, once they are many."""
        if len(self._streams) - self._here <= max(TOGETHER, self._here // 8):
            return
        streams = list(self)
        self._sockets = array("i", [self._sockets[stream.place] for stream in streams])
        self._touched = bytearray(self._touched[stream.place] for stream in streams)
        for place, stream in enumerate(streams):
            stream.place = place
        self._streams = list(streams)
