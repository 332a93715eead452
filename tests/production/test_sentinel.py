"""A game on a Redis that Sentinels watch, whose master dies in mid-question."""

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from quizcast.domain.game import Game
from quizcast.errors import RedisUnavailable
from quizcast.flush import flush
from quizcast.live.redis import Live
from quizcast.live.rows import HEAD, Rows
from quizcast.live.servers import SENTINEL_ANSWERS_S, queue_client
from quizcast.live.submissions import Taken
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.wire.rows import AnswerRow
from tests.faults.stage import Play, metric
from tests.fix_store import append, stored
from tests.fix_tree import Tree, environment
from tests.integration.live_game import answered, joined, new_game
from tests.integration.test_live import opened
from tests.pages import blocks
from tests.production.redis_servers import Watched, eventually

LOST_S = 20.0


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Three servers and three Sentinels."""
    running = Watched(tmp_path_factory.mktemp("watched"))
    yield running
    running.stop()


@pytest.fixture
def tree(watched: Watched, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """`serve` with two web processes; the job queue is on the same servers."""
    env = environment(redis_url=watched.url, database_url=database_url, log_level="warning")
    running = Tree(tmp_path_factory.mktemp("tree") / "data", "--web", "2", env=env)
    yield running
    running.end()


@pytest.fixture
async def live(watched: Watched) -> AsyncIterator[Live]:
    made = Live(Settings(redis_url=watched.url))
    yield made
    await made.close()


async def taken_in_the_end(live: Live, game: Game, name: str) -> Taken:
    """An answer, sent until it is taken."""
    began = time.monotonic()
    while time.monotonic() - began < LOST_S:
        with contextlib.suppress(RedisUnavailable):
            taken = (await answered(live, game, 0, **{name: 1}))[name]
            if isinstance(taken, Taken):
                return taken
        await asyncio.sleep(0.1)
    raise TimeoutError(name)


def test_a_watched_master_that_dies_in_mid_question_loses_nothing_that_was_acknowledged(
    tree: Tree, watched: Watched
) -> None:
    play = Play(tree.url)
    play.until_mid_question(1)
    master = watched.master
    began = time.monotonic()
    master.kill()  # and it stays so: one of the two replicas takes its place, the other vouches for what that takes
    eventually(lambda: watched.master is not master, LOST_S)
    promoted_s = time.monotonic() - began
    report = play.report()
    failed = metric(tree, "quizcast_redis_errors_total")
    print(f"a watched master killed in mid-question, replaced after {promoted_s:.2f} s ({watched.DOWN_MS} ms silence):")
    print(f"{report.retries} sent again, answers {report.ack_ms}, {report.resets} resets, trouble {report.trouble},")
    print(f"{failed:g} calls failed")
    assert report.ok, report.text()
    assert not report.answers.errors


async def test_a_row_that_a_failover_may_take_back_is_not_stored_yet(live: Live, watched: Watched) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    await opened(live, game)
    shard, rows = live.keys.shard_of(game.id), Rows(live)
    before = await rows.read(shard, HEAD, 100, 10)
    assert before is not None
    master = watched.master
    replicas = [server for server in watched.servers if server is not master]
    for replica in replicas:
        replica.pause()
    with pytest.raises(RedisUnavailable):
        await answered(live, game, 0, Ada=1)
    with pytest.raises(RedisUnavailable, match="too few replicas"):  # though it is there
        await rows.read(shard, before.last, 100, 10)
    master.kill()
    for replica in replicas:
        replica.go_on()
    eventually(lambda: watched.master is not master, LOST_S)
    taken = await taken_in_the_end(live, game, "Ada")
    after = await rows.read(shard, before.last, 100, 10)
    assert after is not None
    assert [entry.at for entry in after.entries] == [taken.received_at]


async def test_of_a_row_that_is_gone_once_it_was_read_nothing_is_stored(
    live: Live, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a failover, or because another worker has stored it: nobody is to be alarmed by that."""

    async def vouched_too_late(live: Live, stream: str, entry_id: str) -> bool:
        await live.client.xdel(stream, entry_id)
        return await vouched(live, stream, entry_id)

    game = await new_game(live)
    shard, rows, vouched = live.keys.shard_of(game.id), Rows(live), Live.vouched
    await joined(live, game, "Ada")
    assert await rows.read(shard, HEAD, 100, 10) is not None
    monkeypatch.setattr(Live, "vouched", vouched_too_late)
    assert await rows.read(shard, HEAD, 100, 10) is None


async def test_a_full_master_whose_replicas_confirm_is_emptied_by_the_flush(
    live: Live, watched: Watched, db: Database, game: Game
) -> None:
    await append(live, 0, *(AnswerRow(game.id, 0, name, "true") for name in ("ada", "bob")))
    watched.master.client.config_set("maxmemory", "1mb")
    with pytest.raises(RedisUnavailable, match="maxmemory"):
        await live.check()
    assert await flush(Rows(live), db, 0, 100) == 2
    assert (await Rows(live).backlog(0)).rows == 0
    assert await stored(db) == ["ada", "bob"]


async def test_a_master_that_was_made_a_replica_is_left_for_the_new_one(live: Live, watched: Watched) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
    master = watched.master
    redis.Redis(port=watched.ports[0]).execute_command("SENTINEL FAILOVER", watched.NAME)
    eventually(lambda: watched.master is not master, LOST_S)
    await taken_in_the_end(live, game, "Bob")
    again = (await answered(live, game, 0, Ada=1))["Ada"]
    assert isinstance(again, Taken)
    assert again.duplicate


async def test_servers_and_sentinels_that_ask_for_a_password_get_it_and_a_wrong_one_is_told_by_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hall-of-fame"
    watched = Watched(tmp_path / "w", secret)
    try:
        live = Live(Settings(redis_url=watched.url))
        game = await new_game(live)
        await joined(live, game, "Ada")
        await opened(live, game)
        assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
        await live.close()
        queue = queue_client(Settings(redis_url=watched.url))
        assert queue.ping()
        queue.close()
        for wrong, told in (
            (watched.url.replace(f":{secret}@", ":wrong-word@"), "refuses the password"),
            (watched.url.replace(f"={secret}", "=wrong-word"), "no Sentinel"),
        ):
            live = Live(Settings(redis_url=wrong))
            with pytest.raises(RedisUnavailable, match=told):
                await live.check()
            await live.close()
        assert "wrong-word" not in caplog.text
    finally:
        watched.stop()


async def test_a_sentinel_that_is_silent_is_passed_over_for_the_next(watched: Watched) -> None:
    with watched.silent_sentinel():
        live = Live(Settings(redis_url=watched.url))
        began = time.monotonic()
        await live.check()
        assert time.monotonic() - began < 2 * SENTINEL_ANSWERS_S
        await live.close()


def test_the_pages_command_measures_what_waiting_for_a_replica_costs() -> None:
    [command] = blocks("docs/operations.md", "What an acknowledgement waits for")
    words = [sys.executable, *command.split()[1:], "--rounds", "1", "--groups", "5"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^groups of +(\d+): .*, with a replica ", done.stdout, re.MULTILINE) == ["1", "16", "64"]


def test_the_job_queue_finds_its_master_by_the_sentinels(watched: Watched) -> None:
    queue = queue_client(Settings(redis_url=watched.url))
    assert queue.set("one", "1")
    assert watched.master.client.get("one") == b"1"
    queue.close()
