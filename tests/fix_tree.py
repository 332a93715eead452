"""A real `quizcast serve` on a free port: one for the session, and more for tests that end theirs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

START_S = 60.0  # a slow machine with much else to do
STOP_S = 60.0


def environment(**settings: str) -> dict[str, str]:
    """This process's, without its quizcast settings and with these; a drain waits for nobody here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUIZCAST_", "PROMETHEUS_"))}
    return kept | {"QUIZCAST_DRAIN_S": "0.2"} | {f"QUIZCAST_{name.upper()}": value for name, value in settings.items()}


def quizcast(
    *words: str, env: Mapping[str, str] | None = None, typed: str = "", **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with this on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "quizcast", *words],
        env=dict(env or environment()),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        input=typed,
        **options,  # type: ignore[call-overload]
    )


def processes() -> dict[int, tuple[int, str]]:
    """Every process that is not dead: pid → (parent, command line or title)."""
    shown = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
    table = {}
    for line in shown.stdout.splitlines():
        pid, parent, state, args = line.split(None, 3)
        if not state.startswith("Z"):
            table[int(pid)] = (int(parent), args.strip())
    return table


def wait_until(true: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Poll until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"did not come about in {timeout_s:g} s")
        time.sleep(0.05)


class Tree:
    """A running `quizcast serve`."""

    def __init__(self, data_dir: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.log = data_dir.parent / f"{data_dir.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quizcast", "serve", "--port", "0", "--data-dir", str(data_dir), *options],
                env=dict(env or environment()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if self.process.stdout is None:
            raise RuntimeError("no pipe")
        said = self.process.stdout.readline()
        if "ready on" not in said:
            self.end()
            pytest.fail(f"serve did not start: {said}{self.log.read_text()}")
        self.url = said.split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    def pids(self, title: str = "") -> list[int]:
        """Descendants whose title contains this."""
        table = processes()
        found: list[int] = []
        parents = [self.process.pid]
        while parents:
            parent = parents.pop()
            children = [pid for pid, (of, _) in table.items() if of == parent]
            parents += children
            found += [pid for pid in children if title in table[pid][1]]
        return found

    def children(self) -> set[int]:
        """What `serve` itself has started: not Postgres's own, which come and go with the connections."""
        return {pid for pid, (parent, _) in processes().items() if parent == self.process.pid}

    def pid(self, title: str) -> int:
        """The one descendant with this title; waits for it."""
        wait_until(lambda: len(self.pids(title)) == 1)
        return self.pids(title)[0]

    def get(self, path: str, timeout_s: float = 30.0) -> int:
        """The status of a GET over a connection of its own. Raises `OSError` when there is none."""
        with urllib.request.urlopen(self.url + path, timeout=timeout_s) as reply:
            return int(reply.status)

    def ready(self) -> bool:
        """Whether `/readyz` says so."""
        try:
            return self.get("/readyz") == 200
        except OSError:
            return False

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def end(self) -> None:
        """End it, whatever its state."""
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate()
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """Two web processes and a worker on servers of their own. Tests may kill its processes, and leave it running."""
    running = Tree(tmp_path_factory.mktemp("tree") / "data", "--web", "2")
    yield running
    running.end()


@pytest.fixture
def start_tree(tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    """Starts trees on one data directory; they end with the test."""
    started: list[Tree] = []

    def start(*options: str, env: Mapping[str, str] | None = None) -> Tree:
        started.append(Tree(tmp_path / "data", *options, env=env))
        return started[-1]

    yield start
    for running in started:
        running.end()
