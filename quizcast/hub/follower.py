"""Keeps channels in step with the log, wherever pub/sub left a hole or may have; floor 5.

Invariant: a channel's log is read by one task at a time, and nothing newer goes out while it is: `deliver` leaves that
to the task, which goes on until the channel has all that was announced.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from quizcast.errors import GameUnknown, Unavailable
from quizcast.hub.channel import Channel
from quizcast.hub.ports import EventLog
from quizcast.hub.pulse import jittered
from quizcast.hub.stream import Closed
from quizcast.metrics import HOLES
from quizcast.wire.events import Gap, History, Message, Position

FILL_TRIES = 3
FILL_AGAIN_S = 0.5

log = logging.getLogger(__name__)


class Follower:
    """`fill` for whoever heard of something newer, `reach` for whoever has to wait until it is there."""

    def __init__(
        self,
        event_log: EventLog,
        *,
        publish: Callable[[Channel, Message], None],
        cut: Callable[[Channel, Closed], None],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        """`publish` gives a channel's streams the next message, `cut` ends them all, `spawn` keeps a task."""
        self._log = event_log
        self._publish = publish
        self._cut = cut
        self._spawn = spawn

    def fill(self, channel: Channel) -> None:
        """Read the log from now on; where that is being done, it may have begun too early: once more, then."""
        if channel.filling is not None:
            channel.again = True
            return
        channel.cancel("retry")
        channel.again = False
        channel.filling = self._spawn(self._fill_from_log(channel))

    async def reach(self, channel: Channel, position: Position) -> None:
        """Wait until the channel's streams have been given everything up to a position. Raises `Unavailable`."""
        for _ in range(FILL_TRIES):
            if channel.head >= position:
                return
            self.fill(channel)
            if channel.filling is not None:
                await asyncio.wait([channel.filling])  # which, unlike awaiting it, outlives its being cancelled
        if channel.head < position:
            raise Unavailable(retry_after_s=jittered(1))

    async def _fill_from_log(self, channel: Channel) -> None:
        history: History | Gap | None = None
        over = False
        try:
            history = await self._log.since(channel.game_id, channel.head)
        except GameUnknown:
            over = True
        except Unavailable:
            log.warning("the log could not be read; trying again")
        finally:
            # Cleared before publishing, and nothing is awaited until then: `deliver` goes on where this ends.
            channel.filling = None
            if history is None and not channel.stopped:
                channel.later("retry", jittered(FILL_AGAIN_S), self.fill, channel)
        if over:
            self._cut(channel, Closed.OVER)
        if history is None:
            return
        if isinstance(history, Gap):
            # The streams come back with an id that the log no longer knows, and are told `reset`.
            self._cut(channel, Closed.LOST)
            return
        if history.messages:
            HOLES.inc()
        for message in history.messages:
            self._publish(channel, message)
        if channel.again or channel.heard > channel.head:
            channel.heard = channel.head  # heard of what the log does not have: asked once, and not for ever
            self.fill(channel)
