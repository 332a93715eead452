"""Real nginx with the project's own site, in front of web processes on unix sockets as systemd/ sets them up.

Without TLS unless a test brings a certificate; else the site is as it is shipped. `make test` installs nginx.
"""

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.installation import nginx, site
from quizcast.embedded import Services
from quizcast.settings import Settings
from tests.fix_tree import wait_until
from tests.fix_web import WEB, Site, installed, part_environment, start_part, stop_parts, wait_ready

STOP_S = 15.0


class Nginx:
    """nginx on a free port of the loopback; `sockets` is the folder with the web processes' `web-0.sock`, `web-1.sock`.

    They need not be there: nginx then says 503, as it would in an installation. `upstream` stands for the site's
    `server` lines, where it is not about these two.
    """

    def __init__(self, folder: Path, sockets: Path, upstream: str = "", **layout: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http{'s' if layout.get('tls_dir') else ''}://127.0.0.1:{self.port}"
        command = nginx(folder, site(self.port, folder, sockets, **layout))
        if upstream:
            rendered = folder / "site.conf"
            rendered.write_text(re.sub(r"(?m)(^ +server unix:.*\n)+", f"    {upstream}\n", rendered.read_text()))
        with (folder / "said").open("wb") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said)
        wait_until(self._answers)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"nginx did not start: {(self.folder / 'said').read_text()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        """Its logs so far."""
        return "".join(log.read_text("utf-8", errors="replace") for log in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        """Stop it; lines that are open are cut."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Fronted(Site):
    """An installation: nginx, web processes behind unix sockets, a worker. Tests may `stop` and `start` web processes.

    `url` is nginx's; `doors` are the web processes' own.
    """

    def __init__(self, settings: Settings) -> None:
        parts = [f"web-{number}" for number in range(WEB)]
        self._folder = settings.data_dir
        self.doors = [self._folder / f"{name}.sock" for name in parts]
        self.proxy = Nginx(self._folder / "nginx", self._folder)
        super().__init__(self.proxy.url, settings, [self._folder / f"{name}.log" for name in (*parts, "worker")])
        self._env = part_environment(settings)
        self.web: list[subprocess.Popen[bytes] | None] = [None] * WEB
        self.worker = start_part(self._folder / "worker.log", self._env, "worker")

    def start(self, number: int) -> None:
        """Start a web process, which listens when this returns."""
        door = self.doors[number]
        words = ("web", "--index", str(number), "--uds", str(door))
        self.web[number] = start_part(self._folder / f"web-{number}.log", self._env, *words)
        wait_until(lambda: _listens(door))

    def stop(self, number: int) -> None:
        """SIGTERM to a web process; returns when it has drained and gone."""
        process, self.web[number] = self.web[number], None
        stop_parts([process] if process else [])

    def end(self) -> None:
        """Stop all."""
        self.proxy.end()
        stop_parts([*(process for process in self.web if process), self.worker])


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Starts nginx in front of the sockets in a folder, with more of its layout; it ends with the test."""
    started: list[Nginx] = []

    def start(sockets: Path, **layout: Any) -> Nginx:
        started.append(Nginx(tmp_path / f"nginx{len(started)}", sockets, **layout))
        return started[-1]

    yield start
    for proxy in started:
        proxy.end()


@pytest.fixture(scope="session")
def fronted(services: Services, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """The installation, with a database and a key prefix of its own. Whoever stops one of its parts starts it again."""
    settings = installed(services, template_database, tmp_path_factory.mktemp("fronted"))
    started = Fronted(settings)
    try:
        for number in range(WEB):
            started.start(number)
        wait_ready(started)
        yield started
    finally:
        started.end()


def _listens(door: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(door)) == 0
