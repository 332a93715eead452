"""What the faults happen to: servers, a `serve` tree that reaches them through proxies, and a crowd that plays.

The test is the stage's supervisor of Redis and Postgres: what it kills stays dead until it starts it again.
"""

import contextlib
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from quizcast.embedded import Services
from quizcast.settings import Settings
from quizcast.simulate import Progress, Report, run
from tests.faults.proxy import Proxy
from tests.fix_tree import Tree, environment, wait_until

USERS = int(os.environ.get("FAULTS_USERS", "200"))  # who plays while something breaks
PLAY_S = 120.0  # no game here takes longer, whatever happens to it


class Stage:
    """Everything running. `redis` and `postgres` are the lines to the servers, `tree` is quizcast."""

    def __init__(self, services: Services, redis: Proxy, postgres: Proxy, tree: Tree, env: dict[str, str]) -> None:
        self.services = services
        self.env = env  # for further parts
        self.redis = redis
        self.postgres = postgres
        self.tree = tree

    def kill(self, title: str) -> int:
        """SIGKILL to the one process of the tree with this title; its pid."""
        pid = self.tree.pid(title)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_server(self, name: str) -> None:
        """SIGKILL to `redis` or `postgres`; returns when it is gone. `services.restart(name)` brings it back."""
        os.kill(self.services.pids[name], signal.SIGKILL)
        wait_until(lambda: name in self.services.dead())

    def metric(self, name: str) -> float:
        """The sum over all of a metric's label sets, as any web process tells it."""
        return metric(self.tree, name)

    @contextlib.contextmanager
    def without_workers(self) -> Iterator[None]:
        """No worker runs, as the supervisor, who would replace it, is stopped; afterwards it does."""
        self.tree.process.send_signal(signal.SIGSTOP)
        try:
            self.kill("quizcast: worker 0")
            yield
        finally:
            self.tree.process.send_signal(signal.SIGCONT)

    def drained(self) -> float:
        """Wait until nothing waits for Postgres any more; how many seconds that took."""
        began = time.monotonic()
        wait_until(lambda: self.metric("quizcast_queue_depth") == 0)
        return time.monotonic() - began

    def heal(self) -> None:
        """Everything as it was at first."""
        self.redis.heal()
        self.postgres.heal()
        for name in self.services.dead():
            self.services.restart(name)
        wait_until(self.tree.ready, 60)


def metric(tree: Tree, name: str, label: str = "") -> float:
    """The sum over a metric's label sets (or those with this `name="value"`), as any web process tells it."""
    with urllib.request.urlopen(f"{tree.url}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{")) and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def ready(tree: Tree) -> tuple[int, dict[str, dict[str, str]]]:
    """Status and words of `/readyz`."""
    try:
        with urllib.request.urlopen(f"{tree.url}/readyz", timeout=10) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


class Play:
    """A game that a crowd plays on a loop and in a thread of its own, while the test does harm."""

    def __init__(self, url: str, **options: Any) -> None:
        """`options` are `simulate`'s."""
        self.now: Progress | None = None
        self._outcome: list[Report | BaseException] = []

        def play() -> None:
            try:
                self._outcome.append(run(url, progress=self._see, **{"users": USERS, "questions": 3} | options))
            except BaseException as error:
                self._outcome.append(error)

        self._thread = threading.Thread(target=play)
        self._thread.start()

    def _see(self, progress: Progress) -> None:
        self.now = progress

    def until(self, true: Callable[[Progress], bool]) -> None:
        """Wait until the game has come so far. Fails when it ends first."""
        wait_until(lambda: self._outcome or (self.now is not None and true(self.now)), PLAY_S)
        if self._outcome:
            pytest.fail(f"the game is over: {self._outcome[0]}")

    def until_mid_question(self, index: int) -> None:
        """Wait until a tenth has answered a question; the others are about to."""
        self.until(lambda now: now.question == index and now.stage == "question" and now.answered > now.users // 10)

    def report(self) -> Report:
        """Wait for the end."""
        self._thread.join(PLAY_S)
        if not self._outcome:
            pytest.fail(f"the game does not end: {self.now}")
        outcome = self._outcome[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@contextlib.contextmanager
def set_up(
    folder: Path, *options: str, env: dict[str, str] | None = None, redis_bin: Path | str = ""
) -> Iterator[Stage]:
    """A stage; every write is synced to disk, as in production. `options` are those of `serve`."""
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(Services.start(Settings(data_dir=folder / "servers", redis_bin=str(redis_bin))))
        postgres_socket = f"{_host(services.database_url)}/.s.PGSQL.5432"
        redis = stack.enter_context(Proxy(unquote(urlsplit(services.redis_url).path)))
        postgres = stack.enter_context(Proxy(postgres_socket))
        settings = environment(
            redis_url=f"redis://127.0.0.1:{redis.port}",
            database_url=f"postgresql://quizcast@127.0.0.1:{postgres.port}/quizcast?sslmode=disable",
        )
        settings |= env or {}
        tree = Tree(folder / "data", "--web", "2", *options, env=settings)
        stack.callback(tree.end)
        yield Stage(services, redis, postgres, tree, settings)


@pytest.fixture(scope="session")
def standing_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The session's one; ask for `stage`."""
    with set_up(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def stage(standing_stage: Stage) -> Iterator[Stage]:
    """A stage that is whole, and is made whole again after the test."""
    yield standing_stage
    standing_stage.heal()


def _host(url: str) -> str:
    return unquote(dict(part.split("=", 1) for part in urlsplit(url).query.split("&"))["host"])
