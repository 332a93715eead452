"""The oldest servers that quizcast promises to run on, as Debian 12 has them: Redis 7.0, PostgreSQL 15.

All other tests run on those of the wheels, Valkey and a newer PostgreSQL.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from quizcast.embedded.find import POSTGRES_FLOOR, POSTGRES_SYSTEM
from tests.faults.stage import Play
from tests.fix_tree import Tree, environment

USERS = 100


def test_a_game_is_played_and_kept_on_the_oldest_servers_that_are_promised(tmp_path: Path) -> None:
    redis, postgres = tmp_path / "redis-server", POSTGRES_SYSTEM / str(POSTGRES_FLOOR) / "bin"
    # Debian's redis-server is a link to this program, which redis-tools has: no daemon comes with it.
    found = shutil.which("redis-check-rdb")
    if found is None or not postgres.exists():
        pytest.fail(f"the tests need Debian's servers: redis-tools, postgresql-{POSTGRES_FLOOR}")
    redis.symlink_to(found)
    said = subprocess.run([redis, "--version"], capture_output=True, text=True, check=True).stdout
    assert " v=7.0." in said
    env = environment(redis_bin=str(redis), pg_bin=str(postgres), log_level="warning")
    tree = Tree(tmp_path / "data", "--web", "2", env=env)
    try:
        report = Play(tree.url, users=USERS, questions=3).report()
        assert tree.pid("redis-server")
    finally:
        tree.end()
    assert (tmp_path / "data" / "postgres" / "PG_VERSION").read_text().strip() == str(POSTGRES_FLOOR)
    assert report.ok, report.text()
