"""A disk without room, for Redis's file and for Postgres: no acknowledged answer is lost, nobody restarts anything."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quizcast.embedded import find_postgres, find_redis
from tests.faults.shim import Shim
from tests.faults.stage import Play, metric, ready
from tests.fix_tree import Tree, environment, wait_until

FULL_S = 4.0


@pytest.fixture
def redis_disk(tmp_path: Path) -> Shim:
    return Shim(tmp_path / "redis_disk")


@pytest.fixture
def postgres_disk(tmp_path: Path) -> Shim:
    return Shim(tmp_path / "postgres_disk")


@pytest.fixture
def tree(tmp_path: Path, redis_disk: Shim, postgres_disk: Shim) -> Iterator[Tree]:
    """`serve` with its own servers, each on a disk that the test can fill."""
    env = environment(
        redis_bin=str(redis_disk.program(find_redis())), pg_bin=str(postgres_disk.programs(find_postgres()))
    )
    running = Tree(tmp_path / "data", "--web", "2", env=env)
    yield running
    running.end()


def test_games_go_on_when_there_is_room_again_on_a_disk_that_was_full(
    tree: Tree, redis_disk: Shim, postgres_disk: Shim
) -> None:
    play = Play(tree.url, answer_window_ms=4000, patience_s=15)
    play.until_mid_question(0)
    redis_disk.fill_disk(True)
    postgres_disk.fill_disk(True)
    wait_until(lambda: ready(tree)[1]["checks"]["redis"] != "ok", 5)
    time.sleep(FULL_S)
    status, told = ready(tree)
    restarts = metric(tree, "quizcast_server_restarts_total")
    print(f"disk full: /readyz {status} {told}, {restarts:g} restarts of servers")
    assert status == 503
    assert restarts > 1
    redis_disk.fill_disk(False)
    postgres_disk.fill_disk(False)
    began = time.monotonic()
    wait_until(lambda: ready(tree)[0] == 200, 15)
    print(f"ready {time.monotonic() - began:.1f} s after there was room again")
    report = play.report()
    print(f"retries {report.retries}, ack {report.ack_ms}")
    assert report.ok, report.text()
    assert report.retries["503"] > 0
