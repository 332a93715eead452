"""A long day in half an hour: game after game on a real `quizcast serve`, and whether anything grows; `make soak`.

Rounds of several games at once, a thousand participants in all, whose lines are cut and come back all the while. After
each round everybody leaves, and every process of the tree is looked at: at rest it has to hold what it held before. In
the end the games have expired: Redis has to be empty, and Postgres has to have every row. Exit status 0 only then.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import psycopg
import redis

from bench.drift import GROWTH_MAX, WARM_UP, Look, drift
from bench.machine import pss_kb
from bench.tree import Tree, serve
from quizcast.auth import TOKENS_KEPT, Keyring, Kind, Tokens
from quizcast.embedded import Services
from quizcast.settings import Settings
from quizcast.simulate import Address, Crowd, Host, Watch, play, verdict
from quizcast.simulate.calls import Connection
from quizcast.simulate.client import with_body
from quizcast.simulate.script import quiz

WEB = 2
QUESTIONS = 3
SHARES = ((0.6, 0.3, 0.1), (1.0,), (0.25,) * 4)  # of the participants, in the games of one round; round after round
POOL = 8  # connections to Redis of each process: few, so that the pools are full after some minutes
GAME_TTL_S = 30  # so that games expire while others are played, as they do in a day
CUT_EVERY_S, CUT_SHARE = 0.25, 0.01  # of the lines that are open
SLOW_READERS = 3  # of each game, who take a few bytes a second
REST_S, LOOK_EVERY_S = 4.0, 0.5  # everybody has left; the first half of it is for the server to notice
EXPIRED_S = 120  # in which what is left of the last games has to be gone
KEYS_MAX = 100  # that may be left: streams of rows without rows, throttles, what the job queue keeps of its last jobs
CALLERS, ASK_REDIS = 32, 50


class Figure(msgspec.Struct, frozen=True):
    """What is looked at, of which process; `judged` unless it is only shown."""

    process: str
    what: str
    judged: bool = True

    @property
    def whole(self) -> bool:
        """Whether it counts things."""
        return not self.what.endswith("MB")


class Soak:
    """A run: what is played on, what was seen."""

    def __init__(self, tree: Tree, services: Services, settings: Settings) -> None:
        self.seen: defaultdict[Figure, list[Look]] = defaultdict(list)
        self.played: Counter[str] = Counter()
        self.trouble: list[str] = []
        self._tree = tree
        self._services = services
        self._settings = settings
        self._redis = redis.Redis.from_url(services.redis_url)
        self._postgres = psycopg.connect(services.database_url, autocommit=True)
        self._began = time.monotonic()
        self._rng = random.Random(1)

    # ── playing ───────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, minutes: float, users: int) -> None:
        """Play rounds until the time is up, then let everything expire."""
        address = await Address.resolve(self._tree.url)
        await self._fill_caches(address)
        self._began = time.monotonic()
        until, number = self._began + minutes * 60, 0
        while time.monotonic() < until:
            shares = SHARES[number % len(SHARES)]
            await asyncio.gather(*(self._game(address, max(1, int(users * share))) for share in shares))
            number += 1
            await self._rest()
            print(f"round {number}: {dict(self.played)}", file=sys.stderr)

    async def _fill_caches(self, address: Address) -> None:
        """A process remembers the tokens of its last participants: of so many as it has after a day. And its pool is
        full: an unknown game is asked for in Redis."""
        tokens = Tokens(Keyring.load(self._settings), self._settings)

        async def call(caller: int) -> None:
            line, calls = Connection(address), int(TOKENS_KEPT * WEB * 1.2) // CALLERS
            for number in range(calls):
                game = f"nowhere{caller}"
                token = tokens.mint(Kind.PARTICIPANT, f"nobody{caller}-{number}", game)
                path = f"{address.prefix}/api/v1/games/{game if number > calls - ASK_REDIS else 'another'}/answers"
                body = b'{"question":0,"answer":0}'
                head = address.head("POST", path, {"Authorization": f"Bearer {token}"})
                await line.ask(with_body(head, body))
                if number % 100 == 99:  # another line, and with it another process
                    line.close()
                    line = Connection(address)
            line.close()

        await asyncio.gather(*map(call, range(CALLERS)))

    async def _game(self, address: Address, users: int) -> None:
        """One game from its host's registration to the verdict."""
        content = quiz(QUESTIONS, 20_000)
        host = await Host.register(address)
        crowd = Crowd(address, users, quiz=content)
        watch = Watch(host, crowd, QUESTIONS)
        try:
            async with watch.watching():
                game = await host.create_game(await host.create_quiz(content), {"max_participants": users})
                await crowd.join(game.pin)
                disturbing = [asyncio.create_task(self._cut(crowd))]
                token = host.stream.token if host.stream else ""
                disturbing += [asyncio.create_task(_read_slowly(address, game.id, token)) for _ in range(SLOW_READERS)]
                try:
                    await play(host, crowd, watch)
                    report = await verdict(host, crowd, watch)
                finally:
                    for task in disturbing:
                        task.cancel()
                    await asyncio.gather(*disturbing, return_exceptions=True)
            self.played.update(
                games=1, participants=report.joined, answers=report.answers.accepted, resets=report.resets
            )
            self.played.update(cuts=sum(len(one.stream.resumes_ms) for one in crowd.people if one.stream))
            if not report.ok:
                self.trouble.append(report.text())
        finally:
            await crowd.leave()
            await host.leave()

    async def _cut(self, crowd: Crowd) -> None:
        while True:
            await asyncio.sleep(CUT_EVERY_S)
            for one in crowd.people:
                # Who has no event yet has no id to come back with: they would get what they missed in a snapshot.
                if one.stream is not None and one.ledger and self._rng.random() < CUT_SHARE:
                    one.stream.cut()

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _rest(self) -> None:
        await asyncio.sleep(REST_S / 2)
        looks: defaultdict[Figure, list[float]] = defaultdict(list)
        for _ in range(int(REST_S / 2 / LOOK_EVERY_S)):
            for figure, value in self._look():
                looks[figure].append(value)
            await asyncio.sleep(LOOK_EVERY_S)
        at_s = time.monotonic() - self._began
        for figure, values in looks.items():
            self.seen[figure].append(Look(at_s, statistics.median(values)))

    def _look(self) -> Iterator[tuple[Figure, float]]:
        processes = {pid: title.partition(": ")[2] for pid, title in self._tree.processes().items()}
        for pid, name in processes.items():
            if name.startswith(("web", "worker", "supervisor")):  # and no job that a worker has forked
                yield Figure(name, "PSS, MB"), pss_kb([pid]) / 1024
                with contextlib.suppress(OSError):
                    yield Figure(name, "open files"), len(os.listdir(f"/proc/{pid}/fd"))
        for pid, tasks in _tasks(self._tree.url).items():
            if (name := processes.get(pid, "")).startswith("web"):
                yield Figure(name, "tasks"), tasks
        clients = self._redis.info("clients")["connected_clients"]
        memory = self._redis.info("memory")["used_memory"]
        yield Figure("redis", "connections"), clients
        yield Figure("redis", "keys", judged=False), self._redis.dbsize()
        yield Figure("redis", "memory, MB", judged=False), memory / 2**20
        found = self._postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        yield Figure("postgres", "connections"), (found.fetchone() or (0,))[0]

    def left(self) -> Counter[str]:
        """What is left in Redis when all games have expired, by kind, if it is too much; waits for it to go."""
        until = time.monotonic() + EXPIRED_S
        while True:
            keys = [key.decode(errors="replace") for key in self._redis.scan_iter(count=1000)]
            of_games = [key for key in keys if re.search(r"\{s\d+\}:[^:]+:|:pin:|qc:pin", key)]
            if (not of_games and len(keys) <= KEYS_MAX) or time.monotonic() > until:
                break
            time.sleep(1)
        return Counter(re.sub(r"[0-9a-f]{8,}[-0-9a-f]*|\d{4,}", "…", key) for key in (of_games or keys[KEYS_MAX:]))

    def stored(self) -> dict[str, int]:
        """What Postgres has."""
        tables = {
            "games": "games WHERE phase = 'finished'",
            "participants": "participants",
            "answers": "answers",
        }
        return {
            name: int((self._postgres.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0])
            for name, table in tables.items()
        }


