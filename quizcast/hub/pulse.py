"""What streams hear besides the kept events: `lobby` and `progress`, thinned out, and the heartbeat; floor 5."""

import asyncio
import random
from collections.abc import Callable

from quizcast.hub.channel import Channel, Fleeting
from quizcast.hub.crowd import Crowd
from quizcast.hub.stream import Closed
from quizcast.metrics import EVENTS
from quizcast.wire.events import Drain, Heartbeat, Message, frame, frame_of

FLEETING_EVERY_S = 0.25
FLEETING_BUDGET = 1000  # frames a second that `lobby` and `progress` may cost a process; the crowd's rate gives way
AGE_RETRY_MS = 1000


class Pulse:
    """The timers of a hub's channels. `broadcast` hands bytes to a crowd; the rest is as in `Hub`."""

    def __init__(
        self,
        *,
        broadcast: Callable[[Crowd, bytes], None],
        envelope: Callable[[bytes], bytes],
        farewell: bytes,
        now: Callable[[], int],
        heartbeat_s: float,
    ) -> None:
        self._broadcast = broadcast
        self._envelope = envelope
        self._farewell = farewell
        self._now = now
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()

    def start(self, channel: Channel) -> None:
        """Begin a channel's heartbeat, at a moment of its own within the interval."""
        channel.later("beat", self._heartbeat_s * random.random(), self._beat, channel)

    def offer(self, channel: Channel, message: Message) -> None:
        """Pass a fleeting event on when its turn comes: at most four a second, fewer for a large crowd."""
        if message.name == "progress" and channel.last_closed() is not None:
            return  # the log was quicker with `closed` than pub/sub with this
        EVENTS.labels(message.name).inc()
        for waiting in (channel.to_staff, channel.to_people):
            waiting.offer(message)
            if waiting.name not in channel.timers:
                delay_s = max(0.0, waiting.due_at - self._loop.time())
                channel.later(waiting.name, delay_s, self._fleet, channel, waiting)

    def goodbye(self, retry_ms: float) -> bytes:
        """The last bytes of a stream whose client should come back, to any process."""
        return self._envelope(frame_of(Drain(retry_ms=int(jittered(retry_ms))))) + self._farewell

    def _fleet(self, channel: Channel, waiting: Fleeting) -> None:
        if not waiting:
            return  # overtaken by a kept event
        to_staff = waiting is channel.to_staff
        every_s = FLEETING_EVERY_S if to_staff else max(FLEETING_EVERY_S, len(waiting.crowd) / FLEETING_BUDGET)
        waiting.due_at = self._loop.time() + every_s
        self._broadcast(waiting.crowd, b"".join(self._envelope(frame(name, data)) for name, data in waiting.take()))

    def _beat(self, channel: Channel) -> None:
        now = self._loop.time()
        for stream in [one for one in channel.streams if one.expires_at <= now]:
            stream.close(Closed.AGE, self.goodbye(AGE_RETRY_MS))
        beat = frame_of(Heartbeat(server_now_at=self._now(), last_id=str(channel.head)))
        for crowd in (channel.staff, channel.people):
            self._broadcast(crowd, self._envelope(beat))
        channel.later("beat", self._heartbeat_s, self._beat, channel)


def jittered(value: float) -> float:
    """80 to 100 per cent of a value: for everything that many clients would otherwise do at the same moment."""
    return value * (0.8 + 0.2 * random.random())
