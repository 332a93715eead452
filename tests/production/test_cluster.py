"""Whole games on a Redis Cluster: three masters, three replicas, and what happens to them in mid-question."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis.crc import key_slot

from quizcast.embedded import Services
from quizcast.errors import RedisUnavailable
from quizcast.live.games import Games
from quizcast.live.log import RedisLog
from quizcast.live.redis import Live
from quizcast.live.submissions import Taken
from quizcast.settings import Settings
from quizcast.wire.events import Leaderboard, Message
from tests.faults.stage import Play, metric
from tests.fix_tree import Tree, environment, wait_until
from tests.integration.live_game import answered, joined, new_game, until
from tests.integration.test_live import opened
from tests.production.redis_servers import NODE_TIMEOUT_MS, RedisCluster, RedisServer, eventually

LOST_S = 20.0  # a failover takes the node timeout, an election and the first call after it


@pytest.fixture
def tree(
    redis_cluster: RedisCluster,
    redis_prefix: str,
    services: Services,
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tree]:
    """`serve` with two web processes, on the cluster."""
    env = environment(
        redis_url=redis_cluster.url,
        queue_url=services.redis_url,
        database_url=database_url,
        key_prefix=redis_prefix,
        log_level="warning",
    )
    running = Tree(tmp_path_factory.mktemp("tree") / "data", "--web", "2", env=env)
    yield running
    running.end()


@pytest.fixture
async def live(redis_cluster: RedisCluster, redis_prefix: str):  # type: ignore[no-untyped-def]
    made = Live(Settings(redis_url=redis_cluster.url, key_prefix=redis_prefix))
    yield made
    await made.close()


def home(cluster: RedisCluster, prefix: str) -> tuple[int, RedisServer]:
    """The slot of the game that is being played, and the master that has it."""
    for server in cluster.servers:
        if server.info("replication", "role") == "master" and (keys := server.client.keys(f"{prefix}*:log")):
            slot = key_slot(keys[0])
            return slot, cluster.master_of(slot)
    raise LookupError("no game is being played")


def other(cluster: RedisCluster, master: RedisServer) -> RedisServer:
    """Another master."""
    return next(one for one in cluster.servers if one is not master and one.info("replication", "role") == "master")


def test_a_game_of_two_hundred_is_played_on_a_cluster(tree: Tree) -> None:
    report = Play(tree.url).report()
    print(report.text())
    assert report.ok, report.text()


def test_a_slot_that_moves_in_mid_question_takes_its_game_along(
    tree: Tree, redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    play = Play(tree.url)
    play.until_mid_question(1)
    slot, master = home(redis_cluster, redis_prefix)
    began = time.monotonic()
    moved = redis_cluster.move(slot, other(redis_cluster, master), pause_s=0.3)
    took_s = time.monotonic() - began
    assert redis_cluster.master_of(slot) is not master
    report = play.report()
    print(f"{moved} keys of a slot moved in {took_s:.2f} s, in mid-question: {report.retries} sent again,")
    print(f"answers {report.ack_ms}, {report.resets} resets, trouble {report.trouble}")
    assert report.ok, report.text()
    assert not report.answers.errors


def test_a_master_that_dies_in_mid_question_loses_nothing_that_was_acknowledged(
    tree: Tree, redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    play = Play(tree.url)
    play.until_mid_question(1)
    slot, master = home(redis_cluster, redis_prefix)
    began = time.monotonic()
    master.kill()
    eventually(lambda: redis_cluster.master_of(slot) is not master, LOST_S)
    promoted_s = time.monotonic() - began
    master.start()
    redis_cluster.settle()
    whole_s = time.monotonic() - began
    report = play.report()
    print(f"a master killed in mid-question: replaced after {promoted_s:.2f} s (node timeout {NODE_TIMEOUT_MS} ms),")
    print(f"with a replica again after {whole_s:.2f} s; {report.retries} sent again, answers {report.ack_ms},")
    print(
        f"{report.resets} resets, trouble {report.trouble}; refused by Redis {metric(tree, 'quizcast_redis_errors_total')}"
    )
    assert report.ok, report.text()
    assert not report.answers.errors
