"""The machine's eyes and hands: which units run, what they bear, and `systemctl` to start and stop one.

What they bear comes from `/metrics` over the unix sockets, of which any answers for all, and from `/proc`.
"""

import http.client
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from quizcast.errors import ProcessFailed

TIMEOUT_S = 5.0  # for one process to tell its metrics
STEP_S = 120.0  # for systemctl: above the units' TimeoutStartSec and TimeoutStopSec
GONE = frozenset({"inactive", "failed"})
SHOWN = re.compile(r"^quizcast-(web|worker)@([0-9]+)\.service$")


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that runs, starts or stops. `cpu_s` is the CPU time of its main process, None while it has none."""

    kind: str
    number: int
    state: str
    pid: int
    cpu_s: float | None

    @property
    def name(self) -> str:
        """Its name without the suffix."""
        return unit_name(self.kind, self.number)

    @property
    def settled(self) -> bool:
        """Whether it neither comes nor goes."""
        return self.state == "active"


def unit_name(kind: str, number: int) -> str:
    """`quizcast-web@3`."""
    return f"quizcast-{kind}@{number}"


def units() -> list[Unit]:
    """The units of web processes and workers, in the order of their numbers. Raises `ProcessFailed`."""
    shown = _systemctl(
        "show", "--property=Id,ActiveState,MainPID", "quizcast-web@*.service", "quizcast-worker@*.service"
    )
    found = []
    for block in shown.split("\n\n"):
        told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if (match := SHOWN.match(told.get("Id", ""))) and told["ActiveState"] not in GONE:
            pid = int(told["MainPID"])
            unit = Unit(kind=match[1], number=int(match[2]), state=told["ActiveState"], pid=pid, cpu_s=_cpu_s(pid))
            found.append(unit)
    return sorted(found, key=lambda unit: (unit.kind, unit.number))


def start(name: str) -> None:
    """Start a unit; returns when it runs. Raises `ProcessFailed`."""
    _systemctl("start", name)


def stop(name: str) -> None:
    """SIGTERM to a unit, which drains; returns when it has gone. Raises `ProcessFailed`."""
    _systemctl("stop", name)


def reload_nginx() -> None:
    """Let nginx, if it runs, read its files anew; its old workers go on with their streams. Raises `ProcessFailed`."""
    _systemctl("try-reload-or-restart", "nginx")


def sums(sockets: Iterable[Path], token: str) -> Mapping[str, tuple[float, float]]:
    """The sum and the maximum over each metric's label sets, as the first process tells that answers. {} when none."""
    for path in sockets:
        try:
            text = _get(path, token)
        except (OSError, http.client.HTTPException):
            continue
        values: dict[str, list[float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values.setdefault(sample.name, []).append(sample.value)
        return {name: (sum(several), max(several)) for name, several in values.items()}
    return {}


class _Door(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Called by `request`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def _get(path: Path, token: str) -> str:
    door = _Door(path)
    try:
        door.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
        reply = door.getresponse()
        body = reply.read()
    finally:
        door.close()
    if reply.status != 200:
        raise http.client.HTTPException(f"{path.name} says {reply.status}")
    return body.decode()


def _cpu_s(pid: int) -> float | None:
    try:
        # Behind the name, which may hold anything: user and system time, then those of children that have ended.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _systemctl(*words: str) -> str:
    command = ["systemctl", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProcessFailed(f"{' '.join(command[:3])}: {error}") from error
    if done.returncode != 0:
        raise ProcessFailed(f"{' '.join(command[:3])}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout
