"""A real `quizcast serve` for a measurement: started, looked at from outside, stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.machine import family, pss_kb

READY = "quizcast is ready on "
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 40


class Tree:
    """A running `quizcast serve`: its address, how long it took to be ready, and its processes."""

    def __init__(self, process: subprocess.Popen[str], url: str, ready_s: float) -> None:
        self.process = process
        self.url = url
        self.ready_s = ready_s

    def processes(self) -> dict[int, str]:
        """The pid and title of every process of the tree, the supervisor's first."""
        return family(self.process.pid)

    def pss_mb(self, title: str = "") -> float:
        """Memory of the processes whose title has this in it, shared pages counted once, in MB."""
        return pss_kb(pid for pid, name in self.processes().items() if title in name) / 1024


@contextlib.contextmanager
def serve(data_dir: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Tree]:
    """`quizcast serve` on a free port, until the block ends."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "quizcast", "serve", "--port", "0", "--data-dir", str(data_dir), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield Tree(process, _address(process), time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)


def _address(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise RuntimeError("no output to read the address from")
    for line in process.stdout:
        if line.startswith(READY):
            return line.removeprefix(READY).strip()
    raise RuntimeError(f"serve ended with status {process.wait()}")
