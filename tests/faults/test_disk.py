"""A disk without room, for Redis's file and for Postgres: no acknowledged answer is lost, nobody restarts anything."""

import time

from tests.faults.stage import Play, metric, ready
from tests.faults.world import World
from tests.fix_tree import wait_until

FULL_S = 3.0
BACK_S = 10.0


def test_games_go_on_when_there_is_room_again_for_redis_s_file(world: World) -> None:
    tree = world.tree
    before = metric(tree, "quizcast_server_restarts_total")
    play = Play(tree.url, questions=2, answer_window_ms=4000, patience_s=15)
    play.until_mid_question(0)
    world.redis.fill_disk(True)
    wait_until(lambda: ready(tree)[1]["checks"]["redis"] != "ok", 5)
    time.sleep(FULL_S)
    status, told = ready(tree)
    restarts = metric(tree, "quizcast_server_restarts_total") - before
    world.redis.fill_disk(False)
    began = time.monotonic()
    wait_until(lambda: ready(tree)[0] == 200, BACK_S)
    back_s = time.monotonic() - began
    report = play.report()
    print(
        f"disk full for Redis: /readyz {status} {told['checks']}, {restarts:g} restarts, ready {back_s:.1f} s after "
        f"there was room; retries {report.retries}, ack {report.ack_ms}"
    )
    assert (status, told["checks"]["redis"]) == (503, "redis_unavailable")
    assert restarts > 1
    assert report.ok, report.text()
    assert report.retries["503"] > 0


def test_rows_wait_for_room_on_postgres_s_disk_and_nobody_who_plays_notices(world: World) -> None:
    tree = world.tree
    before = metric(tree, "quizcast_db_errors_total")
    play = Play(tree.url, questions=1, answer_window_ms=4000)
    play.until_mid_question(0)
    world.postgres.fill_disk(True)
    time.sleep(FULL_S)
    waiting, age_s = metric(tree, "quizcast_queue_depth"), metric(tree, "quizcast_queue_age_seconds")
    errors = metric(tree, "quizcast_db_errors_total") - before
    world.postgres.fill_disk(False)
    report = play.report()
    print(
        f"disk full for Postgres: {waiting:g} rows wait, up to {age_s:.1f} s, {errors:g} calls failed; "
        f"retries {report.retries}, ack {report.ack_ms}"
    )
    assert waiting > 0
    assert errors > 0
    assert report.ok, report.text()
    assert not report.retries
