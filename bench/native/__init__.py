"""The programs in C, built when they are first needed, and how to run them."""

import os
import select
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Self

import msgspec

HERE = Path(__file__).parent
BUILT = HERE.parent.parent / "build" / "bench"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader saw: deliveries, its own CPU seconds, and their delays in microseconds."""

    streams: int
    events: int
    received: int
    cpu_s: float
    p50_us: int
    p99_us: int
    max_us: int


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in microseconds."""

    p50_us: int
    p99_us: int
    max_us: int


class Replied(msgspec.Struct, frozen=True, kw_only=True):
    """What the loader saw: requests sent, replies with 2xx, with another status, broken lines; delays of the first in
    microseconds, of those of them due after the first second in `standing`, and of the second in `refusal`."""

    connections: int
    sent: int
    ok: int
    refused: int
    broken: int
    seconds: float
    cpu_s: float
    p50_us: int
    p99_us: int
    max_us: int
    standing: Spread
    refusal: Spread


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What the crowd saw: kept events received, and of them those that came twice, out of order or after a hole;
    answers with 2xx, with another status, and on a line that broke. `push` is of all kept events, `skew_us` how far
    apart the participants could show a question, at worst."""

    streams: int
    received: int
    results: int
    astray: int
    accepted: int
    refused: int
    broken: int
    skew_us: int
    cpu_s: float
    push: Spread
    question: Spread
    closed: Spread
    leaderboard: Spread
    finished: Spread
    ack: Spread


@cache
def program(name: str) -> str:
    """The path of a program, compiled anew for this process's run."""
    BUILT.mkdir(parents=True, exist_ok=True)
    target = BUILT / name
    with tempfile.TemporaryDirectory(dir=BUILT) as folder:  # two threads may be at it: neither runs half a program
        built = Path(folder) / name
        subprocess.run(["cc", *FLAGS, "-o", str(built), str(HERE / f"{name}.c")], check=True)
        built.replace(target)
    return str(target)


class Program:
    """A program that reads streams, from a file of requests; a context manager. `line` and what is built on it raise
    `RuntimeError` when it gives up or takes too long."""

    def __init__(self, name: str, port: int, requests: Iterable[bytes], *options: object) -> None:
        self._name = name
        self._file = _written(requests)
        words = [program(name), str(port), self._file, *map(str, options)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._seen = b""

    def line(self, timeout_s: float) -> bytes | None:
        """Its next line, or None when there is none in time."""
        if self._process.stdout is None:
            raise RuntimeError(f"the {self._name} has no output")
        while b"\n" not in self._seen:
            if not select.select([self._process.stdout], [], [], timeout_s)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise RuntimeError(f"the {self._name} ended with status {self._process.wait()}")
            self._seen += more
        line, _, self._seen = self._seen.partition(b"\n")
        return line

    def last_line(self) -> bytes:
        """What it says in the end, which this is."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        while (line := self.line(30)) is not None:
            if line.startswith(b"{"):
                return line
        raise RuntimeError(f"the {self._name} says nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.unlink(self._file)


class Reader(Program):
    """`reader.c` on so many streams."""

    def __init__(self, port: int, requests: Iterable[bytes], protocol: str, events: int, warmup: int) -> None:
        super().__init__("reader", port, requests, protocol, events, warmup)

    def result(self) -> Received:
        """What it saw; ends it."""
        return msgspec.json.decode(self.last_line(), type=Received)


class Crowd(Program):
    """`crowd.c`: so many participants as there are requests for, with so many standing lines for their answers."""

    def __init__(self, port: int, requests: Iterable[bytes], questions: int, lines: int) -> None:
        super().__init__("crowd", port, requests, questions, lines)

    def result(self) -> Played:
        """What they saw; ends it."""
        return msgspec.json.decode(self.last_line(), type=Played)


def load(port: int, requests: Iterable[bytes], connections: int, seconds: float, rate: float | None = None) -> Replied:
    """Run `loader.c` to its end: as fast as the connections allow, or at so many requests a second."""
    file = _written(requests)
    try:
        words = [program("loader"), str(port), file, str(connections), str(seconds), *([str(rate)] if rate else [])]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    finally:
        os.unlink(file)
    return msgspec.json.decode(done.stdout, type=Replied)


def _written(requests: Iterable[bytes]) -> str:
    handle, name = tempfile.mkstemp(prefix="requests.")
    with os.fdopen(handle, "wb") as file:
        for request in requests:
            file.write(struct.pack("=I", len(request)) + request)
    return name
