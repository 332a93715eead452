"""Everything through a real pgbouncer in transaction mode, where each transaction may meet another session."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quizcast.embedded import DataDir, Services, find_postgres, identity_for
from quizcast.embedded.server import launcher
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.store.months import prepare
from quizcast.store.schema import migrate
from quizcast.store.shipped import migrations
from tests.faults.stage import Play
from tests.fix_replica import one, socket_folder
from tests.fix_tree import Tree, environment, wait_until

SESSIONS = 5  # of Postgres, for all processes together


@pytest.fixture
def bouncer(services: Services, empty_database_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database behind pgbouncer."""
    data = DataDir(tmp_path / "bouncer")
    name = empty_database_url.partition("?")[0].rpartition("/")[2]
    config = data.path / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{name} = host={socket_folder(services.database_url)} user=quizcast\n"
        "[pgbouncer]\npool_mode = transaction\nauth_type = any\n"
        f"max_client_conn = 200\nmax_db_connections = {SESSIONS}\nunix_socket_dir = {data.run}\n"
    )
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "the Makefile installs it; Debian: apt-get install pgbouncer"
    identity = identity_for(data, find_postgres())  # it refuses to run as root, as Postgres does
    command = launcher(identity, [program, "-q", str(config)], signal.SIGKILL)
    process = subprocess.Popen(command, cwd=data.path, stderr=subprocess.DEVNULL)
    try:
        wait_until((data.run / ".s.PGSQL.6432").exists)
        yield f"postgresql://quizcast@/{name}?host={data.run}&port=6432"
    finally:
        process.terminate()
        process.wait(10)
        data.release()


async def test_several_migrate_at_once_through_pgbouncer_and_no_lock_stays_behind(
    bouncer: str, empty_database_url: str
) -> None:
    applied = await asyncio.gather(*(migrate(bouncer) for _ in range(2)))
    assert sorted(applied) == [[], [step.name for step in migrations()]]
    assert await prepare(bouncer)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
    assert one(empty_database_url, f"{held} (SELECT oid FROM pg_database WHERE datname = current_database())") == 0


async def test_a_read_only_transaction_leaves_nothing_on_the_session_that_the_next_one_gets(
    bouncer: str, empty_database_url: str
) -> None:
    await migrate(empty_database_url)
    db = Database(Settings(database_url=bouncer, db_pool_max=20))
    await db.open()

    async def use(turn: int) -> None:
        async with db.read() if turn % 2 else db.write() as conn:
            row = await (await conn.execute("SELECT current_setting('transaction_read_only')")).fetchone()
            assert row == ("on" if turn % 2 else "off",)

    await asyncio.gather(*(use(turn) for turn in range(200)))
    await db.close()


def test_a_whole_game_is_played_through_pgbouncer_on_fewer_sessions_than_there_are_pools(
    bouncer: str, services: Services, empty_database_url: str, redis_prefix: str, start_tree: Callable[..., Tree]
) -> None:
    env = environment(redis_url=services.redis_url, database_url=bouncer, key_prefix=redis_prefix)
    tree = start_tree("--web", "3", "--workers", "2", env=env)
    report = Play(tree.url).report()
    assert report.ok, report.text()
    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    sessions = one(empty_database_url, ours)
    assert isinstance(sessions, int)
    assert 0 < sessions <= SESSIONS
