"""Whole games on a Redis Cluster: three masters, three replicas, and what happens to them in mid-question."""

import asyncio
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from redis.crc import key_slot

from quizcast.embedded import Services
from quizcast.errors import RedisUnavailable, TooMany
from quizcast.live.games import Games
from quizcast.live.log import RedisLog
from quizcast.live.redis import Keys, Live
from quizcast.live.submissions import Taken
from quizcast.live.throttle import Throttle
from quizcast.settings import Settings
from quizcast.wire.events import Leaderboard, Message
from tests.faults.stage import Play, metric
from tests.fix_tree import Tree, environment, quizcast
from tests.integration.live_game import answered, joined, new_game, until
from tests.integration.test_live import opened
from tests.pages import blocks
from tests.production.redis_servers import (
    MASTERS,
    NODE_TIMEOUT_MS,
    SLOTS,
    RedisCluster,
    RedisServer,
    eventually,
    free_ports,
    running_cluster,
)

PATIENCE_S = 240.0  # for 4,096 slots to move, on a machine with five times the work it has cores for
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
async def live(redis_cluster: RedisCluster, redis_prefix: str) -> AsyncIterator[Live]:
    made = Live(Settings(redis_url=redis_cluster.url, key_prefix=redis_prefix))
    yield made
    await made.close()


def home(cluster: RedisCluster, prefix: str) -> tuple[int, RedisServer]:
    """The slot of the game that is being played, and the master that has it."""
    for server in cluster.servers:
        if server.is_master and (keys := server.client.keys(f"{prefix}*:log")):
            slot = key_slot(keys[0])
            return slot, cluster.master_of(slot)
    raise LookupError("no game is being played")


def slot_of(live: Live, game_id: str) -> int:
    """The slot that a game is in."""
    return int(key_slot(live.keys.game(game_id).encode()))


def other(cluster: RedisCluster, master: RedisServer) -> RedisServer:
    """Another master."""
    return next(one for one in cluster.servers if one is not master and one.is_master)


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
    failed = metric(tree, "quizcast_redis_errors_total")
    print(f"a master killed in mid-question: replaced after {promoted_s:.2f} s (node timeout {NODE_TIMEOUT_MS} ms),")
    print(f"with a replica again after {whole_s:.2f} s; {report.retries} sent again, answers {report.ack_ms},")
    print(f"{report.resets} resets, trouble {report.trouble}, {failed:g} calls failed")
    assert report.ok, report.text()
    assert not report.answers.errors


# ── what a call meets ─────────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_promised_while_no_replica_has_it_nor_when_it_is_sent_again(
    live: Live, redis_cluster: RedisCluster
) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    master = redis_cluster.master_of(slot_of(live, game.id))
    replica = redis_cluster.replica_of(master)
    replica.pause()
    try:
        with pytest.raises(RedisUnavailable, match="replicas"):
            await answered(live, game, 0, Ada=1)
        elsewhere = Live(live.settings)  # of another process; it finds the answer on the master, and writes nothing
        with pytest.raises(RedisUnavailable, match="replicas"):
            await answered(elsewhere, game, 0, Ada=1)
        await elsewhere.close()
    finally:
        replica.go_on()
    again = (await answered(live, game, 0, Ada=1))["Ada"]
    assert isinstance(again, Taken)
    assert again.duplicate  # a 503 promises nothing, and forbids nothing either
    bob = (await answered(live, game, 0, Bob=1))["Bob"]
    assert isinstance(bob, Taken)


async def test_calls_that_meet_a_slot_on_its_way_wait_for_it_and_its_subscription_follows(
    live: Live, redis_cluster: RedisCluster
) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    current = await opened(live, game)
    heard: list[Message] = []
    restored: list[float] = []
    log = RedisLog(live)
    await log.start(lambda _, message: heard.append(message), lambda: restored.append(time.monotonic()))
    await log.listen(game.id)
    restored.clear()
    slot = slot_of(live, game.id)
    target = other(redis_cluster, redis_cluster.master_of(slot))
    moving = asyncio.create_task(asyncio.to_thread(redis_cluster.move, slot, target, 0.5))
    await asyncio.sleep(0.3)
    assert not moving.done()
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
    assert await moving > 3
    await until(lambda: len(restored) > 0)
    before = await Games(live).load(game.id)
    assert await Games(live).advance(before, current, [Leaderboard(top=[], participants=0)])
    await until(lambda: bool(heard) and heard[-1].name == "leaderboard")
    await log.stop()


