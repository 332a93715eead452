"""Many hubs on one Redis, without their web processes: all in one process, each with its own connection and log.

Their transports only keep what they are given, so that hundreds of hubs fit on one core and what is measured is Redis
and the road to a hub: what a further hub costs Redis per event and while nothing happens, and that none of them misses
anything when all subscriptions break at once.
"""

import asyncio
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.backstage import QUIZ, Backstage, redis_s
from bench.contest import Metric
from bench.fanout import Quizcast, leaderboard
from bench.machine import SERVER_CORE
from bench.sweep import Sweep
from quizcast.domain.game import Game
from quizcast.hub import Hub, Viewer
from quizcast.ids import new_id
from quizcast.live.games import Games
from quizcast.live.log import RedisLog
from quizcast.live.redis import Live
from quizcast.live.views import Views
from quizcast.settings import Settings
from quizcast.web.protocol import END, chunk
from quizcast.wire.events import Position

STREAMS = 100  # per hub: what streams cost is measured elsewhere
EVENTS = 60
MISSED = 20  # events that go out while every subscription is broken
IDLE_S = 2.0
TIMEOUT_S = 20.0
NEVER_S = 1e6  # no heartbeat comes between


class Kept(asyncio.WriteTransport):
    """A line that is always free and keeps what is written, which all streams of a hub share."""

    def __init__(self, seen: asyncio.Event) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self._seen = seen

    def write(self, data: Any) -> None:
        """Keep it."""
        self.frames.append(data)
        self._seen.set()

    def is_closing(self) -> bool:
        """Never before the end."""
        return False

    def get_write_buffer_size(self) -> int:
        """Everything has been read."""
        return 0

    def close(self) -> None:
        """Nothing to close."""


class Local:
    """One hub as a web process has it, and its streams."""

    def __init__(self, settings: Settings, seen: asyncio.Event) -> None:
        self.live = Live(settings)
        self.log = RedisLog(self.live)
        self.lines = [Kept(seen) for _ in range(STREAMS)]
        self.hub = Hub(
            self.log,
            Views(self.live),
            envelope=chunk,
            farewell=END,
            now=self.live.now,
            max_streams=STREAMS,
            buffer_max=1,
            heartbeat_s=NEVER_S,
            max_age_s=NEVER_S,
        )

    async def open(self, game_id: str, at: Position) -> None:
        """Subscribe, and open every stream at a position."""
        await self.log.start(self.hub.deliver, self.hub.restored)
        for line in self.lines:  # like those who come back: a snapshot each would take longer than all the rest
            self.hub.go_live(await self.hub.arrive(game_id, Viewer(), at), line)
            line.frames.clear()

    async def close(self) -> None:
        """Let go of everything."""
        await self.hub.stop()
        await self.log.stop()
        await self.live.close()


