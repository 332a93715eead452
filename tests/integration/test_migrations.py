"""The schema: brought up to date by whoever starts first, once."""

import asyncio
import hashlib

import pytest
from psycopg import AsyncConnection

from quizcast.errors import MigrationFailed, PostgresUnavailable
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.store.schema import migrate
from quizcast.store.shipped import Migration, migrations

NAMES = [step.name for step in migrations()]


async def test_an_empty_database_gets_every_migration_and_the_second_time_none(empty_database_url: str) -> None:
    assert await migrate(empty_database_url) == NAMES
    before = await _schema(empty_database_url)
    assert await migrate(empty_database_url) == []
    assert await _schema(empty_database_url) == before


async def test_of_several_who_start_together_one_migrates_and_all_find_it_done(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(5)))
    assert sorted(applied) == [[], [], [], [], NAMES]


async def test_a_migration_that_was_edited_after_it_was_applied_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    first, *others = migrations()
    with pytest.raises(MigrationFailed, match=first.name):
        await migrate(empty_database_url, [_step(first.name, "SELECT 1"), *others])


async def test_a_database_that_is_ahead_of_the_code_is_left_as_it_is(
    empty_database_url: str, settings: Settings
) -> None:
    await migrate(empty_database_url, [*migrations(), _step("9999_later", "CREATE TABLE later (id text)")])
    before = await _schema(empty_database_url)
    assert await migrate(empty_database_url) == []
    assert await _schema(empty_database_url) == before
    db = Database(Settings(database_url=empty_database_url))
    await db.open()
    await db.check()
    await db.close()


async def test_a_migration_that_fails_leaves_nothing_behind_and_those_before_it_stay(empty_database_url: str) -> None:
    bad = _step("9999_bad", "CREATE TABLE half (id text); CREATE TABLE half (id text)")
    with pytest.raises(MigrationFailed, match="9999_bad"):
        await migrate(empty_database_url, [*migrations(), bad])
    assert not [column for column in await _schema(empty_database_url) if column[0] == "half"]
    assert await migrate(empty_database_url) == []


async def test_without_a_server_there_is_nothing_to_migrate(tmp_path: object) -> None:
    with pytest.raises(PostgresUnavailable):
        await migrate(f"postgresql://quizcast@/quizcast?host={tmp_path}")


def test_migrations_are_numbered_in_one_row() -> None:
    assert [int(name[:4]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def _step(name: str, script: str) -> Migration:
    return Migration(name, script.encode(), hashlib.sha256(script.encode()).hexdigest())


async def _schema(database_url: str) -> list[tuple[object, ...]]:
    async with await AsyncConnection.connect(database_url) as conn:
        columns = await conn.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        )
        indexes = await conn.execute(
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
        )
        return [*await columns.fetchall(), *await indexes.fetchall()]