async def test_the_games_of_the_other_shards_go_on_while_a_master_is_away(
    live: Live, redis_cluster: RedisCluster
) -> None:
    games = [await new_game(live, game_id=f"spread{number}") for number in range(12)]
    for game in games:
        await joined(live, game, "Ada")
        await opened(live, game)
    slots = {game.id: slot_of(live, game.id) for game in games}
    masters = {game_id: redis_cluster.master_of(slot) for game_id, slot in slots.items()}
    lost = masters[games[0].id]
    with_us = {game_id for game_id, master in masters.items() if master is not lost}
    assert with_us
    lost.kill()
    assert {game_id for game_id, _ in await Games(live).due(60)} == with_us
    await live.check()
    for game in games:
        if game.id in with_us:
            assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
        else:
            with pytest.raises(RedisUnavailable):
                await answered(live, game, 0, Ada=1)


async def test_throttles_count_on_a_cluster(live: Live) -> None:
    throttle = Throttle(msgspec.structs.replace(live.settings, register_per_hour=2))
    await throttle.register("192.0.2.1")
    await throttle.register("192.0.2.1")
    with pytest.raises(TooMany):
        await throttle.register("192.0.2.1")
    await throttle.close()


def test_the_number_of_shards_that_the_docs_advise_is_spread_as_they_say() -> None:
    keys = Keys("qc:", 48)
    slots = [key_slot(keys.due(shard).encode()) for shard in range(keys.shards)]
    assert sorted(Counter(slot * 3 // 16_384 for slot in slots).values()) == [15, 16, 17]
    assert set(Counter(slot * 4 // 16_384 for slot in slots).values()) == {12}


def test_a_master_is_added_in_mid_game_as_the_page_has_it(
    services: Services, database_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    add, fix = blocks("docs/operations.md", "Shards, and growing")
    # In memory: each of 4,096 slots is told to all masters, and each writes and syncs what it knows of the cluster.
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        running_cluster(Path(folder) / "cluster") as cluster,
    ):
        old = cluster.servers[:MASTERS]
        new, its_replica = (cluster.add(*free_ports(2)) for _ in range(2))
        env = environment(redis_url=cluster.url, queue_url=services.redis_url, database_url=database_url)
        tree = Tree(tmp_path / "data", "--web", "2", env=env | {"QUIZCAST_KEY_PREFIX": redis_prefix})
        try:
            play = Play(tree.url)
            play.until_mid_question(1)
            began = time.monotonic()
            shell(add, new=new, its_replica=its_replica, master=old[0])
            print(f"a fourth master after {time.monotonic() - began:.1f} s")
            report = play.report()
        finally:
            tree.end()
        slots = [int(one.client.execute_command("CLUSTER INFO")["cluster_slots_ok"]) for one in (*old, new)]
        assert slots == [SLOTS] * len(slots)
        homes = Counter(cluster.master_of(slot).port for slot in range(0, SLOTS, 16))
        assert set(homes) == {server.port for server in (*old, new)}
        assert min(homes.values()) > SLOTS / 16 / len(homes) * 0.9
        assert cluster.replica_of(new) is its_replica
        assert report.ok, report.text()

        slot = key_slot(b"x")
        source = cluster.master_of(slot)
        target = other(cluster, source)
        target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", cluster.id_of(source))
        source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", cluster.id_of(target))
        assert is_open(source)
        shell(fix, master=old[0])
        assert not is_open(source)
        assert not is_open(target)


def is_open(server: RedisServer) -> bool:
    """Whether a slot is on its way to or from a server, as that sees it."""
    nodes = server.client.cluster("NODES")
    return any(node["migrations"] for node in nodes.values())


def shell(script: str, **servers: RedisServer) -> None:
    """Run commands of a page, with servers in the places of its variables."""
    places = {name: f"127.0.0.1:{server.port}" for name, server in servers.items()}
    words = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        words, env=os.environ | places, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_doctor_looks_at_each_master_and_its_replicas(
    redis_cluster: RedisCluster, services: Services, database_url: str
) -> None:
    env = environment(redis_url=redis_cluster.url, queue_url=services.redis_url, database_url=database_url)
    told = quizcast("doctor", env=env).stdout
    for server in redis_cluster.servers:
        assert (f"Redis 127.0.0.1:{server.port}: " in told) is server.is_master
    assert told.count("give it one more") == 3
    assert "Redis of the job queue" in told
    wanting = quizcast("doctor", env=env | {"QUIZCAST_REDIS_WAIT_REPLICAS": "2"})
    assert wanting.returncode == 1
    assert wanting.stdout.count("answers are refused: give it a replica") == 3
