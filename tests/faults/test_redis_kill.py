"""Redis, killed in the burst of answers; and the machine's power, cut at any moment of it."""

import asyncio
import itertools
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from quizcast.embedded import DataDir, find_redis, start_redis
from tests.client import Api, Player, good, refused
from tests.faults.stage import USERS, Play, Stage, set_up

DOWN_S = 2.0
SYNC_DELAY_MS = 100  # fifty times what a sync takes: a 202 that did not wait for it comes far too early


async def test_a_game_goes_on_when_redis_is_killed_in_the_burst_and_nothing_is_acknowledged_meanwhile(
    stage: Stage,
) -> None:
    async with Api(stage.tree.url) as api:
        game = await (await api.host()).game()
        ada, ben = await game.join("Ada"), await game.join("Ben")
        await game.open()
        first = await ada.answered(0, 1)
        play = Play(stage.tree.url)
        play.until_mid_question(1)
        stage.kill_server("redis")
        began = time.monotonic()
        meanwhile = []
        while time.monotonic() - began < DOWN_S:
            reply = await ben.answer(0, 1)
            meanwhile.append((*refused(reply), reply.headers["retry-after"]))
        assert stage.metric("quizcast_redis_errors_total") > 0  # told of at once, though Redis is away
        stage.services.restart("redis")
        back = time.monotonic()
        reply = await ben.answer(0, 1)
        while reply.status_code == 503:
            reply = await ben.answer(0, 1)
        taken_s = time.monotonic() - back
        assert good(reply, 202)["duplicate"] is False
        assert await ada.answered(0, 1) == {**first, "duplicate": True}
        report = await asyncio.to_thread(play.report)
    print(
        f"Redis killed in the burst, down {DOWN_S:g} s: {len(meanwhile)} answers refused meanwhile by {meanwhile[0]},"
    )
    print(f"taken again {taken_s:.2f} s after it was back; the crowd's: {report.ack_ms}, sent again {report.retries},")
    print(f"streams resumed {report.resume_ms or 0}, {report.resets} resets")
    assert set(meanwhile) == {(503, "redis_unavailable", "1")}
    assert report.ok, report.text()


class Sync(NamedTuple):
    """A sync of the append-only file: when it had ended, in ms since the epoch, and how many bytes it made safe."""

    ended_at: float
    size: int


@pytest.fixture
def slow_disk(tmp_path: Path) -> Path:
    """A Redis that syncs slowly and writes `syncs` beside itself, as `slow_sync.c` says."""
    library = tmp_path / "slow_sync.so"
    source = Path(__file__).with_name("slow_sync.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    program = tmp_path / "redis"
    settings = f"LD_PRELOAD={library} SYNC_LOG={tmp_path / 'syncs'} SYNC_DELAY_MS={SYNC_DELAY_MS}"
    program.write_text(f'#!/bin/sh\n{settings} exec {find_redis()} "$@"\n')
    program.chmod(0o755)
    return program


async def test_no_answer_is_acknowledged_before_it_is_on_disk_so_a_power_cut_loses_none(
    slow_disk: Path, tmp_path: Path
) -> None:
    acked_at: dict[str, float] = {}
    took_ms = []

    async def answer(player: Player) -> None:
        await asyncio.sleep(random.random())
        sent_at = time.time() * 1000
        await player.answered(0, 1)
        acked_at[player.id] = time.time() * 1000
        took_ms.append(acked_at[player.id] - sent_at)

    with set_up(tmp_path, redis_bin=slow_disk) as stage:
        async with Api(stage.tree.url) as api:
            game = await (await api.host()).game()
            players = await asyncio.gather(*(game.join(f"P{number}") for number in range(USERS)))
            await game.open()
            began_at = time.time() * 1000
            await asyncio.gather(*map(answer, players))
            ended_at = time.time() * 1000
        shutil.copytree(tmp_path / "servers" / "redis", tmp_path / "written")
    syncs = [Sync(*map(float, line.split())) for line in (tmp_path / "syncs").read_text().splitlines()]

    crashes, safe = 0, set[str]()
    for last, following in itertools.pairwise(syncs):
        if not began_at < following.ended_at < ended_at + SYNC_DELAY_MS:
            continue
        # The power is cut just before the next sync has ended: all that was written since the last is gone.
        safe = {player for player, at in acked_at.items() if at < following.ended_at}
        assert safe <= answers_after_crash(tmp_path, int(last.size), f"crash{crashes}"), f"crash {crashes}"
        crashes += 1
    print(f"{len(acked_at)} answers, fastest 202 after {min(took_ms):.0f} ms of {SYNC_DELAY_MS} ms a sync; the power")
    print(f"cut at each of the {crashes} syncs of the burst: no acknowledged answer was lost")
    assert crashes > 1
    assert len(safe) > USERS // 2
    assert min(took_ms) >= SYNC_DELAY_MS


def answers_after_crash(tmp_path: Path, size: int, name: str) -> set[str]:
    """Who has answered, as a real Redis has it that finds so many bytes of what was written."""
    with DataDir(tmp_path / name) as data:
        shutil.copytree(tmp_path / "written", data.folder("redis"), dirs_exist_ok=True)
        (log,) = data.folder("redis").rglob("*.incr.aof")
        with log.open("r+b") as file:
            file.truncate(size)
        server = start_redis(find_redis(), data)
        server.wait_ready()
        try:
            with redis.from_url(server.url, decode_responses=True) as client:
                return {player for answers in client.scan_iter("*:answers:0") for player in client.hkeys(answers)}
        finally:
            server.stop()
