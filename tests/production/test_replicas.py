"""Reads from a real streaming replica: as long as it keeps up, and no longer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from quizcast.errors import PostgresUnavailable
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.store.probe import behind_s
from tests.fix_replica import Pair

BOUND_S = 1.5
WRITE_EVERY_S = 0.02


@contextlib.asynccontextmanager
async def reading(pair: Pair, **changes: Any) -> AsyncIterator[Database]:
    """The primary for writes, the replica for reads."""
    values = {"replica_lag_max_s": BOUND_S, "db_timeout_s": 0.5} | changes
    db = Database(Settings(database_url=pair.services.database_url, replica_urls=(pair.replica.url,), **values))
    await db.open()
    try:
        yield db
    finally:
        await db.close()


async def from_replica(db: Database) -> bool:
    """Whether a read is answered by the replica."""
    async with db.read() as conn:
        row = await (await conn.execute("SELECT pg_is_in_recovery()")).fetchone()
    return bool(row and row[0])


async def becomes(db: Database, expected: bool, within_s: float = 10.0) -> float:
    """Wait until reads go there; after how many seconds they did."""
    began = time.monotonic()
    while await from_replica(db) is not expected:
        assert time.monotonic() < began + within_s
        await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture
def clock_table(pair: Pair) -> Iterator[Pair]:
    """A table with the time of the last write."""
    pair.on_primary("CREATE TABLE ticks (at double precision NOT NULL)", "INSERT INTO ticks VALUES (0)")
    yield pair
    pair.on_primary("DROP TABLE ticks")


async def test_reads_go_to_a_replica_that_keeps_up(pair: Pair) -> None:
    async with reading(pair) as db:
        await becomes(db, True)
        assert [await from_replica(db) for _ in range(20)] == [True] * 20


async def test_a_replica_that_stands_still_is_passed_over_until_it_has_caught_up(clock_table: Pair) -> None:
    async with reading(clock_table) as db:
        await becomes(db, True)
        clock_table.on_replica("SELECT pg_wal_replay_pause()")
        clock_table.on_primary("UPDATE ticks SET at = 1")
        assert await becomes(db, False) <= BOUND_S + 1.0
        clock_table.on_replica("SELECT pg_wal_replay_resume()")
        await becomes(db, True)


async def test_no_read_is_older_than_the_bound_though_the_line_between_the_servers_goes_dead(
    clock_table: Pair,
) -> None:
    """The replica notices nothing: by its own word it has replayed all that it has received."""
    async with reading(clock_table) as db, asyncio.TaskGroup() as tasks:
        await becomes(db, True)
        ending = asyncio.Event()

        async def write() -> None:
            while not ending.is_set():
                async with db.write() as conn:
                    await conn.execute("UPDATE ticks SET at = %s", [time.monotonic()])
                await asyncio.sleep(WRITE_EVERY_S)

        tasks.create_task(write())
        await asyncio.sleep(1.0)
        ages, sources = [], []
        silent_at = time.monotonic()
        clock_table.line.silent = True
        while time.monotonic() < silent_at + 3 * BOUND_S:
            began = time.monotonic()
            async with db.read() as conn:
                row = await (await conn.execute("SELECT at, pg_is_in_recovery() FROM ticks")).fetchone()
            assert row is not None
            ages.append(began - row[0])
            sources.append(row[1])
            await asyncio.sleep(WRITE_EVERY_S)
        ending.set()
    assert max(ages) <= BOUND_S + 0.5  # and what a slow machine adds between a write and its note of the time
    assert sources[0] is True
    assert sources[-1] is False


async def test_without_its_primary_a_replica_serves_reads_until_the_bound_is_past(own_pair: Pair) -> None:
    async with reading(own_pair) as db:
        await becomes(db, True)
        own_pair.kill_primary()
        killed_at = time.monotonic()
        assert await from_replica(db)
        await asyncio.sleep(killed_at + BOUND_S + 1.0 - time.monotonic())
        with pytest.raises(PostgresUnavailable):
            await from_replica(db)


async def test_doctor_measures_how_far_a_replica_is_behind(clock_table: Pair) -> None:
    urls = clock_table.services.database_url, clock_table.replica.url
    assert await behind_s(*urls, 5.0) < 5.0
    clock_table.on_replica("SELECT pg_wal_replay_pause()")
    clock_table.on_primary("UPDATE ticks SET at = 2")
    assert await behind_s(*urls, 0.3) == float("inf")
