"""What a contest is: contestants who start on a core and stop, measured one by one at several sizes.

The runner (`run.py`) knows nothing else of a contest, and the report (`report.py`) nothing else of its figures.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from bench.machine import cpu_s, family, pss_kb

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15


class Contestant(ABC):
    """A server (or program) under test, in processes of its own."""

    name: str

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @abstractmethod
    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """How to start it on `self.port`: words, and variables on top of the environment."""

    def ready(self) -> bool:
        """Whether it serves by now."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @contextlib.contextmanager
    def running(self, *cores: int) -> Iterator[None]:
        """Start it on its cores, and a free port; stop it in the end."""
        self.port = _free_port()
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
            words, variables = self.command(Path(folder))
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", ",".join(map(str, cores)), *words],
                env={**os.environ, **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parent.parent,
            )
            try:
                until = time.monotonic() + START_TIMEOUT_S
                while not self.ready():
                    if self._process.poll() is not None or time.monotonic() > until:
                        log.seek(0)
                        raise RuntimeError(f"{self.name} did not start: {log.read().decode()[-2000:]}")
                    time.sleep(0.05)
                yield
            finally:
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return list(family(self._process.pid)) if self._process else []

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        return cpu_s(self.pids)

    def pss_kb(self) -> int:
        """Memory at this moment."""
        return pss_kb(self.pids)


C = TypeVar("C", bound=Contestant)


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of each measurement. With `ratio`, it is shown as a multiple of the contest's floors' too."""

    key: str
    title: str
    digits: int = 1
    ratio: bool = False
    lower: bool = True  # is better


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be reached: quizcast's figure at a size, as a multiple of a contestant's (or plain, when None)."""

    metric: str
    size: int
    over: str | None
    at_most: float | None = None
    at_least: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. Of older ones neither `day` nor `pace` is known."""

    contest: str
    contestant: str
    size: int
    round: int
    figures: dict[str, float]
    day: str = ""
    pace: float = 0.0  # of the machine, just before


class Contest(ABC, Generic[C]):
    """Contestants, sizes, and how one of them is measured at one size."""

    name: str
    group = ""  # the name it is asked for by, and the picture it shares, when it is one of several; else its own
    title: str
    says: str  # what is measured and how, for the report
    unit: str  # of the sizes
    metrics: Sequence[Metric]
    plotted: Sequence[str]  # keys of the metrics that are drawn over the sizes
    floors: Sequence[str]  # names of the contestants that the others are compared with
    quick_floors: Sequence[str]  # those that `bench-quick` runs too
    sizes: Sequence[int]
    quick_sizes: Sequence[int]
    contestants: Sequence[C]
    goals: Sequence[Goal] = ()

    @abstractmethod
    def measure(self, contestant: C, size: int) -> dict[str, float]:
        """Start the contestant, measure, stop it; a value for each metric."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
