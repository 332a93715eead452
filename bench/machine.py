"""The machine as the bench sees it: cores, what processes cost on it, what is installed."""

import contextlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from quizcast.embedded import find_postgres, find_redis

SERVER_CORE = 0
LOAD_CORE = 1
PACE_LOOPS = 1_000_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PYTHON_PACKAGES = (
    "uvicorn",
    "uvloop",
    "httptools",
    "starlette",
    "sse-starlette",
    "redis",
    "hiredis",
    "pyjwt",
    "msgspec",
)
NODE_PACKAGES = ("socket.io", "@socket.io/redis-adapter", "express", "bullmq", "jsonwebtoken", "ioredis")

PEERS = Path(__file__).parent / "peers"


def pin(*cores: int) -> None:
    """Keep this process, and the children it starts from now on, on these cores."""
    os.sched_setaffinity(0, cores)


def cores() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0)


def family(pid: int) -> dict[int, str]:
    """The pids and command lines of a process and of all that descend from it, the process itself first."""
    found, waiting = {}, [pid]
    while waiting:
        one = waiting.pop()
        found[one] = _read(f"/proc/{one}/cmdline").replace("\0", " ").strip()
        waiting += map(int, _read(f"/proc/{one}/task/{one}/children").split())
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that processes have used, in user space and in the kernel."""
    # The command's name may hold spaces; the fields that count come after its closing bracket.
    fields = [_read(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields if one) / TICKS_PER_S


def pss_kb(pids: Iterable[int]) -> int:
    """Memory of processes in KB, pages that are shared counted by share."""
    found = (re.search(r"^Pss:\s+(\d+)", _read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE) for pid in pids)
    return sum(int(one[1]) for one in found if one)


def load() -> float:
    """How many processes wanted to run, averaged over the last minute."""
    return os.getloadavg()[0]


def pace() -> float:
    """How fast the machine is just now: how many million times a second Python goes through an empty loop."""
    began = time.perf_counter()
    for _ in range(PACE_LOOPS):
        pass
    return PACE_LOOPS / 1e6 / (time.perf_counter() - began)


def describe() -> dict[str, str]:
    """The machine and every version that matters, by name."""
    model = re.search(r"^model name\s*:\s*(.*)", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "processor": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"Linux {platform.release()}",
        "Python": platform.python_version(),
        **{name: _python_package(name) for name in PYTHON_PACKAGES},
        "Redis": _said([str(find_redis()), "--version"], r"v=(\S+)"),
        "Postgres": _said([str(find_postgres() / "postgres"), "--version"], r"(\d\S*)"),
        "nginx": _said(["nginx", "-v"], r"nginx/(\S+)"),
        "nchan": _said(["dpkg-query", "-W", "-f=${Version}", "libnginx-mod-nchan"], r"(?:\d+:)?([\d.]+)"),
        "Node": _said(["node", "--version"], r"v(\S+)"),
        **{name: _node_package(name) for name in NODE_PACKAGES},
        "C compiler": _said(["cc", "--version"], r"^(.*)"),
    }


def _read(path: str) -> str:
    with contextlib.suppress(OSError):  # gone meanwhile
        return Path(path).read_text(errors="replace")
    return ""


def _said(command: list[str], pattern: str) -> str:
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if found := re.search(pattern, done.stdout + done.stderr):
            return found[1]
    return "not installed"


def _python_package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _node_package(name: str) -> str:
    path = PEERS / "node_modules" / name / "package.json"
    if not path.exists():
        return "not installed"
    about: Mapping[str, object] = msgspec.json.decode(path.read_bytes())
    return str(about["version"])
