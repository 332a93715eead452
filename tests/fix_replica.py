"""A primary with a streaming replica, and the line between them; the servers are those that `serve` starts."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from quizcast.embedded import DataDir, Server, Services, find_postgres, identity_for, start_postgres
from quizcast.embedded.server import run
from quizcast.settings import Settings
from tests.faults.proxy import Proxy
from tests.fix_tree import wait_until


class Pair:
    """`url` finds whichever of the two takes writes. `line` carries the log from the primary to the replica."""

    def __init__(self, services: Services, replica: Server, line: Proxy) -> None:
        self.services = services
        self.replica = replica
        self.line = line
        hosts = ",".join(map(socket_folder, (services.database_url, replica.url)))
        self.url = f"postgresql://quizcast@/quizcast?host={hosts}&target_session_attrs=read-write"

    def on_primary(self, *statements: str) -> None:
        """Run statements, each by itself."""
        execute(self.services.database_url, *statements)

    def on_replica(self, *statements: str) -> None:
        """Run statements, each by itself."""
        execute(self.replica.url, *statements)

    def keep_in_step(self) -> None:
        """From now on the primary's commits wait for the replica."""
        self.on_primary("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        wait_until(lambda: one(self.services.database_url, "SELECT sync_state FROM pg_stat_replication") == "sync")

    def caught_up(self) -> bool:
        """Whether the replica has replayed all that the primary has."""
        end = one(self.services.database_url, "SELECT pg_current_wal_flush_lsn()::text")
        return bool(one(self.replica.url, f"SELECT pg_last_wal_replay_lsn() >= '{end}'"))

    def kill_primary(self) -> None:
        """SIGKILL, and nobody starts it again."""
        os.kill(self.services.pids["postgres"], signal.SIGKILL)
        wait_until(lambda: "postgres" in self.services.dead())

    def promote(self) -> None:
        """Make the replica a primary; returns when it is one."""
        self.on_replica("SELECT pg_promote()")


def socket_folder(url: str) -> str:
    """The folder of the unix socket that an address names."""
    return unquote(dict(part.split("=", 1) for part in urlsplit(url).query.split("&"))["host"])


def execute(url: str, *statements: str) -> None:
    """Run statements, each by itself."""
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def one(url: str, question: str) -> object:
    """The first column of a query's first row; None without one."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(question.encode()).fetchone()
    return row[0] if row else None


@contextlib.contextmanager
def paired(folder: Path) -> Iterator[Pair]:
    """Both servers, every write on disk before it counts, and a Redis."""
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(Services.start(Settings(data_dir=folder / "first")))
        line = stack.enter_context(Proxy(f"{socket_folder(services.database_url)}/.s.PGSQL.5432"))
        programs, data = find_postgres(), DataDir(folder / "second")
        stack.callback(data.release)
        identity = identity_for(data, programs)
        target = data.folder("postgres")
        source = f"host=127.0.0.1 port={line.port} user=quizcast sslmode=disable"
        copy = [str(programs / "pg_basebackup"), "-D", str(target), "-d", source, "-R", "-X", "stream", "-c", "fast"]
        run(identity, copy, cwd=data.path)
        replica = start_postgres(programs, data, identity)
        stack.callback(replica.stop)
        replica.wait_ready()
        yield Pair(services, replica, line)


@pytest.fixture(scope="session")
def standing_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The session's one, with the schema; ask for `pair`."""
    with paired(tmp_path_factory.mktemp("pair")) as running:
        yield running


@pytest.fixture
def pair(standing_pair: Pair) -> Iterator[Pair]:
    """A primary and a replica that has everything, and gets everything again after the test."""
    wait_until(standing_pair.caught_up)
    yield standing_pair
    standing_pair.on_replica("SELECT pg_wal_replay_resume()")
    standing_pair.line.heal()
    standing_pair.line.cut()  # what was swallowed comes again over a new one


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """A pair that the test may break for good."""
    with paired(tmp_path) as running:
        yield running
