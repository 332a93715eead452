"""Migrations while quizcast runs: nobody waits for long, and the version before goes on with the new schema."""

import asyncio
import hashlib
import time
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from quizcast.errors import MigrationFailed
from quizcast.ids import new_id
from quizcast.settings import Settings
from quizcast.store import accounts, schema
from quizcast.store.db import Database
from quizcast.store.months import prepare
from quizcast.store.rows import store_rows
from quizcast.store.schema import LOCK_WAIT_MS, migrate
from quizcast.store.shipped import ALONE, Migration, migrations
from quizcast.wire.rows import AnswerRow, Entry
from tests.fix_replica import execute, one
from tests.fix_store import new_game

FIRST = migrations()[:2]  # before anybody could have been at play
LATER = migrations()[2:]
WAIT_MAX_S = LOCK_WAIT_MS / 1000 + 0.4  # and the time that a busy machine takes
CHANGING = "SELECT DISTINCT relation::regclass::text FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"


def step(name: str, script: str) -> Migration:
    """A migration of this test's."""
    return Migration(name, script.encode(), hashlib.sha256(script.encode()).hexdigest())


async def tables(conn: AsyncConnection[Any]) -> list[str]:
    """All that quizcast has."""
    found = await conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in await found.fetchall()]


async def played(url: str) -> str:
    """Put a game with an answer into the database, as the version before would; its id."""
    db = Database(Settings(database_url=url))
    await db.open()
    async with db.write() as conn:
        host = await accounts.create_host(conn, email=f"{new_id()}@example.org", name="A", password_hash="x")
    game = await new_game(db, host.id)
    async with db.write() as conn:
        await store_rows(conn, [answer(game.id, "p")])
    await db.close()
    return game.id


def answer(game_id: str, participant_id: str) -> Entry:
    """An answer on its way."""
    row = AnswerRow(game_id=game_id, question=0, participant_id=participant_id, answer="true")
    return Entry(id="1-1", row=row, at=1_700_000_000_000)


@pytest.mark.parametrize("place", range(len(LATER)), ids=[one.name for one in LATER])
async def test_no_migration_holds_anybody_up_behind_a_long_transaction(
    empty_database_url: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup, say, reads every table for minutes. The migration waits for its end; nobody waits for the migration."""
    monkeypatch.setattr(schema, "LOCK_PAUSE_S", 0.2)  # so that it tries often
    await migrate(empty_database_url, [*FIRST, *LATER[:place]])
    await played(empty_database_url)
    async with await AsyncConnection.connect(empty_database_url) as backup:
        names = await tables(backup)
        for name in names:
            await backup.execute(f"SELECT count(*) FROM {name}".encode())
        migrating = asyncio.create_task(migrate(empty_database_url, [*FIRST, *LATER[: place + 1]]))
        waits = []
        async with await AsyncConnection.connect(empty_database_url, autocommit=True) as other:
            await other.execute("SET statement_timeout = '5s'")  # or it would wait for the backup for ever
            for _ in range(15):
                for name in names:
                    began = time.monotonic()
                    await other.execute(f"SELECT count(*) FROM {name}".encode())
                    await other.execute(f"DELETE FROM {name} WHERE false".encode())
                    waits.append(time.monotonic() - began)
                await asyncio.sleep(0.1)
        await backup.rollback()
        assert await migrating == [LATER[place].name]
    assert max(waits) < WAIT_MAX_S


async def test_a_migration_that_finds_no_moment_gives_up_and_says_so(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "PATIENCE_S", 0.5)
    monkeypatch.setattr(schema, "LOCK_PAUSE_S", 0.1)
    await migrate(empty_database_url)
    async with await AsyncConnection.connect(empty_database_url) as other:
        await other.execute("SELECT count(*) FROM games")
        adding = [*migrations(), step("9999_adding", "ALTER TABLE games ADD COLUMN more text")]
        with pytest.raises(MigrationFailed, match="9999_adding"):
            await migrate(empty_database_url, adding)
    assert await migrate(empty_database_url, adding) == ["9999_adding"]


async def test_an_index_is_built_beside_writers_and_a_run_that_broke_off_is_begun_again(
    empty_database_url: str,
) -> None:
    await migrate(empty_database_url)
    script = (
        ALONE.decode()
        + "DROP INDEX CONCURRENTLY IF EXISTS of_title;\nCREATE INDEX CONCURRENTLY of_title ON games (title);\n"
    )
    execute(empty_database_url, "CREATE INDEX of_title ON games (id)")  # what is left of the broken run
    async with await AsyncConnection.connect(empty_database_url) as writer:
        await writer.execute("DELETE FROM games WHERE false")  # holds a writer's lock until its end
        indexing = asyncio.create_task(migrate(empty_database_url, [*migrations(), step("9999_index", script)]))
        await asyncio.sleep(0.5)
        assert not indexing.done()
        async with await AsyncConnection.connect(empty_database_url, autocommit=True) as other:
            began = time.monotonic()
            await other.execute("DELETE FROM games WHERE false")
            assert time.monotonic() - began < WAIT_MAX_S
        await writer.rollback()
        assert await indexing == ["9999_index"]
    assert one(empty_database_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'of_title'::regclass") is True
    assert "title" in str(one(empty_database_url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'of_title'"))


async def test_the_table_that_is_there_becomes_the_first_month_and_nothing_is_moved(empty_database_url: str) -> None:
    await migrate(empty_database_url, FIRST)
    game = await played(empty_database_url)
    file = one(empty_database_url, "SELECT pg_relation_filepath('answers')")
    await migrate(empty_database_url)
    assert one(empty_database_url, "SELECT pg_relation_filepath('answers_first')") == file
    assert (
        one(empty_database_url, f"SELECT tableoid::regclass::text FROM answers WHERE game_id = '{game}'")
        == "answers_first"
    )
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'answers_first'::regclass"
    assert one(empty_database_url, indexes) == 1  # the key's, taken over


async def test_the_version_before_stores_and_reads_on_while_the_answers_become_months(empty_database_url: str) -> None:
    """Its statements are the same as ours; what it does not know is that there are months."""
    await migrate(empty_database_url, FIRST)
    game = await played(empty_database_url)
    db = Database(Settings(database_url=empty_database_url, db_pool_max=1))
    await db.open()
    stored, ending = ["p"], asyncio.Event()

    async def store() -> None:
        while not ending.is_set():
            async with db.write() as conn:
                await store_rows(conn, [answer(game, f"p{len(stored)}"), answer(game, stored[-1])])
            stored.append(f"p{len(stored)}")

    storing = asyncio.create_task(store())
    await asyncio.sleep(0.2)
    await migrate(empty_database_url)
    await prepare(empty_database_url)
    await asyncio.sleep(0.2)
    ending.set()
    await storing
    await db.close()
    with psycopg.connect(empty_database_url) as conn:
        there = [name for (name,) in conn.execute("SELECT participant_id FROM answers WHERE game_id = %s", [game])]
    assert sorted(there) == sorted(stored)
