"""A whole installation as nginx/ and systemd/ set it up: nginx, two web processes behind unix sockets, a worker, and
the embedded servers. Only the addresses are the run's own, and that nginx speaks plain HTTP: the crowd has no TLS.
"""

import asyncio
import contextlib
import resource
import secrets
import socket
import string
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.backstage import Hall
from bench.contest import Contestant
from bench.machine import family
from quizcast.auth import Key, Keyring, Tokens
from quizcast.deploy.nginx import BROTLI, WEB, Site
from quizcast.embedded import Services
from quizcast.settings import Settings
from quizcast.store.schema import migrate

HERE = Path(__file__).parent
CROWD = 20_000  # phones behind the one address from which a bench or a test comes


class Part(Contestant):
    """A process of quizcast, started with its own command line."""

    def __init__(self, settings: Settings, folder: Path, *words: str, door: Path | None = None) -> None:
        super().__init__()
        self.name = f"quizcast {words[0]}"
        self._words = words
        self._door = door
        self._env = {**settings.to_env(), "PROMETHEUS_MULTIPROC_DIR": str(folder)}

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """As systemd starts it."""
        return [sys.executable, "-m", "quizcast", *self._words], self._env

    def ready(self) -> bool:
        """Whether it takes connections on its unix socket; a worker has none."""
        if self._door is None:
            return True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self._door))
            return True
        return False


class Installation(Contestant):
    """nginx, and while it is `running` everything behind it. `hall` lets participants in without HTTP."""

    name = "quizcast"
    hall: Hall

    def __init__(self) -> None:
        super().__init__()
        self._behind: list[Part] = []
        self._servers: list[int] = []
        self._sockets = Path()

    @contextlib.contextmanager
    def running(self, *cores: int) -> Iterator[None]:
        """Start everything on an empty data directory; stop it in the end."""
        secret = secrets.token_urlsafe(32)
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
            self._sockets = folder = Path(name)
            settings = Settings(data_dir=folder / "data", keys=(f"bench:{secret}",))
            services = stack.enter_context(Services.start(settings))
            asyncio.run(migrate(services.database_url))
            settings = msgspec.structs.replace(
                settings, redis_url=services.redis_url, database_url=services.database_url
            )
            self._servers = list(services.pids.values())
            metrics = folder / "metrics"
            metrics.mkdir()
            doors = [folder / f"web-{number}.sock" for number in range(WEB)]
            self._behind = [
                Part(settings, metrics, "web", "--index", str(number), "--uds", str(door), door=door)
                for number, door in enumerate(doors)
            ]
            self._behind.append(Part(settings, metrics, "worker"))
            for part in self._behind:
                stack.enter_context(part.running(*cores))
            self.hall = Hall(settings, Tokens(Keyring([Key("bench", secret)]), settings))
            stack.callback(self.hall.close)
            with super().running(*cores):
                yield

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """nginx in the foreground, with the project's own site."""
        return nginx(folder, site(self.port, folder, self._sockets)), {}

    @property
    def pids(self) -> list[int]:
        """Every process of the installation."""
        servers = [pid for server in self._servers for pid in family(server)]
        return [*super().pids, *(pid for part in self._behind for pid in part.pids), *servers]


def nginx(folder: Path, site: Site) -> list[str]:
    """The command that runs nginx in the foreground with a site; all its own files go into `folder`."""
    (folder / "site.conf").write_text(site.text())
    config = folder / "nginx.conf"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    modules = f"load_module {BROTLI};" if site.brotli else ""
    whole = string.Template((HERE / "nginx.conf").read_text()).substitute(folder=folder, files=files, modules=modules)
    config.write_text(whole)
    return ["nginx", "-c", str(config), "-e", str(folder / "error.log")]


def site(port: int, folder: Path, sockets: Path, **layout: Any) -> Site:
    """The project's site on a port of the loopback, in front of the web processes whose sockets are in `sockets`.

    Without TLS, its files in `folder`, and with a whole crowd behind one address, unless said otherwise.
    """
    usual = {"tls_dir": None, "static": sockets / "static", "phones": CROWD}
    return Site.on(
        sockets, WEB, listen=(f"127.0.0.1:{port}",), cache_dir=folder / "quizcast", log_dir=folder, **(usual | layout)
    )