class Simulation:
    """Hubs that all hear one game, and who publishes to them."""

    def __init__(self, settings: Settings, hubs: int) -> None:
        self._live = Live(settings)
        self._games = Games(self._live)
        self._seen = asyncio.Event()
        self._hubs = [Local(settings, self._seen) for _ in range(hubs)]
        self._game_id = new_id()
        self._published = 0

    async def run(self) -> dict[str, float]:
        """The figures of `Hubs`."""
        now = int(time.time() * 1000)
        game = Game(
            id=self._game_id, pin="", host_id="", quiz_id="", question_count=len(QUIZ.questions), created_at=now
        )
        await self._games.create(game, QUIZ)
        for one in self._hubs:
            await one.open(self._game_id, Position(now, 0))
        idle_s, began = await redis_s(self._live), time.monotonic()
        await asyncio.sleep(IDLE_S)
        idle = (await redis_s(self._live) - idle_s) / (time.monotonic() - began)
        redis, cpu, began = await redis_s(self._live), time.process_time(), time.monotonic()
        delays = [await self._publish(1) for _ in range(EVENTS)]
        took_s, cpu = time.monotonic() - began, time.process_time() - cpu
        redis = await redis_s(self._live) - redis - idle * took_s
        await self._live.client.client_kill_filter(_type="pubsub")
        healed_ms = await self._publish(MISSED)
        lost = await self._lost()
        for one in self._hubs:
            await one.close()
        await self._live.close()
        return {
            "p50_ms": statistics.median(delays),
            "max_ms": max(delays),
            "redis_us": redis / EVENTS * 1e6,
            "hub_us": cpu / EVENTS / len(self._hubs) * 1e6,
            "idle_us": idle / len(self._hubs) * 1e6,
            "healed_ms": healed_ms,
            "lost": lost,
        }

    async def _publish(self, events: int) -> float:
        """Publish so many; milliseconds until all hubs have given all events out."""
        began = time.monotonic()
        for _ in range(events):
            before = await self._games.load(self._game_id)
            await self._games.advance(before, before.game, [leaderboard(time.monotonic_ns() // 1000)])
        self._published += events
        async with asyncio.timeout(TIMEOUT_S):
            while any(len(one.lines[-1].frames) < self._published for one in self._hubs):
                self._seen.clear()
                await self._seen.wait()
        return (time.monotonic() - began) * 1000

    async def _lost(self) -> int:
        """Streams that were not given exactly the log's events in the log's order."""
        history = await self._hubs[0].log.recent(self._game_id, self._published)
        whole = [chunk(message.frame) for message in history.messages]
        return sum(line.frames != whole for one in self._hubs for line in one.lines)


class Hubs(Sweep[Quizcast]):
    """The simulation, in a process of its own."""

    name = "hubs"
    title = "How cost grows: hubs that hear one game"
    says = (
        f"So many of quizcast's own hubs in one process on core {SERVER_CORE}, each with a subscription of its own and "
        f"{STREAMS} streams that only keep what they are given; Redis and the bench are on the other core. {EVENTS} "
        f"events go out one after the other; the delay is until the last hub has given it out, all of them on one "
        f"core. Then every subscription is cut at once while {MISSED} events go out: *healed* is how long until every "
        "hub has given out all of them, *lost* how many streams did not get exactly the log's events in order."
    )
    unit = "hubs"
    metrics = (
        Metric(key="p50_ms", title="p50 (ms)"),
        Metric(key="max_ms", title="max (ms)"),
        Metric(key="redis_us", title="of Redis per event (µs)", digits=0),
        Metric(key="hub_us", title="CPU of a hub per event (µs)", digits=0),
        Metric(key="idle_us", title="of Redis per hub and idle second (µs)", digits=0),
        Metric(key="healed_ms", title="healed (ms)", digits=0),
        Metric(key="lost", title="lost", digits=0),
    )
    plotted = ("p50_ms", "redis_us", "hub_us", "healed_ms")
    sizes = (1, 10, 100, 200)

    def __init__(self, stage: Backstage) -> None:
        self._stage = stage
        self.contestants = (Quizcast(stage),)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """In an empty Redis."""
        self._stage.hall.clear()
        words = ["taskset", "--cpu-list", str(SERVER_CORE), sys.executable, "-m", "bench.hubs", str(size)]
        env = {**os.environ, **self._stage.settings.to_env()}
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, check=False, cwd=Path(__file__).parent.parent)
        if done.returncode:
            raise RuntimeError(f"{size} hubs: status {done.returncode}")
        return msgspec.json.decode(done.stdout, type=dict[str, float])


def main(words: Sequence[str]) -> None:
    """Print the figures of so many hubs, as JSON."""

    async def simulated() -> dict[str, float]:
        return await Simulation(Settings.from_env(), int(words[0])).run()

    logging.getLogger("quizcast").setLevel(logging.ERROR)  # every hub warns of the cut
    print(msgspec.json.encode(uvloop.run(simulated())).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
