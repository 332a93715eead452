"""What a process and its machine live on, told to the metrics: processor time, memory, files, disk; floor 4.

prometheus_client's own collector tells of one process alone. Where there is no `/proc`, what stands there is not told.
"""

import os
import resource
import shutil
import time
from pathlib import Path

from setproctitle import getproctitle

from quizcast.metrics import (
    DISK_FREE,
    MACHINE_MEMORY,
    MACHINE_MEMORY_LEFT,
    PROCESS_CPU,
    PROCESS_FILES_LEFT,
    PROCESS_MEMORY,
)

PROC = Path("/proc")
PAGE_BYTES = resource.getpagesize()
EVERY_S = 5.0  # a look takes 0.2 ms


class Vitals:
    """One process's; `look` as often as you like, and it looks every `EVERY_S`."""

    def __init__(self, kind: str) -> None:
        """`kind` is web or worker; its number is in the process's title."""
        title = getproctitle().removeprefix("quizcast: ")
        process = title if title.partition(" ")[0] == kind else kind
        self._memory = PROCESS_MEMORY.labels(process)
        self._files_left = PROCESS_FILES_LEFT.labels(process)
        self._cpu = PROCESS_CPU.labels(kind)
        self._cpu_told_s = 0.0
        self._next = 0.0

    def look(self) -> None:
        """Tell the metrics how this process is, unless it has done so just now."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + EVERY_S
        cpu_s = time.process_time()
        self._cpu.inc(cpu_s - self._cpu_told_s)
        self._cpu_told_s = cpu_s
        self._files_left.set(files_left())
        if (memory := _resident_bytes()) is not None:
            self._memory.set(memory)


def look_at_machine(data_dir: Path) -> None:
    """Tell the metrics of the machine's memory and of the room on this folder's disk."""
    DISK_FREE.set(free_bytes(data_dir))
    memory = _memory_bytes()
    if "MemTotal" in memory and "MemAvailable" in memory:
        MACHINE_MEMORY.set(memory["MemTotal"])
        MACHINE_MEMORY_LEFT.set(memory["MemAvailable"])


def free_bytes(folder: Path) -> float:
    """What an unprivileged process may still write to the disk of a folder; infinite where there is none."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return float("inf")


def files_left() -> int:
    """How many more files this process may open: it gets the lowest number that is free."""
    try:
        number = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    os.close(number)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - number


def _resident_bytes() -> float | None:
    try:
        return float(PROC.joinpath("self/statm").read_text("ascii").split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def _memory_bytes() -> dict[str, float]:
    try:
        lines = PROC.joinpath("meminfo").read_text("ascii").splitlines()
    except OSError:
        return {}
    return {name: float(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
