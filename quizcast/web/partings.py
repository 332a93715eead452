"""Streams whose clients have gone: thousands maybe, when a hall's line breaks; ended a few at a time; in `web`.

To end a connection and forget its stream costs some 50 us, most of it in the turns of the loop behind the one in which
it is closed. All that are read as ended in one turn would keep everybody else waiting for hundreds of milliseconds.
"""

import asyncio
from collections import deque

A_TURN = 20  # of the loop: a millisecond; somebody else's request takes five turns or so


class Partings:
    """Connections that are to be closed from our side too."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.BaseTransport] = deque()

    def add(self, transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop) -> None:
        """Close it in its turn."""
        self._waiting.append(transport)
        if len(self._waiting) == 1:
            loop.call_soon(self._go_on, loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(A_TURN, len(self._waiting))):
            self._waiting.popleft().close()
        if self._waiting:
            loop.call_soon(self._go_on, loop)
