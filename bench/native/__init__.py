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


class Replied(msgspec.Struct, frozen=True, kw_only=True):
    """What the loader saw: replies with 2xx, with another status, broken lines; delays of the first in microseconds."""

    connections: int
    ok: int
    refused: int
    broken: int
    seconds: float
    cpu_s: float
    p50_us: int
    p99_us: int
    max_us: int


@cache
def program(name: str) -> str:
    """The path of a program, compiled anew for this process's run."""
    BUILT.mkdir(parents=True, exist_ok=True)
    target = BUILT / name
    subprocess.run(["cc", *FLAGS, "-o", str(target), str(HERE / f"{name}.c")], check=True)
    return str(target)


class Reader:
    """`reader.c` on so many streams; a context manager. Raises `RuntimeError` when it gives up or takes too long."""

    def __init__(self, port: int, requests: Iterable[bytes], protocol: str, events: int, warmup: int) -> None:
        self._file = _written(requests)
        words = [program("reader"), str(port), self._file, protocol, str(events), str(warmup)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._seen = b""

    def line(self, timeout_s: float) -> bytes | None:
        """Its next line, or None when there is none in time."""
        if self._process.stdout is None:
            raise RuntimeError("the reader has no output")
        while b"\n" not in self._seen:
            if not select.select([self._process.stdout], [], [], timeout_s)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise RuntimeError(f"the reader ended with status {self._process.wait()}")
            self._seen += more
        line, _, self._seen = self._seen.partition(b"\n")
        return line

    def result(self) -> Received:
        """What it saw; ends it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        while (line := self.line(30)) is not None:
            if line.startswith(b"{"):
                return msgspec.json.decode(line, type=Received)
        raise RuntimeError("the reader says nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.unlink(self._file)


def load(port: int, requests: Iterable[bytes], connections: int, seconds: float) -> Replied:
    """Run `loader.c` to its end."""
    file = _written(requests)
    try:
        words = [program("loader"), str(port), file, str(connections), str(seconds)]
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
