"""The commands of docs/operations.md that back up, restore, drop and promote, run as they stand."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis

from quizcast.embedded import DataDir, Services, find_postgres, identity_for
from quizcast.embedded.server import run
from quizcast.ids import first_id, new_id
from quizcast.settings import Settings
from tests.fix_replica import Pair, execute, one
from tests.fix_tree import environment, quizcast, wait_until
from tests.pages import blocks

MAY = int(datetime(2024, 5, 20, tzinfo=UTC).timestamp() * 1000)


class Site:
    """An installation with a game in it, and a shell for its operator."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services = services
        self.folder = DataDir(folder)
        self.identity = identity_for(self.folder, find_postgres())
        self.backups = self.folder.folder("backups")
        self.env = environment(redis_url=services.redis_url, database_url=services.database_url)

    def shell(self, script: str, **variables: str) -> str:
        """Run commands as whoever runs Postgres. Raises `ServiceFailed` with what they say when one fails."""
        programs = f"{find_postgres()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        chosen = {name: value for name, value in self.env.items() if name.startswith("QUIZCAST_")}
        chosen |= {"backups": str(self.backups), "PATH": programs, "LC_ALL": "C.UTF-8"} | variables
        prelude = "".join(f"export {name}='{value}'\n" for name, value in chosen.items())
        return run(self.identity, ["/bin/bash", "-euo", "pipefail", "-c", prelude + script], cwd=self.folder.path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Servers of its own, with the schema and a host."""
    with Services.start(Settings(data_dir=tmp_path / "data")) as services:
        made = Site(services, tmp_path / "operator")
        assert quizcast("migrate", env=made.env).returncode == 0
        host(services.database_url, "before")
        yield made
        made.folder.release()


def host(url: str, name: str) -> None:
    """Another account."""
    execute(
        url,
        "INSERT INTO hosts (id, email, name, password_hash)"
        f" VALUES ('{new_id()}', '{name}@example.org', '{name}', 'x')",
    )


def hosts(url: str) -> set[str]:
    """Who has an account."""
    with psycopg.connect(url) as conn:
        return {name for (name,) in conn.execute("SELECT name FROM hosts")}


def in_database(url: str, name: str) -> str:
    """The same server's database of this name."""
    return url.replace("/quizcast?", f"/{name}?")


def test_migrate_and_retention_as_the_page_has_them(site: Site) -> None:
    url = site.services.database_url
    (migrate,) = blocks("docs/operations.md", "Upgrade the schema")
    assert "up to date" in site.shell(migrate)
    game = first_id(MAY)
    bounds = [first_id(int(datetime(2024, month, 1, tzinfo=UTC).timestamp() * 1000)) for month in (5, 6)]
    execute(
        url,
        "INSERT INTO games SELECT '" + game + "', id, NULL, '1', 'Old', '{}', 1, '{}', 'finished', 1, 1, 1 FROM hosts",
        "ALTER TABLE answers DETACH PARTITION answers_first",
        "CREATE TABLE answers_2024_05 PARTITION OF answers FOR VALUES FROM ('{}') TO ('{}')".format(*bounds),
        f"INSERT INTO answers SELECT '{game}', n, 'p', to_json(n), 1 FROM generate_series(1, 100) n",
    )
    drop, bring_back = blocks("docs/operations.md", "Drop old answers")
    assert "answers_2024_05 is dropped: 100 answers" in site.shell(drop)
    assert one(url, "SELECT count(*) FROM answers") == 0
    site.shell(bring_back)
    assert one(url, "SELECT count(*) FROM answers") == 100
    assert one(url, "SELECT count(*) FROM answers_dropped") == 0


def test_a_dump_is_restored_into_another_database(site: Site) -> None:
    dump, restore = blocks("docs/operations.md", "A small database: a dump")
    site.shell(dump)
    host(site.services.database_url, "later")
    restored = in_database(site.services.database_url, "restored")
    assert "up to date" in site.shell(restore, restored_url=restored)
    assert hosts(restored) == {"before"}
    bounds = "string_agg(relname || pg_get_expr(relpartbound, oid), ' ' ORDER BY relname)"
    parts = f"SELECT {bounds} FROM pg_class WHERE relispartition"
    assert one(restored, parts) == one(site.services.database_url, parts)


def test_a_base_backup_and_the_log_bring_back_the_moment_before_a_mistake(site: Site) -> None:
    url = site.services.database_url
    archive, backup, restore = blocks("docs/operations.md", "A large database: a base backup and the log")
    site.shell(archive)
    site.services.restart("postgres")
    site.shell(backup)
    host(url, "after the backup")
    until = str(one(url, "SELECT clock_timestamp()::text"))
    execute(url, "DELETE FROM hosts", "SELECT pg_switch_wal()")
    wait_until(
        lambda: one(url, "SELECT last_archived_wal FROM pg_stat_archiver WHERE last_archived_time > '" + until + "'")
    )
    folder, sockets = site.folder.path / "restored", site.folder.run
    there = f"postgresql://quizcast@/quizcast?host={quote(str(sockets), safe='')}"
    variables = {"restored": str(folder), "restored_url": there, "sockets": str(sockets), "until": until}
    try:
        site.shell(restore, **variables)
        wait_until(lambda: one(there, "SELECT pg_is_in_recovery()") is False)
        assert hosts(there) == {"before", "after the backup"}
        assert hosts(url) == set()
    finally:
        site.shell('pg_ctl --pgdata="$restored" --mode=immediate stop >/dev/null || true', **variables)


def test_redis_is_restored_from_a_copy_of_its_file_that_was_made_while_it_wrote(site: Site) -> None:
    (copy,) = blocks("docs/operations.md", "Redis: a copy of its file")
    data = site.services._data.path / "redis"
    with redis.from_url(site.services.redis_url) as client:
        client.set("kept", "yes")
        site.shell(copy, redis_socket=str(client.get_connection_kwargs()["path"]), redis_data=str(data))
        assert client.config_get("auto-aof-rewrite-percentage") == {"auto-aof-rewrite-percentage": "100"}
        client.flushall()
    site.services._servers["redis"].stop()
    site.shell(
        'rm -r "$redis_data/appendonlydir" && cp -a "$backups/appendonlydir" "$redis_data"', redis_data=str(data)
    )
    site.services.restart("redis")
    with redis.from_url(site.services.redis_url) as client:
        assert client.get("kept") == b"yes"


def test_the_commands_that_make_commits_wait_for_the_replica_and_promote_it(own_pair: Pair, tmp_path: Path) -> None:
    site = Site(own_pair.services, tmp_path / "operator")
    promote, wait = blocks("docs/operations.md", "When the primary dies")
    site.shell(wait)
    state = "SELECT sync_state FROM pg_stat_replication"
    wait_until(lambda: one(own_pair.services.database_url, state) == "quorum")
    own_pair.kill_primary()
    site.shell(promote, replica_url=own_pair.replica.url)
    assert one(own_pair.url, "SELECT pg_is_in_recovery()") is False
    site.folder.release()
