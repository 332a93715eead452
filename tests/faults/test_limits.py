"""What runs out: Redis's memory, its connections to us, the files that a process may open."""

import contextlib
import os
import resource
import socket
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from quizcast.settings import Settings
from quizcast.web.protocol import FILES_KEPT
from tests.faults.stage import Play, Stage, ready
from tests.fix_tree import wait_until


def test_a_redis_that_is_full_refuses_says_so_and_is_emptied_by_the_workers(stage: Stage) -> None:
    with admin(stage) as server:
        play = Play(stage.tree.url, questions=2, answer_window_ms=4000)
        play.until_mid_question(0)
        errors = stage.metric("quizcast_redis_errors_total")
        server.config_set("maxmemory", "1mb")
        time.sleep(2)
        status, told = ready(stage.tree)
        print(f"/readyz of a full Redis: {status} {told}")
        assert (status, told["checks"]["redis"]) == (503, "redis_unavailable")
        assert "maxmemory" in told["reasons"]["redis"]
        # What was taken before goes to Postgres all the same: nothing else would ever make room.
        wait_until(lambda: not any(server.xlen(f"qc:{{s{shard}}}:rows") for shard in range(4)), 5)
        assert stage.metric("quizcast_redis_errors_total") > errors
        server.config_set("maxmemory", "0")
        report = play.report()
    print(f"Redis full for 2 s: retries {report.retries}, ack {report.ack_ms}")
    assert report.ok, report.text()
    assert report.retries["503"] > 0
    wait_until(stage.tree.ready, 10)


def test_nobody_notices_that_all_connections_to_redis_were_killed(stage: Stage) -> None:
    play = Play(stage.tree.url, questions=2, answer_window_ms=2000)
    play.until_mid_question(0)
    with admin(stage) as server:
        for _ in range(5):
            killed = [server.client_kill_filter(_type=kind, skipme=True) for kind in ("normal", "pubsub")]
            print(f"connections killed: {killed}")
            time.sleep(0.2)
    report = play.report()
    print(f"all connections to Redis killed five times: retries {report.retries}, ack {report.ack_ms}")
    assert report.ok, report.text()


def test_a_process_at_its_limit_of_open_files_refuses_and_recovers(stage: Stage) -> None:
    """Both web processes: who asks comes to either."""
    pids = stage.tree.pids("quizcast: web")
    limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids]
    idle: list[socket.socket] = []
    try:
        for pid, (_, hard) in zip(pids, limits, strict=True):
            # What it would have open by itself if it had all of its connections to Redis.
            assert len(os.listdir(f"/proc/{pid}/fd")) + Settings().redis_connections <= FILES_KEPT // 2
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES_KEPT + 20, hard))
        refused = stage.metric("quizcast_connections_refused_total")
        idle += [socket.create_connection(("127.0.0.1", stage.tree.port)) for _ in range(100)]
        wait_until(lambda: status(stage, "/api/v1/openapi.json") == 503, 5)
        assert {status(stage, "/api/v1/openapi.json") for _ in range(20)} == {503}
        assert {status(stage, "/livez") for _ in range(20)} == {200}
        code, told = ready(stage.tree)
        assert (code, told["checks"]["files"]) == (503, "full")
        idle += [socket.create_connection(("127.0.0.1", stage.tree.port)) for _ in range(300)]
        assert {status(stage, "/api/v1/openapi.json") for _ in range(20)} <= {503, 0}
    finally:
        for one in idle:
            one.close()
        for pid, limit in zip(pids, limits, strict=True):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    wait_until(stage.tree.ready, 5)
    assert stage.tree.pids("quizcast: web") == pids
    refused = stage.metric("quizcast_connections_refused_total") - refused
    print(f"at the limit to open files: /readyz {told['checks']}, {refused:g} of 460 connections refused")
    report = Play(stage.tree.url, questions=1).report()
    assert report.ok, report.text()


def status(stage: Stage, path: str) -> int:
    """Of a GET; 0 when the line was cut without one."""
    try:
        return stage.tree.get(path)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code
    except OSError:
        return 0


@contextmanager
def admin(stage: Stage) -> Iterator[redis.Redis]:
    """A connection of the test's own, past the proxy; Redis is as it was afterwards."""
    with contextlib.closing(redis.Redis.from_url(stage.services.redis_url, decode_responses=True)) as server:
        try:
            yield server
        finally:
            server.config_set("maxmemory", "0")
