"""Two web processes and a worker as `serve` starts them, on the session's servers; started when a test first asks.

They share one port, so whoever has two connections may well talk to two processes. Throttles are out of the way.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from quizcast.embedded import Services
from quizcast.settings import Settings
from tests.client import Api
from tests.fix_tree import environment

WEB = 2
START_S = 30.0
STOP_S = 30.0
KEY = ("site", "k" * 40)  # known, so that tests can sign what the server must refuse for other reasons


class Site:
    """Running processes: where they are, with which settings, and what they have logged."""

    def __init__(self, url: str, settings: Settings, logs: list[Path]) -> None:
        self.url = url
        self.settings = settings
        self._logs = logs

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])

    def said(self) -> str:
        """Everything that the processes have written so far."""
        return "".join(log.read_text("utf-8", errors="replace") for log in self._logs)


@pytest.fixture(scope="session")
def site(services: Services, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The processes, with a database and a key prefix of their own."""
    settings = installed(services, template_database, tmp_path_factory.mktemp("site"))
    folder = settings.data_dir
    env = part_environment(settings)
    doors = [listening()]
    doors += [listening(doors[0].getsockname()[1]) for _ in range(WEB - 1)]
    logs = [folder / f"{name}.log" for name in (*(f"web{place}" for place in range(WEB)), "worker")]
    running = [
        *(
            start_part(log, env, "web", "--fd", str(door.fileno()), doors=[door])
            for log, door in zip(logs, doors, strict=False)
        ),
        start_part(logs[-1], env, "worker"),
    ]
    started = Site(f"http://127.0.0.1:{doors[0].getsockname()[1]}", settings, logs)
    for door in doors:
        door.close()
    try:
        wait_ready(started)
        yield started
    finally:
        stop_parts(running)


def installed(services: Services, template_database: str, folder: Path) -> Settings:
    """Settings for an installation on the session's servers: its folder's name is that of its database and its keys."""
    name = "".join(filter(str.isalpha, folder.name))
    with psycopg.connect(services.database_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    return Settings(
        redis_url=services.redis_url,
        key_prefix=f"{name}:",
        database_url=services.database_url.replace("/quizcast?", f"/{name}?"),
        keys=(":".join(KEY),),
        data_dir=folder,
        log_format="json",
        register_per_hour=100_000,
        login_per_minute=100_000,
        answers_per_second=100_000,
        heartbeat_s=1.0,
        drain_s=0.2,
        import_bytes_max=100_000,
        wrong_pins_per_minute=100_000,
        wrong_pins_per_minute_total=100_000,
    )


@pytest.fixture
async def api(site: Site) -> AsyncIterator[Api]:
    """A client of the site that keeps no cookies."""
    async with Api(site.url) as client:
        yield client


def listening(port: int = 0) -> socket.socket:
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind(("127.0.0.1", port))
    door.listen(1024)
    return door


def part_environment(settings: Settings) -> dict[str, str]:
    """The environment of the parts of one installation, which share a folder for their metrics."""
    folder = settings.data_dir / "metrics"
    folder.mkdir(exist_ok=True)
    return environment() | settings.to_env() | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}


def start_part(
    log: Path, env: dict[str, str], *words: str, doors: list[socket.socket] | None = None
) -> subprocess.Popen[bytes]:
    """One process of quizcast (`web …`, `worker`), which adds what it says to the log and dies with this process."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "quizcast", *words, "--parent", str(os.getpid())],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=[door.fileno() for door in doors or ()],
        )


def stop_parts(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to all of them, and wait until they are gone."""
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(site: Site) -> None:
    """Wait until the web processes say that they are ready; fail when they do not."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{site.url}/readyz", timeout=START_S):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"the web processes are not ready: {error}\n{site.said()}")
            time.sleep(0.05)
