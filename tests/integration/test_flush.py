"""From the answer stream to Postgres: nothing leaves the one before it is in the other, whoever dies on the way."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from quizcast.domain.game import Game
from quizcast.errors import PostgresUnavailable
from quizcast.flush import ASK_AGAIN_S, RING_EVERY_S, Bell, _sweep, flush, jobs
from quizcast.live.redis import Live
from quizcast.live.rows import HEAD, UNREADABLE, Rows
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.store.rows import store_or_bisect
from quizcast.vitals import Vitals
from quizcast.wire.rows import AnswerRow, JoinRow, Row
from tests.fix_store import ROWS_AT, append, stored

SHARD = 0
MANY_SHARDS = 40  # more than the event loop's own threads, on any machine


@pytest.fixture
def silent(settings: Settings) -> Iterator[Settings]:
    """Settings with many shards and a job queue that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
        queue_url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        yield msgspec.structs.replace(settings, queue_url=queue_url, shards=MANY_SHARDS)


async def test_a_backlog_of_many_batches_is_stored_whole_and_the_stream_is_empty(
    live: Live, db: Database, game: Game
) -> None:
    await append(live, SHARD, *(AnswerRow(game.id, 0, f"p{n:04d}", "true") for n in range(1050)))
    assert await flush(Rows(live), db, SHARD, 100) == 1050
    assert await stored(db) == [f"p{n:04d}" for n in range(1050)]
    assert (await Rows(live).backlog(SHARD)).rows == 0


