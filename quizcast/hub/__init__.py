"""The fan-out: every event of a game, once encoded, to every stream of it in this process; floor 5.

Invariants: subscribe, then read, then go live, with nothing awaited between the last two, so that there is neither
gap nor duplicate. Pub/sub is the doorbell and the log the truth: a hole in the positions is filled from the log
before anything newer goes out. The hub moves bytes; it knows neither Redis nor HTTP: the app introduces them.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple

from quizcast.errors import Draining, GameOver, GameUnknown, StreamsFull, Unavailable
from quizcast.hub.channel import RECENT_MAX, Channel
from quizcast.hub.crowd import Crowd
from quizcast.hub.follower import Follower
from quizcast.hub.opening import Opening
from quizcast.hub.ports import EventLog, Views
from quizcast.hub.pulse import Pulse, jittered
from quizcast.hub.ring import CHUNK_MAX, Ring
from quizcast.hub.stream import Closed, Stream, Viewer
from quizcast.metrics import DELIVERIES, EVENTS, FANOUT_SECONDS, PUSH_SECONDS, STREAMS, STREAMS_REFUSED
from quizcast.wire.events import Heartbeat, Kicked, Message, Position, frame_of, with_retry

__all__ = ["FULL_RETRY_S", "Arrival", "Closed", "EventLog", "Hub", "Stream", "Viewer", "Views", "jittered"]

TOGETHER_FROM = 16  # streams; for fewer a call for each is as good
SLICE = 1000  # results read and encoded between two turns of the event loop, so that answers get in meanwhile
RETRY_MIN_MS, RETRY_MAX_MS = 200, 2500  # after which a browser's EventSource comes back when its line broke
DRAIN_RETRY_MS = 500  # short: a drain spreads the return by when it closes each stream
LINGER_S = 30.0  # a game without streams is kept warm: they may all be on their way back
LAST_WORDS_S = 1.0  # between `finished` and the end of the streams, for results that are still being read
AGAIN_S = 0.5  # while Redis is away
AHEAD_PER_S = 20_000  # streams a second that `closed` is given time for to get out, before results come up behind it
AHEAD_FROM = 100  # streams; for fewer it takes no time
LOOK_EVERY_S = 2.0  # how the streams are; a host looks at it with two eyes, and 10,000 streams take 1 ms
FULL_RETRY_S = (3, 4, 5, 6, 7)  # one of them: the header tells whole seconds, and all must not come back at once
# Streams that are brought up to date at the same moment: when thousands come back at once, the others wait here, and
# not in the queue for Redis's connections, where every answer and command would have to wait behind them.
CATCHING_UP_MAX = 16

log = logging.getLogger(__name__)


class Arrival(NamedTuple):
    """A viewer at the door: the frames that bring them up to the position `at`; `kicks` as many had been heard of, and
    so often the log had been `restored`."""

    channel: Channel
    viewer: Viewer
    frames: list[bytes]
    at: Position
    kicks: int
    restored: int


class Hub:
    """All streams of this process. `deliver`, `restored` are for the log; `arrive`, `go_live`, `detach` for the web."""

    def __init__(
        self,
        event_log: EventLog,
        views: Views,
        *,
        envelope: Callable[[bytes], bytes],
        farewell: bytes,
        now: Callable[[], int],
        max_streams: int,
        buffer_max: int,
        heartbeat_s: float,
        max_age_s: float,
        ring: Ring | None = None,
        reached: Callable[[str, int], None] = lambda _game_id, _took_ms: None,
        slow: Callable[[str, int], None] = lambda _game_id, _streams: None,
    ) -> None:
        """`envelope` wraps a frame for the transport, `farewell` ends its body; `now` is the server's clock in ms.
        With a `ring`, which the hub closes, one system call sends to many.

        `reached` is told how many ms after its stamp a kept event had gone out to all streams of a game here.
        `slow` is told how many participants' streams of a game here are behind with reading, every `LOOK_EVERY_S` while
        there are any and once when there are none any more.
        """
        self._reached = reached
        self._slow = slow
        self._log = event_log
        self._views = views
        self._follower = Follower(event_log, publish=self._publish, cut=self._cut, spawn=self._spawn)
        self._opening = Opening(event_log, views, self._follower)
        self._envelope = envelope
        self._farewell = farewell
        self._now = now
        self._max_streams = max_streams
        self._buffer_max = buffer_max
        self._pulse = Pulse(
            broadcast=self._broadcast, envelope=envelope, farewell=farewell, now=now, heartbeat_s=heartbeat_s
        )
        self._max_age_s = max_age_s
        self._ring = ring
        self._channels: dict[str, Channel] = {}
        self._open = 0
        self._arriving = 0
        self._door = asyncio.Semaphore(CATCHING_UP_MAX)
        self._draining = False
        self._restored = 0  # how often the log had been deaf
        self._seeing_off: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        # One timer for all games: to be woken for each of hundreds costs more than all that is looked at.
        self._looking = self._loop.call_later(jittered(LOOK_EVERY_S), self._look)

    # ── for the web: streams come and go ──────────────────────────────────────────────────────────────────────

    def admit(self) -> None:
        """Raise `StreamsFull` or `Draining` when this process takes no more streams."""
        if self._draining:
            STREAMS_REFUSED.labels("draining").inc()
            raise Draining(retry_after_s=1)
        if self.full:
            STREAMS_REFUSED.labels("full").inc()
            raise StreamsFull(retry_after_s=random.choice(FULL_RETRY_S))

    async def arrive(
        self, game_id: str, viewer: Viewer, resume: Position | None, gone: Callable[[], bool] = lambda: False
    ) -> Arrival:
        """Find out what a viewer has to be told first; `go_live` then tells it. For who is `gone` by then, nothing.

        Raises `StreamsFull`, `Draining`, `RedisUnavailable`, `GameUnknown`, `NotInGame`, and `GameOver` when the game
        has ended and the viewer has seen all of it.
        """
        self.admit()
        self._arriving += 1
        try:
            channel = await self._channel(game_id)
            async with self._door:
                self._linger(channel)
                kicks, restored = len(channel.kicks), self._restored
                nothing = list[bytes](), channel.head
                frames, at = nothing if gone() else await self._opening.frames(channel, viewer, resume)
        finally:
            self._arriving -= 1
        if channel.over and (resume is None or resume == channel.head):
            raise GameOver()
        return Arrival(channel, viewer, frames, at, kicks, restored)

    def go_live(self, arrival: Arrival, transport: asyncio.WriteTransport) -> Stream:
        """Begin a stream; nothing is awaited here, so nothing can be missed or told twice. `detach` ends it."""
        channel, viewer = arrival.channel, arrival.viewer
        stream = Stream(viewer, transport, self._buffer_max, self._loop.time() + jittered(self._max_age_s))
        meanwhile = channel.after(arrival.at)
        if meanwhile is None or channel.stopped:
            stream.close(Closed.LOST, self._farewell)
            return self._counted(stream)
        opening = [*arrival.frames, *(message.frame for message in meanwhile)]
        if not opening:
            # Who has missed nothing is told so at once: a stream that stays silent may be held up by a proxy.
            opening = [frame_of(Heartbeat(server_now_at=self._now(), last_id=str(channel.head)))]
        # Should this process die, its clients must not all come back at the same moment.
        opening[0] = with_retry(opening[0], random.randrange(RETRY_MIN_MS, RETRY_MAX_MS))
        stream.push(b"".join(map(self._envelope, opening)))
        if viewer.participant_id in channel.kicks[arrival.kicks :]:
            self._kick(stream, "kicked")
        elif viewer.participant_id is not None and arrival.restored != self._restored:
            self._spawn(self._see_off_from(channel, [viewer.participant_id]))
        if self._draining:
            stream.close(Closed.DRAIN, self._pulse.goodbye(DRAIN_RETRY_MS))
        channel.cancel("linger")
        for message in meanwhile:
            if message.name == "closed":
                self._spawn(self._send_results(channel, message, [stream]))
        if channel.over:
            self._loop.call_later(LAST_WORDS_S, stream.close, Closed.OVER, self._farewell)
        channel.crowd_of(viewer).add(stream)
        return self._counted(stream)

    def _counted(self, stream: Stream) -> Stream:
        self._open += 1
        STREAMS.labels(stream.viewer.who).inc()
        return stream

    def detach(self, game_id: str, stream: Stream) -> None:
        """The viewer's line is gone, whoever ended it."""
        stream.close(Closed.GONE)
        self._open -= 1
        STREAMS.labels(stream.viewer.who).dec()
        home, channel = stream.home, self._channels.get(game_id)
        if home is not None:
            home.discard(stream)
        if channel is not None and home in (channel.staff, channel.people):
            self._linger(channel)

    async def drain(self, over_s: float) -> None:
        """Take no more streams and send those that are open elsewhere, spread over `over_s` seconds."""
        self._draining = True
        streams = [stream for channel in self._channels.values() for stream in channel.streams]
        steps = min(int(over_s * 20) + 1, len(streams))
        for step in range(steps):
            for stream in streams[step::steps]:
                stream.close(Closed.DRAIN, self._pulse.goodbye(DRAIN_RETRY_MS))
            await asyncio.sleep(over_s / steps)

    async def stop(self) -> None:
        """Let go of everything."""
        self._draining = True
        self._looking.cancel()
        for channel in self._channels.values():
            channel.stop()
            for stream in channel.streams:
                stream.close(Closed.DRAIN, self._farewell)
        self._channels.clear()
        self._drop_ring()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def draining(self) -> bool:
        """Whether this process is sending its streams elsewhere."""
        return self._draining

    @property
    def full(self) -> bool:
        """Whether this process has as many streams as it may have."""
        return self.open_streams >= self._max_streams

    @property
    def open_streams(self) -> int:
        """How many streams are open or opening."""
        return self._open + self._arriving

    # ── for the log: news ─────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, game_id: str, message: Message) -> None:
        """A message has come in. Kept events go out in order; on a hole, the log is read first."""
        channel = self._channels.get(game_id)
        if channel is None or not channel.ready.done():
            return  # what is not ready reads the log after this
        if message.only_for is not None:
            self._deliver_one(channel, message)
        elif message.position is None:
            self._pulse.offer(channel, message)
        elif channel.filling is not None:
            channel.heard = max(channel.heard, message.position)  # the log may be read just before it
        elif message.position == Position(channel.head.epoch, channel.head.offset + 1):
            self._publish(channel, message)
        elif message.position > channel.head:
            self._follower.fill(channel)

    def restored(self) -> None:
        """The log was deaf for a while: look what every game has missed, and whom it has lost, which no log tells."""
        for channel in self._channels.values():
            if channel.ready.done():
                self._follower.fill(channel)
        self._restored += 1
        if self._seeing_off is None or self._seeing_off.done():
            self._seeing_off = self._spawn(self._see_off())

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _channel(self, game_id: str) -> Channel:
        channel = self._channels.get(game_id)
        if channel is None:
            channel = self._channels[game_id] = Channel(game_id)
            self._spawn(self._prepare(channel))
        await asyncio.shield(channel.ready)
        return channel

    async def _prepare(self, channel: Channel) -> None:
        try:
            await self._log.listen(channel.game_id)
            history = await self._log.recent(channel.game_id, RECENT_MAX)
        except BaseException as error:
            self._channels.pop(channel.game_id, None)
            await self._log.unlisten(channel.game_id)
            known = error if isinstance(error, Unavailable | GameUnknown) else Unavailable(retry_after_s=1)
            channel.ready.set_exception(known)
            channel.ready.exception()  # retrieved: there may be nobody left who waits for it
            if known is not error:
                raise
            return
        channel.recent.extend(history.messages)
        channel.head = history.head
        channel.ready.set_result(None)
        # What was published between `listen` and here found the channel not ready.
        self._follower.fill(channel)
        self._pulse.start(channel)

    def _look(self) -> None:
        for channel in self._channels.values():
            before, channel.slow = channel.slow, channel.people.behind()
            if before or channel.slow:
                self._slow(channel.game_id, channel.slow)
        self._looking = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _publish(self, channel: Channel, message: Message) -> None:
        if message.position is None:
            return
        channel.remember(message, message.position)
        if message.name in ("question", "closed"):
            channel.to_staff.forget("progress")
            channel.to_people.forget("progress")
        chunk = self._envelope(message.frame)
        with FANOUT_SECONDS.time():
            self._broadcast(channel.staff, chunk)
            self._broadcast(channel.people, chunk)
        EVENTS.labels(message.name).inc()
        if (stamp := message.published_at) is not None and not channel.empty:
            took_ms = max(0, self._now() - stamp)
            PUSH_SECONDS.labels(message.name).observe(took_ms / 1000)
            self._reached(channel.game_id, took_ms)
        if message.name == "closed":
            self._spawn(self._send_results(channel, message, list(channel.people)))
        elif message.name == "finished":
            # No more will ever come; clients that return are told so by a 204.
            channel.later("over", LAST_WORDS_S, self._cut, channel, Closed.OVER)

    def _broadcast(self, crowd: Crowd, chunk: bytes) -> None:
        if self._ring is not None and len(crowd) >= TOGETHER_FROM and len(chunk) <= CHUNK_MAX:
            try:
                crowd.send(self._ring, chunk)
            except OSError:  # who have a part of it come back, and resume with what they have whole
                log.exception("the ring failed; from now on each stream gets a call of its own")
                self._drop_ring()
                for stream in crowd:
                    stream.close(Closed.LOST)
        else:
            crowd.push(chunk)
        DELIVERIES.inc(len(crowd))

    def _drop_ring(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    async def _send_results(self, channel: Channel, closed: Message, streams: Sequence[Stream]) -> None:
        by_person: dict[str, list[Stream]] = {}
        for stream in streams:
            if stream.viewer.participant_id is not None:
                by_person.setdefault(stream.viewer.participant_id, []).append(stream)
        people = list(by_person)
        if len(people) >= AHEAD_FROM:  # or reading and writing them would take the cores that `closed` is carried by
            await asyncio.sleep(min(len(people) / AHEAD_PER_S, LAST_WORDS_S / 2))
        while people and not channel.stopped and channel.is_latest(closed):  # after that it is too late
            try:
                results = await self._views.results(closed, channel.game_id, people[:SLICE])
            except Unavailable:
                await asyncio.sleep(jittered(AGAIN_S))
                continue
            for person, result in results.items():
                chunk = self._envelope(result)
                for stream in by_person[person]:
                    stream.push(chunk)
                DELIVERIES.inc(len(by_person[person]))
            del people[:SLICE]

    def _deliver_one(self, channel: Channel, message: Message) -> None:
        chunk = self._envelope(message.frame)
        if message.name == "kicked" and message.only_for is not None:
            channel.kicks.append(message.only_for)
        for stream in [one for one in channel.people if one.viewer.participant_id == message.only_for]:
            if message.name == "kicked":
                stream.close(Closed.KICKED, chunk + self._farewell)
            else:
                stream.push(chunk)

    async def _see_off(self) -> None:
        looked = 0
        while looked != self._restored:
            looked = self._restored
            for channel in list(self._channels.values()):
                people = {one.viewer.participant_id: None for one in channel.people}
                await self._see_off_from(channel, [one for one in people if one is not None])

    async def _see_off_from(self, channel: Channel, people: list[str]) -> None:
        while people and not channel.stopped:
            try:
                removed = await self._views.removed(channel.game_id, people[:SLICE])
            except Unavailable:
                await asyncio.sleep(jittered(AGAIN_S))
                continue
            del people[:SLICE]
            for stream in [one for one in channel.people if one.viewer.participant_id in removed]:
                self._kick(stream, removed[stream.viewer.participant_id or ""])

    def _kick(self, stream: Stream, reason: str) -> None:
        stream.close(Closed.KICKED, self._envelope(frame_of(Kicked(reason=reason))) + self._farewell)

    def _linger(self, channel: Channel) -> None:
        if channel.empty:
            channel.later("linger", LINGER_S, self._abandon, channel)

    def _cut(self, channel: Channel, reason: Closed) -> None:
        for stream in channel.streams:
            stream.close(reason, self._farewell)
        self._abandon(channel)

    def _abandon(self, channel: Channel) -> None:
        if not channel.stopped:
            channel.stop()
            del self._channels[channel.game_id]
            self._spawn(self._log.unlisten(channel.game_id))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the hub failed", exc_info=error)
