"""Redis or Postgres that take half a second, then five, for each way: nothing grows, nothing sticks, all is told."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quizcast.simulate import Report
from tests.client import Api
from tests.faults.proxy import Proxy
from tests.faults.stage import USERS, Play, Stage, ready
from tests.fix_tree import wait_until

SLOW_S, SLOWER_S = 0.5, 5.0  # each way
ASKING = 1000
# What is on its way when the line is healed still takes five seconds, and some answers twenty from the first try: those
# who answer last must not find the question closed.
TIME_LIMIT_MS = 60_000
GROWTH_MAX_BYTES = 40 * 2**20  # of all processes, while a crowd of 200 tries again and again


class Watch:
    """What the web processes say of themselves meanwhile, asked ten times a second in a thread of its own."""

    def __init__(self, stage: Stage, server: str) -> None:
        self._stage = stage
        self._server = server
        self._done = threading.Event()
        self.livez_s = 0.0
        self.readyz_s = 0.0
        self.states: Counter[tuple[int, str]] = Counter()  # status of `/readyz`, and what it says of the server
        self.pending = 0.0
        self.memory_bytes = 0

    def run(self) -> None:
        stage = self._stage
        while not self._done.wait(0.1):
            began = time.perf_counter()
            stage.tree.get("/livez")
            self.livez_s = max(self.livez_s, time.perf_counter() - began)
            began = time.perf_counter()
            status, told = ready(stage.tree)
            self.readyz_s = max(self.readyz_s, time.perf_counter() - began)
            self.states[status, told["checks"][self._server]] += 1
            self.pending = max(self.pending, stage.metric("quizcast_intake_pending"))
            self.memory_bytes = max(self.memory_bytes, memory_bytes(stage))

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()


def test_a_slow_redis_delays_and_refuses_and_leaves_nothing_behind(stage: Stage) -> None:
    report, watch, grown = _played_while_slow(stage, stage.redis, "redis", 5.5)
    assert report.ok, report.text()
    assert (200, "slow") in watch.states or (503, "silent") in watch.states
    assert watch.pending <= USERS
    assert grown < GROWTH_MAX_BYTES


def test_a_slow_postgres_is_not_felt_by_those_who_play(stage: Stage) -> None:
    report, watch, grown = _played_while_slow(stage, stage.postgres, "postgres", 2.5)
    assert report.ok, report.text()
    assert not report.retries
    assert report.ack_ms.p99 < 2 * SLOW_S * 1000  # what a single round trip to Postgres would cost
    assert (503, "silent") in watch.states
    assert grown < GROWTH_MAX_BYTES


async def test_who_asks_beyond_redis_s_connections_is_told_so_in_time(stage: Stage) -> None:
    """At a second a round trip, 2 x 32 connections serve some 320 calls in the five seconds that one may take."""
    async with Api(stage.tree.url) as api:
        game = await (await api.host()).game()
        player = await game.join("Ada")
        path = f"/api/v1/games/{game.id}/state?token={player.token}"
        stage.redis.delay_s = SLOW_S
        began = time.perf_counter()
        replies = await asyncio.gather(*(get(stage.tree.port, path) for _ in range(ASKING)))
        took_s = time.perf_counter() - began
        statuses = Counter(status for status, _ in replies)
        print(f"{ASKING} requests at a second a round trip: {dict(statuses)} in {took_s:.1f} s")
        assert set(statuses) == {200, 503}
        assert all("retry-after: " in head for status, head in replies if status == 503)
        assert took_s < 11  # two calls, one after the other
        stage.redis.heal()
        assert (await get(stage.tree.port, path))[0] == 200


def _played_while_slow(stage: Stage, line: Proxy, server: str, slower_s: float) -> tuple[Report, Watch, int]:
    watch = Watch(stage, server)
    play = Play(stage.tree.url, questions=1, answer_window_ms=6000, time_limit_ms=TIME_LIMIT_MS)
    play.until_mid_question(0)
    before = memory_bytes(stage)
    with watch.watching():
        line.delay_s = SLOW_S
        time.sleep(1.5)
        line.delay_s = SLOWER_S
        time.sleep(slower_s)
        line.heal()
        wait_until(stage.tree.ready, 10)
    report = play.report()
    grown = watch.memory_bytes - before
    print(
        f"{server} slow: /livez within {watch.livez_s * 1000:.0f} ms, /readyz within {watch.readyz_s * 1000:.0f} ms: "
        f"{dict(watch.states)}; at most {watch.pending:g} answers queued; memory +{grown / 2**20:.1f} MB; "
        f"retries {report.retries}; ack {report.ack_ms}"
    )
    assert watch.livez_s < 0.5
    assert watch.readyz_s < 3
    return report, watch, grown


async def get(port: int, path: str) -> tuple[int, str]:
    """The status and head of a GET over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, _ = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), head


def memory_bytes(stage: Stage) -> int:
    """What the web processes and workers have to themselves and their share of the rest (PSS)."""
    total = 0
    for pid in stage.tree.pids("quizcast: "):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