async def test_rows_that_arrive_while_others_are_being_stored_stay_until_they_are_stored_too(
    live: Live, db: Database, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [AnswerRow(game.id, 1, "late", "true")]

    async def store_slowly(db: Database, entries: Any) -> Any:
        outcome = await store_or_bisect(db, entries)
        while late:
            await append(live, SHARD, late.pop())
        return outcome

    monkeypatch.setattr("quizcast.flush.store_or_bisect", store_slowly)
    await append(live, SHARD, *(AnswerRow(game.id, 0, f"p{n}", "true") for n in range(4)))
    assert await flush(Rows(live), db, SHARD, 2) == 5
    assert "late" in await stored(db)


async def test_what_a_worker_had_in_hand_when_it_died_is_stored_by_the_next(
    live: Live, db: Database, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die_after_the_commit(self: Rows, shard: int, last: str) -> None:
        raise ZeroDivisionError

    await append(live, SHARD, *(AnswerRow(game.id, 0, f"p{n}", "true") for n in range(6)))
    with monkeypatch.context() as patched:
        patched.setattr(Rows, "let_go", die_after_the_commit)
        with pytest.raises(ZeroDivisionError):
            await flush(Rows(live), db, SHARD, 4)
    assert (await Rows(live).backlog(SHARD)).rows == 6
    assert await flush(Rows(live), db, SHARD, 4) == 6
    assert await stored(db) == [f"p{n}" for n in range(6)]


async def test_when_postgres_fails_everything_stays_in_the_stream(
    live: Live, db: Database, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(db: Database, entries: Any) -> Any:
        raise PostgresUnavailable()

    monkeypatch.setattr("quizcast.flush.store_or_bisect", fail)
    await append(live, SHARD, *(AnswerRow(game.id, 0, f"p{n}", "true") for n in range(6)))
    with pytest.raises(PostgresUnavailable):
        await flush(Rows(live), db, SHARD, 4)
    assert (await Rows(live).backlog(SHARD)).rows == 6


async def test_two_workers_on_one_shard_store_each_row_and_put_each_refused_one_aside_once(
    live: Live, db: Database, game: Game
) -> None:
    rows: list[Row] = [AnswerRow(game.id, 0, f"p{n:03d}", "true") for n in range(300)]
    rows[150] = AnswerRow(game.id, 0, "poison", "{")
    await append(live, SHARD, *rows)
    await asyncio.gather(*(flush(Rows(live), db, SHARD, 70) for _ in range(2)))
    assert len(await stored(db)) == 299
    backlog = await Rows(live).backlog(SHARD)
    assert (backlog.rows, backlog.dead) == (0, 1)


async def test_a_row_that_two_workers_put_aside_is_in_the_dead_letters_and_counted_once(live: Live, game: Game) -> None:
    before = _dead_letters()
    await append(live, SHARD, AnswerRow(game.id, 0, "p", "{"))
    [(entry_id, _)] = await live.client.xrange(live.keys.rows(SHARD))
    for _ in range(2):
        await Rows(live).put_aside(SHARD, [(entry_id.decode(), "reason")])
    backlog = await Rows(live).backlog(SHARD)
    assert (backlog.rows, backlog.dead) == (0, 1)
    assert _dead_letters() - before == 1


async def test_a_worker_that_was_frozen_lets_go_of_nothing_but_what_it_has_stored(
    live: Live, db: Database, game: Game
) -> None:
    rows = Rows(live)
    await append(live, SHARD, *(AnswerRow(game.id, 0, f"p{n}", "true") for n in range(3)))
    old = await rows.read(SHARD, HEAD, 2, 1)
    assert old is not None
    await flush(rows, db, SHARD, 10)
    await append(live, SHARD, JoinRow(game.id, "p9", "Nick"))
    await rows.let_go(SHARD, old.last)
    assert (await rows.backlog(SHARD)).rows == 1


async def test_what_cannot_be_read_or_stored_is_put_aside_and_counted_and_the_rest_is_stored(
    live: Live, db: Database, game: Game
) -> None:
    before = _dead_letters()
    await live.client.xadd(live.keys.rows(SHARD), {"row": b"\xc1", "at": ROWS_AT})
    await live.client.xadd(live.keys.rows(SHARD), {"other": "x"})
    await append(live, SHARD, AnswerRow(game.id, 0, "bad", "{"), AnswerRow(game.id, 0, "good", "true"))
    assert await flush(Rows(live), db, SHARD, 2) == 1
    assert await stored(db) == ["good"]
    dead = [fields for _, fields in await live.client.xrange(live.keys.dead(SHARD))]
    assert [one[b"reason"].decode() for one in dead[:2]] == [UNREADABLE] * 2
    assert dead[0][b"row"] == b"\xc1"  # as it was, for whoever decides
    assert len(dead) == 3
    assert _dead_letters() - before == 3
    assert (await Rows(live).backlog(SHARD)).rows == 0


async def test_what_a_queue_that_is_away_does_not_take_is_free_to_be_asked_for_by_the_sweep(
    settings: Settings, live: Live
) -> None:
    bell = Bell(msgspec.structs.replace(settings, queue_url="redis://127.0.0.1:1/0"), live)
    for _ in range(2):  # one that finds the ring taken believes that a job is on its way
        with pytest.raises(RedisError):
            await bell.ask(SHARD)
    await bell.close()


async def test_a_queue_that_says_nothing_holds_up_none_of_the_loops_threads_and_no_process_that_stops(
    silent: Settings, live: Live
) -> None:
    bell = Bell(silent, live)
    for shard in range(MANY_SHARDS):
        bell.ring(shard)
    await asyncio.sleep(0.3)  # until all that there are to be held are
    async with asyncio.timeout(2):  # of the five for which each would be held
        await asyncio.to_thread(time.monotonic)  # as a question is scored
    async with asyncio.timeout(10):
        await bell.close()


async def test_who_finds_the_queue_silent_leaves_the_ring_to_others_from_then_on(silent: Settings, live: Live) -> None:
    bell, rung = Bell(silent, live), live.keys.rung(SHARD)
    with pytest.raises(RedisError):
        await bell.ask(SHARD)
    await asyncio.sleep(ASK_AGAIN_S)
    asking = asyncio.create_task(bell.ask(SHARD))
    await asyncio.sleep(0.3)
    assert not asking.done()
    assert not await live.client.exists(rung)
    with pytest.raises(RedisError):
        await asking
    await bell.close()


async def test_a_queue_that_is_heard_again_gets_jobs_again(
    settings: Settings, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = Bell(settings, live)
    with monkeypatch.context() as patched:
        patched.setattr(bell, "_enqueue", _away)
        with pytest.raises(RedisError):
            await bell.ask(SHARD)
    with pytest.raises(RedisError):
        await bell.ask(SHARD + 1)  # the same queue, a moment later
    await asyncio.sleep(ASK_AGAIN_S)
    for shard in (SHARD, SHARD + 1):
        await bell.ask(shard)
    await bell.close()
    connection = Redis.from_url(settings.redis_url)
    theirs = jobs(settings.key_prefix, connection)
    assert theirs.count == 2
    theirs.delete()
    connection.close()


async def test_while_the_queue_says_nothing_the_sweep_stores_what_waits_on_many_shards_within_seconds(
    silent: Settings, live: Live, db: Database, game: Game
) -> None:
    bells = [Bell(silent, live) for _ in range(2)]  # of web processes, which go on asking

    async def ring() -> None:
        while True:
            for bell in bells:
                for shard in range(MANY_SHARDS):
                    bell.ring(shard)
            await asyncio.sleep(RING_EVERY_S)

    background = [asyncio.create_task(ring()), asyncio.create_task(_sweep(silent, Vitals("worker")))]
    for question in range(3):
        people = {f"{question}-{shard}" for shard in range(MANY_SHARDS)}
        for shard in range(MANY_SHARDS):
            await append(live, shard, AnswerRow(game.id, question, f"{question}-{shard}", "true"))
        async with asyncio.timeout(20):
            while not people <= set(await stored(db)):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # until the flush that stored them has ended, or it would take the next as well
    for task in background:
        task.cancel()
    await asyncio.gather(*background, *(bell.close() for bell in bells), return_exceptions=True)


async def test_installations_that_share_a_redis_leave_each_others_jobs_alone(settings: Settings, live: Live) -> None:
    connection = Redis.from_url(settings.redis_url)
    ours, theirs = jobs("ours:", connection), jobs(settings.key_prefix, connection)
    bell = Bell(settings, live)
    await bell.ask(SHARD)
    await bell.close()
    assert (ours.count, theirs.count) == (0, 1)
    theirs.delete()
    connection.close()


def _away(_shard: int) -> None:
    raise RedisConnectionError("away")


def _dead_letters() -> float:
    return REGISTRY.get_sample_value("quizcast_dead_letters_total") or 0.0
