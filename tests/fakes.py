"""What tests put in the place of chance and time: a loop whose clock jumps, the log in memory, a transport, views."""

import asyncio
import functools
import heapq
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent

from quizcast.errors import GameUnknown, NotInGame, RedisUnavailable
from quizcast.hub import EventLog, Hub
from quizcast.wire.events import Gap, History, Message, Position, frame

NOW = 1_700_000_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never waits: when nothing is left to do, its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        scheduled: list[asyncio.TimerHandle] = self._scheduled
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if scheduled and not self._ready:
            self._now = max(self._now, scheduled[0].when())
        super()._run_once()


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a `VirtualLoop`, and fail it when it leaves tasks behind."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def checked() -> None:
            await test(*args, **kwargs)
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(checked())

    return run


class MemoryLog:
    """The hub's `EventLog` without Redis: `append` logs and publishes; what `deaf` holds is only logged."""

    def __init__(self, keep: int = 2_000) -> None:
        self.keep = keep
        self.epoch = 1
        self.offsets: defaultdict[str, int] = defaultdict(int)
        self.kept: defaultdict[str, list[Message]] = defaultdict(list)
        self.known: set[str] = set()
        self.listening: set[str] = set()
        self.deaf = False
        self.away = False
        self.reads = 0
        self.gate: asyncio.Event | None = None  # what has been read is held back until it is set
        self._on_message: Callable[[str, Message], None] = lambda _game_id, _message: None
        self._on_restored: Callable[[], None] = lambda: None

    async def start(self, on_message: Callable[[str, Message], None], on_restored: Callable[[], None]) -> None:
        self._on_message, self._on_restored = on_message, on_restored

    def create(self, game_id: str) -> None:
        self.known.add(game_id)

    def append(self, game_id: str, name: str, data: bytes = b"{}") -> Message:
        self.offsets[game_id] += 1
        message = Message(name, data, Position(self.epoch, self.offsets[game_id]))
        self.kept[game_id] = [*self.kept[game_id], message][-self.keep :]
        self.publish(game_id, message)
        return message

    def publish(self, game_id: str, message: Message) -> None:
        if game_id in self.listening and not self.deaf:
            self._on_message(game_id, message)

    def restore(self) -> None:
        self.deaf = False
        self._on_restored()

    def forget(self, game_id: str) -> None:
        """All history is lost; a new one begins."""
        self.epoch += 1
        self.kept[game_id] = []
        self.offsets[game_id] = 0

    async def listen(self, game_id: str) -> None:
        await self._pass()
        self.listening.add(game_id)
        await asyncio.sleep(0)

    async def unlisten(self, game_id: str) -> None:
        self.listening.discard(game_id)

    async def since(self, game_id: str, after: Position) -> History | Gap:
        await self._pass()
        head, kept = self._head(game_id), self.kept[game_id]
        found: History | Gap = History([one for one in kept if one.position > after], head)
        if after.epoch != self.epoch or after.offset > head.offset:
            found = Gap("history_lost")
        elif after.offset < head.offset - len(kept):
            found = Gap("too_old")
        await self._hold()
        return found

    async def recent(self, game_id: str, most: int) -> History:
        await self._pass()
        found = History(self.kept[game_id][-most:], self._head(game_id))
        await self._hold()
        return found

    def _head(self, game_id: str) -> Position:
        if game_id not in self.known:
            raise GameUnknown()
        return Position(self.epoch, self.offsets[game_id])

    async def _pass(self) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise RedisUnavailable(retry_after_s=1)

    async def _hold(self) -> None:
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()


class FakeViews:
    """The hub's `Views` over a `MemoryLog`: a snapshot tells the position, a result whose it is."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.strangers: set[str] = set()
        self.away = False
        self.slow_s = 0.0
        self.gate: asyncio.Event | None = None
        self.results_gate: asyncio.Event | None = None

    async def belongs(self, game_id: str, participant_id: str) -> None:
        await self._wait()
        if participant_id in self.strangers:
            raise NotInGame()

    async def removed(self, game_id: str, people: Sequence[str]) -> Mapping[str, str]:
        removed = dict.fromkeys(self.strangers & {*people}, "kicked")
        await self._wait()
        return removed

    async def snapshot(self, game_id: str, participant_id: str | None) -> tuple[Position, bytes]:
        if participant_id in self.strangers:
            raise NotInGame()
        position = self._log._head(game_id)
        await self._wait()
        return position, frame("snapshot", msgspec.json.encode({"at": str(position)}))

    async def results(self, message: Message, game_id: str, people: Sequence[str]) -> Mapping[str, bytes]:
        await self._wait()
        if self.results_gate is not None:
            await self.results_gate.wait()
        index = msgspec.json.decode(message.data).get("index", 0)
        return {one: frame("result", msgspec.json.encode({"index": index, "of": one})) for one in people}

    async def _wait(self) -> None:
        await asyncio.sleep(self.slow_s)
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise RedisUnavailable(retry_after_s=1)


class FakeTransport(asyncio.WriteTransport):
    """Records what is written. The reader of a `stuck` one does not read; a `broken` one raises when written to."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.stuck = stuck
        self.broken = False
        self.closed = False
        self.aborted = False

    def write(self, data: Any) -> None:
        if self.broken or self.closed or self.aborted:
            raise RuntimeError("the handler is closed")
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.written)) if self.stuck else 0

    def is_closing(self) -> bool:
        return self.closed or self.aborted or self.broken

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def events(self) -> list[ServerSentEvent]:
        """What a real client's decoder makes of the bytes."""
        return decoded(b"".join(self.written))

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]

    @property
    def ids(self) -> list[str]:
        """Ids of the kept events."""
        return [event.id for event in self.events if event.event in KEPT]


KEPT = ("question", "closed", "leaderboard", "finished")
FAREWELL = b": bye\n\n"


def decoded(stream: bytes) -> list[ServerSentEvent]:
    """Bytes of an event stream as httpx-sse reads them."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    return [event for event in EventSource(response).iter_sse() if event.event != "message" or event.data]


def hub_on(log: MemoryLog, views: FakeViews | None = None, **changes: Any) -> Hub:
    """A hub on a memory log, which brings its news; the envelope leaves frames as they are."""
    hub = hub_over(log, views or FakeViews(log), **changes)
    log._on_message, log._on_restored = hub.deliver, hub.restored
    return hub


def hub_over(log: EventLog, views: FakeViews, **changes: Any) -> Hub:
    """A hub over any log, which has still to be told where its news goes."""
    options = {
        "envelope": bytes,
        "farewell": FAREWELL,
        "now": lambda: NOW,
        "max_streams": 1000,
        "buffer_max": 100_000,
        "heartbeat_s": 15.0,
        "max_age_s": 36_000.0,
    }
    return Hub(log, views, **{**options, **changes})
