"""The doorbell broken: pub/sub connections that are cut, or that fall silent, while a crowd plays."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.proxy import Link
from tests.faults.stage import Play, Stage

FOUND_MS = 1000  # an event that was published into the gap has reached everybody by then


def test_what_a_cut_subscription_missed_is_read_from_the_log_within_a_second(stage: Stage) -> None:
    _nothing_missed(stage, "cut", 0.3, lambda: stage.redis.cut(_subscribes))


def test_what_a_silent_subscription_missed_is_read_from_the_log_within_a_second(stage: Stage) -> None:
    _nothing_missed(stage, "silent", 1.0, lambda: stage.redis.silence(_subscribes))


def _subscribes(link: Link) -> bool:
    return link.subscribes


def _nothing_missed(stage: Stage, what: str, every_s: float, harm: Callable[[], int]) -> None:
    before = stage.metric("quizcast_log_holes_total")
    with _again_and_again(every_s, harm):
        report = Play(stage.tree.url).report()
    holes = stage.metric("quizcast_log_holes_total") - before
    print(f"{what} subscriptions: {holes:g} holes filled from the log, events reach everybody in ms: {report.push_ms}")
    assert report.ok, report.text()
    assert holes > 0
    assert report.push_ms.max < FOUND_MS


@contextmanager
def _again_and_again(every_s: float, harm: Callable[[], int]) -> Iterator[None]:
    """The subscriptions are whole for a moment at most: whatever is published finds most of them deaf."""
    done, harmed = threading.Event(), 0

    def run() -> None:
        nonlocal harmed
        while not done.wait(every_s):
            harmed += harm()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if not harmed:
        pytest.fail("no subscription was harmed")