async def _read_slowly(address: Address, game_id: str, token: str) -> None:
    reader, writer = await asyncio.open_connection(address.ip, address.port, limit=1024)
    try:
        path = f"{address.prefix}/api/v1/games/{game_id}/events"
        writer.write(address.head("GET", path, {"Authorization": f"Bearer {token}"}) + b"\r\n")
        while await reader.read(64):  # noqa: ASYNC110 (it waits for nothing: it is slow)
            await asyncio.sleep(1)
    finally:
        writer.close()


def _tasks(url: str) -> dict[int, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    return {int(pid): float(value) for pid, value in re.findall(r'^quizcast_tasks{pid="(\d+)"} (\S+)', text, re.M)}


def main() -> None:
    """Play, print the table; the exit status says whether anything grew, was lost or is left."""
    parser = argparse.ArgumentParser(description="Play game after game, and see whether anything grows.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--users", type=int, default=1000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder) / "data",
            keys=(f"soak:{random.randbytes(32).hex()}",),
            game_ttl_s=GAME_TTL_S,
            redis_connections=POOL,
            register_per_hour=1_000_000,
        )
        with Services.start(settings) as services:
            urls = {"redis_url": services.redis_url, "database_url": services.database_url}
            settings = msgspec.structs.replace(settings, **urls)
            with serve(Path(folder) / "tree", "--web", str(WEB), env=settings.to_env()) as tree:
                soak = Soak(tree, services, settings)
                asyncio.run(soak.run(chosen.minutes, chosen.users))
                left, stored = soak.left(), soak.stored()
    sys.exit(not _told(soak, left, stored))


def _told(soak: Soak, left: Mapping[str, int], stored: Mapping[str, int]) -> bool:
    print(f"{'':14}{'':14}{'first third':>13}{'last third':>13}{'growth':>10}{'':>8}")
    good = True
    for figure, looks in sorted(soak.seen.items(), key=lambda one: (one[0].process, one[0].what)):
        try:
            found = drift(looks)
        except ValueError as error:
            print(f"FAIL {figure.process}, {figure.what}: {error}")
            good = False
            continue
        flat = not figure.judged or found.flat(whole=figure.whole)
        share = found.growth / found.first if found.first else 0.0
        verdict_ = ("ok" if flat else "GROWS") if figure.judged else ""
        print(f"{figure.process:14}{figure.what:14}{found.first:13.1f}{found.last:13.1f}{share:+10.1%}{verdict_:>8}")
        good = good and flat
    print(
        f"\nmedians at rest, after the first {WARM_UP:.0%}; growth is the slope over the rest, at most {GROWTH_MAX:.0%}"
    )
    for name, count in stored.items():
        same = count == soak.played[name]
        print(f"{'ok  ' if same else 'FAIL'} {count} {name} in Postgres of {soak.played[name]}")
        good = good and same
    print(f"{soak.played['cuts']} streams were cut and came back, {soak.played['resets']} of them with a reset")
    for what, count in left.items():
        print(f"FAIL left in Redis: {count} × {what}")
    for report in soak.trouble:
        print(report)
    return good and not left and not soak.trouble


if __name__ == "__main__":
    main()
