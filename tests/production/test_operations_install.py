"""docs/operations.md, command by command as they stand there: an installation of its own, a crowd, and real programs.

Only the places are changed, to below the test's folder, and `systemctl` speaks to the stand-in for systemd.
"""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from bench.installation import CROWD
from quizcast.deploy.units import Places
from quizcast.embedded import Services, find_postgres
from tests.faults.stage import Play
from tests.faults.test_rolling_restart import asking
from tests.fix_tree import wait_until
from tests.pages import blocks
from tests.production.manager import Manager

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
PATIENCE_S = 120.0
REQUEST_GAP_MAX_S = 3.0  # as in a rolling restart by hand

STAND_INS = {
    # Whoever runs the tests is whom Postgres knows.
    "runuser": 'shift 3; exec "$@"',
    "nginx": 'exec {nginx} -c "{root}/etc/nginx/nginx.conf" "$@"',
    "make": 'exec {make} --no-print-directory "$@"',
}


class Operator:
    """Who types the page's commands."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.places = Places(root=folder / "root", program=folder / "root/opt/quizcast/.venv/bin/quizcast")
        self.nginx: subprocess.Popen[bytes] | None = None
        (folder / "root/opt").mkdir(parents=True)
        for version in re.findall(r"/opt/(quizcast-[\d.]+)", PAGE):  # this checkout is every version
            link = folder / "root/opt" / version
            if not link.exists():
                link.symlink_to(ROOT)
        self._folder = folder
        self._services = services
        self.manager: Manager | None = None
        tools = folder / "tools"
        tools.mkdir()
        found = {"nginx": shutil.which("nginx"), "make": shutil.which("make"), "root": self.places.root}
        for name, script in STAND_INS.items():
            (tools / name).write_text(f"#!/bin/sh\n{script.format(**found)}\n")
            (tools / name).chmod(0o755)
        self.port = _free_port()
        place = parse_qs(urlsplit(services.database_url).query)
        user = urlsplit(services.database_url).username or ""
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("QUIZCAST_", "PG"))}
        self._env |= {"PGHOST": place["host"][0], "PGUSER": user, "PGDATABASE": "postgres", "LC_ALL": "C"}
        self._env["PATH"] = (
            f"{folder}/manager/bin:{tools}:{self.places.command.parent}:{find_postgres('')}:{os.environ['PATH']}"
        )

    def types(self, block: str) -> str:
        """Run a block; what it prints. Fails when a command does."""
        text = re.sub(r"(?<![\w.])/(opt|etc|run|var)/", rf"{self.places.root}/\1/", block)
        text = re.sub(r"(bin/quizcast install)", rf"\1 --prefix {self.places.root}", text)
        done = subprocess.run(
            ["bash", "-euc", text],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}{self.manager.said() if self.manager else ''}"
        return done.stdout

    def prepare(self) -> None:
        """What the page says in words: addresses of the servers, a certificate; and the test's own places."""
        credentials, tls = self.places.etc / "credentials", self.places.etc / "tls"
        (credentials / "redis-url").write_text(self._services.redis_url)
        (credentials / "database-url").write_text(self._services.database_url.replace("/quizcast?", "/quizcastops?"))
        env = self.places.etc / "quizcast.env"
        env.write_text(
            f"{env.read_text()}QUIZCAST_KEY_PREFIX=ops:\nQUIZCAST_DRAIN_S=0.5\nQUIZCAST_ANSWERS_PER_SECOND=100000\n"
        )
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
        files = ["-keyout", str(tls / "key.pem"), "-out", str(tls / "fullchain.pem")]
        subprocess.run(["openssl", "req", "-x509", *key, *files], check=True, capture_output=True)
        self.manager = Manager(self.places, self._folder / "manager")

    def front(self) -> str:
        """Start nginx as it is installed, on a free port of the loopback and without TLS; its address."""
        etc = self.places.root / "etc/nginx"
        for folder in ("etc/nginx/sites-enabled", "var/log/nginx", "var/lib/nginx"):
            (self.places.root / folder).mkdir(parents=True, exist_ok=True)
        text = (ROOT / "bench/nginx.conf").read_text().replace("$modules\n", "").replace("$files", "65536")
        text = text.replace("$folder/site.conf", f"{etc}/sites-enabled/*").replace("$folder", str(self._folder))
        (etc / "nginx.conf").write_text(text)
        site = etc / "sites-available/quizcast.conf"
        words = ("--plain", "--listen", f"127.0.0.1:{self.port}", "--phones", str(CROWD), "--no-brotli")
        made = subprocess.run([self.places.program, "nginx", *words], capture_output=True, text=True, check=True).stdout
        for place in ("/run/quizcast", "/var/"):
            made = made.replace(place, f"{self.places.root}{place}")
        site.write_text(made)
        self.nginx = subprocess.Popen(["nginx", "-c", str(etc / "nginx.conf"), "-e", str(self._folder / "error.log")])
        if self.manager is not None:
            self.manager.others["nginx.service"] = self.nginx
        return f"http://127.0.0.1:{self.port}"

    def end(self) -> None:
        """Stop everything."""
        if self.nginx is not None:
            self.nginx.terminate()
            self.nginx.wait()
        if self.manager is not None:
            self.manager.end()
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:  # for the next run
            connection.execute("DROP DATABASE IF EXISTS quizcastops WITH (FORCE)")
            connection.execute("DROP ROLE IF EXISTS quizcastops")


@pytest.fixture
def operator(services: Services, tmp_path: Path) -> Iterator[Operator]:
    """Somebody with an empty machine, and Redis and Postgres on it."""
    made = Operator(tmp_path, services)
    yield made
    made.end()


def test_an_installation_is_made_upgraded_rolled_back_drained_and_taken_away(operator: Operator) -> None:
    first, database, start, proxy = blocks("docs/operations.md", "Install")
    operator.types(first)
    operator.types(database.replace("quizcast\n", "quizcastops\n").replace("owner quizcast ", "owner quizcastops "))
    operator.prepare()
    url = operator.front()
    assert '"status":"ready"' in operator.types(start)
    assert operator.manager is not None
    processes = operator.manager.services
    operator.types(proxy)
    wait_until(lambda: _listens(operator.port))
    (look,) = blocks("docs/operations.md", "When something is wrong")
    assert "no dead letters wait" in operator.types(look)

    with asking(url) as seen:
        play = Play(url, questions=5)
        play.until_mid_question(0)
        for commands in (
            blocks("docs/operations.md", "Upgrade without downtime"),
            blocks("docs/operations.md", "Roll back"),
            blocks("docs/operations.md", "Drain"),
        ):
            before = {name: service.process.pid for name, service in processes.items() if "@" in name}
            for block in commands:
                operator.types(block)
            after = {name: service.process.pid for name, service in processes.items() if "@" in name}
            assert before.keys() == after.keys()
            assert not {name for name in before if "web" in name and "0" not in name and before[name] == after[name]}
        report = play.report()
    print(f"upgrade, rollback, drain: {seen}; streams back after {report.resume_ms}, {report.retries} sent again")
    assert report.ok, report.text()
    assert not seen.failed
    assert seen.gap_s < REQUEST_GAP_MAX_S

    (uninstall,) = blocks("docs/operations.md", "Uninstall")
    operator.types(uninstall)
    assert not operator.places.units.exists() or not list(operator.places.units.iterdir())
    assert (operator.places.etc / "quizcast.env").exists()  # which was changed


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
