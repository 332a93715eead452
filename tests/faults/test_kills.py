"""Web processes that are killed, or hang, while a crowd plays."""

import os
import signal
import time

import redis
from msgspec import UNSET

from quizcast.simulate import Report
from tests.faults.stage import USERS, Play, Stage
from tests.fix_tree import wait_until

RESUME_P99_MS = 3000  # what is promised
TITLES = ("quizcast: web 0", "quizcast: web 1")


def hold(report: Report, what: str, *, resumed: int) -> None:
    """Nothing was lost or doubled, and at least so many have come back, in time."""
    print(f"{what}: back after {report.resume_ms or 'no loss'}, answers sent again {report.retries}")
    assert report.ok, report.text()
    assert report.resume_ms is not UNSET
    assert report.resume_ms.n >= resumed
    assert report.resume_ms.p99 < RESUME_P99_MS


def test_a_game_goes_on_when_a_web_process_is_killed_in_mid_question(stage: Stage) -> None:
    play = Play(stage.tree.url)
    play.until_mid_question(1)
    killed = stage.kill(TITLES[0])
    report = play.report()
    hold(report, "one of two web processes killed", resumed=USERS // 4)
    assert stage.tree.pid(TITLES[0]) != killed


def test_a_game_goes_on_when_one_web_process_is_killed_after_the_other_and_then_both_at_once(stage: Stage) -> None:
    """One of them at least is the one that the host plays through."""
    play = Play(stage.tree.url, questions=4)
    for index, titles in enumerate((TITLES[:1], TITLES[1:], TITLES), start=1):
        play.until_mid_question(index)
        wait_until(lambda titles=titles: all(stage.tree.pids(title) for title in titles))
        for title in titles:
            stage.kill(title)
    hold(play.report(), "each web process killed, then both", resumed=USERS)


def test_a_web_process_that_hangs_is_replaced_before_its_people_are_taken_for_gone(stage: Stage) -> None:
    play = Play(stage.tree.url)
    play.until_mid_question(1)
    hanging = stage.tree.pid(TITLES[0])
    os.kill(hanging, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: hanging not in stage.tree.pids())
    print(f"a web process that hangs is killed after {time.monotonic() - began:.1f} s")
    hold(play.report(), "one of two web processes hung", resumed=USERS // 4)


def test_a_question_is_closed_in_time_by_another_process_and_the_one_that_stood_still_does_no_harm(
    stage: Stage,
) -> None:
    play = Play(stage.tree.url, time_limit_ms=2000)
    play.until_mid_question(0)
    stopped = stage.tree.pid(TITLES[0])
    os.kill(stopped, signal.SIGSTOP)
    try:
        wait_until(lambda: not open_questions(stage), 4.0)  # 2 s and the grace; longer, and it would be killed
    finally:
        os.kill(stopped, signal.SIGCONT)
    report = play.report()
    print(f"a web process stood still past a deadline: refused {report.refusals}")
    assert stage.tree.pid(TITLES[0]) == stopped
    # Who was in that process was too late for one question, and missed nothing else.
    assert report.refusals.keys() <= {"question_closed"}
    assert {name for name, held in report.checks.items() if not held} <= {"every_answer_accepted"}, report.text()


def open_questions(stage: Stage) -> int:
    """In how many games a question is open, as Redis has it."""
    with redis.from_url(stage.services.redis_url) as client:
        return sum(client.zcard(key) for key in client.scan_iter("*:due"))
