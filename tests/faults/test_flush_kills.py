"""Workers and Postgres, killed while answers are on their way from one to the other."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from urllib.parse import unquote, urlsplit

import psycopg

from tests.faults.proxy import Proxy
from tests.faults.stage import USERS, Play, Stage
from tests.fix_tree import wait_until
from tests.fix_web import start_part

DRAIN_S = 10.0  # after an outage; the start of a worker and thousands of rows
NO_WORKER_S, NO_POSTGRES_S = 20.0, 15.0
HELD_UP = """
SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE games%'
  AND relation = 'answers'::regclass AND mode = 'RowExclusiveLock' AND granted
"""


@contextlib.contextmanager
def batches_held_up(stage: Stage) -> Iterator[None]:
    """Whoever stores a batch waits after the COPY of the answers, before the commit, until this ends."""
    with contextlib.closing(psycopg.connect(stage.services.database_url)) as holder:
        # What follows the COPY is an UPDATE of the game; foreign keys may still point to it.
        holder.execute("SELECT FROM games FOR NO KEY UPDATE")
        yield


def asked(stage: Stage, query: str) -> int:
    """A number from Postgres."""
    with psycopg.connect(stage.services.database_url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@contextlib.contextmanager
def another_worker(stage: Stage, folder: Path) -> Iterator[tuple[Popen[bytes], Proxy]]:
    """A worker beside the tree, and its own line to Redis; at the end it is killed."""
    with Proxy(unquote(urlsplit(stage.services.redis_url).path)) as line:
        env = stage.env | {"QUIZCAST_REDIS_URL": f"redis://127.0.0.1:{line.port}"}
        worker = start_part(folder / "worker.log", env, "worker")
        try:
            yield worker, line
        finally:
            worker.kill()
            worker.wait()


def test_a_whole_game_is_played_without_a_worker_and_its_answers_arrive_once_there_is_one(stage: Stage) -> None:
    with stage.without_workers():
        play = Play(stage.tree.url, settle_s=60.0)
        play.until(lambda now: now.stage == "checking")
        wait_until(lambda: stage.metric("quizcast_queue_age_seconds") > NO_WORKER_S)
        waiting = stage.metric("quizcast_queue_depth")
    took_s = stage.drained()
    print(f"no worker for {NO_WORKER_S:g} s: {waiting:.0f} rows waited, drained {took_s:.1f} s after one could start")
    report = play.report()
    assert report.ok, report.text()
    assert waiting >= 4 * USERS  # a join and three answers each
    assert took_s < DRAIN_S


def test_a_batch_whose_worker_is_killed_before_the_commit_is_stored_by_the_next(stage: Stage, tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        with stage.without_workers():
            play = Play(stage.tree.url, settle_s=60.0, answer_window_ms=4000)  # a worker takes its time to start
            play.until_mid_question(0)
            held.enter_context(batches_held_up(stage))
            with another_worker(stage, tmp_path):
                wait_until(lambda: asked(stage, HELD_UP) == 1)
        # Where the first one's rows are, uncommitted, the next one's attempt has to wait.
        play.until_mid_question(2)
    took_s = stage.drained()
    print(f"a worker killed between COPY and commit: drained {took_s:.1f} s after the next could go on")
    report = play.report()
    assert report.ok, report.text()
    assert took_s < DRAIN_S


def test_a_batch_whose_worker_is_killed_after_the_commit_is_not_counted_twice(stage: Stage, tmp_path: Path) -> None:
    with stage.without_workers():
        play = Play(stage.tree.url, settle_s=60.0)
        play.until_mid_question(0)
        before = asked(stage, "SELECT count(*) FROM answers")
        with another_worker(stage, tmp_path) as (_, line):
            with batches_held_up(stage):
                wait_until(lambda: asked(stage, HELD_UP) == 1)
                line.silent = True  # so that the trim which follows the commit never arrives
            wait_until(lambda: asked(stage, "SELECT count(*) FROM answers") > before)
        stored = asked(stage, "SELECT count(*) FROM answers") - before
        waiting = stage.metric("quizcast_queue_depth")
    report = play.report()
    print(f"a worker killed between commit and trim: {stored} answers were stored and still waiting")
    assert report.ok, report.text()
    assert 0 < stored < waiting


def test_a_started_game_goes_on_while_postgres_is_dead_and_its_answers_arrive_afterwards(stage: Stage) -> None:
    play = Play(stage.tree.url, settle_s=60.0, questions=4)
    play.until_mid_question(0)
    with batches_held_up(stage):
        wait_until(lambda: asked(stage, HELD_UP) == 1)
        stage.kill_server("postgres")
    began = time.monotonic()
    play.until_mid_question(3)
    wait_until(lambda: time.monotonic() - began > NO_POSTGRES_S)
    aged_s = stage.metric("quizcast_queue_age_seconds")
    stage.services.restart("postgres")
    took_s = stage.drained()
    report = play.report()
    print(f"Postgres down for {NO_POSTGRES_S:g} s: oldest row {aged_s:.1f} s, drained after {took_s:.1f} s;")
    print(f"answers meanwhile: {report.ack_ms}, sent again {report.retries}")
    assert report.ok, report.text()
    assert aged_s > NO_POSTGRES_S - 1
    assert took_s < DRAIN_S
