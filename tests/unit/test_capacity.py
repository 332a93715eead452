"""The capacity arithmetic: what grows with what, what binds, and that the page is made from it."""

from itertools import pairwise

import msgspec
import pytest

from bench.capacity import BEGIN, END, PAGE, PARTICIPANTS, Constants, page, read_constants, written
from bench.needs import STREAMS_MAX, Assumed, Measured, heard, plan, reachable

MEASURED = Measured(
    push_us=20.0,
    delivery_us=15.0,
    event_us=500.0,
    message_us=140.0,
    answer_us=160.0,
    close_us=50.0,
    score_us=15.0,
    confirm_us=2.0,
    confirm_game_us=250.0,
    watch_us=1_600.0,
    deadline_us=4.0,
    stream_kb=12.0,
    process_mb=52.0,
    stored_per_s=20_000.0,
    redis_event_us=350.0,
    redis_hub_us=7.0,
    redis_line_us=200.0,
    redis_answer_us=25.0,
    redis_answer_apart_us=40.0,
    redis_close_us=4.0,
    redis_confirm_us=7.0,
    redis_confirm_game_us=43.0,
    redis_watch_us=160.0,
    redis_deadline_us=1.0,
    redis_kb=0.2,
)


def test_a_game_is_heard_by_no_more_processes_than_there_are_and_by_no_more_than_it_has_people() -> None:
    assert heard(20, 1) == 1
    assert 1.9 < heard(20, 2) <= 2
    assert 19 < heard(20, 1000) <= 20


def test_a_shard_reaches_as_many_processes_as_fit_into_its_share_of_the_push_budget() -> None:
    assert reachable(MEASURED, Assumed(push_ms=50, busy=0.5)) == (25_000 - 350) // 7


def test_one_game_is_bound_by_the_push_budget_and_gives_way_when_it_is_wider() -> None:
    tight = plan(MEASURED, Assumed(push_ms=40), 100_000, 100_000)
    wide = plan(MEASURED, Assumed(push_ms=1000), 100_000, 100_000)
    assert (tight.web, tight.web_because) == (50, "push")
    assert wide.web < tight.web
    assert wide.usd < tight.usd


def test_small_games_are_bound_by_work_and_never_by_the_push_budget() -> None:
    found = plan(MEASURED, Assumed(), 100_000, 20)
    assert found.games == 5000
    assert found.web_because == "CPU"
    assert found == plan(MEASURED, Assumed(push_ms=1), 100_000, 20)


@pytest.mark.parametrize("size", [None, 20])
def test_more_participants_never_need_less(size: int | None) -> None:
    plans = [plan(MEASURED, Assumed(), people, size or people) for people in PARTICIPANTS]
    for smaller, larger in pairwise(plans):
        for name in ("web", "workers", "redis", "shards", "proxy", "gb", "vcpus", "traffic_mbit", "usd"):
            assert getattr(smaller, name) <= getattr(larger, name), name


def test_no_process_holds_more_streams_than_it_may() -> None:
    idle = msgspec.structs.replace(MEASURED, push_us=0.0)
    found = plan(idle, Assumed(busy=1.0, question_s=1e9, answer_s=1e9), STREAMS_MAX * 7, STREAMS_MAX * 7)
    assert (found.web, found.web_because) == (7, "streams")


def test_one_game_stays_on_one_shard_however_much_it_asks_of_it() -> None:
    found = plan(MEASURED, Assumed(), 1_000_000, 1_000_000)
    assert found.redis > 1
    assert found.shards == 1
    assert found.answers_s == pytest.approx(25.0)


def test_every_process_reads_every_deadline_once_it_is_near() -> None:
    few, many = (plan(MEASURED, Assumed(question_s=10), people, 20) for people in (10_000, 100_000))
    assert few.watch_share == pytest.approx((1_600 + 50 * 4) / 1e6)
    assert many.watch_share == pytest.approx((1_600 + 500 * 4) / 1e6)
    assert many.redis_watch == pytest.approx(many.web * (160 + 500 * 1) / 1e6 / Assumed().busy)


def test_telling_of_every_group_of_answers_grows_with_processes_until_it_is_limited() -> None:
    few, many = (plan(MEASURED, Assumed(), people, people) for people in (10_000, 100_000))
    limited = plan(MEASURED, Assumed(progress_s=4), 100_000, 100_000)
    assert many.progress_share == pytest.approx(few.progress_share * many.web / few.web)
    assert limited.progress_share == pytest.approx(4 * 140 / 1e6)


def test_keeping_a_game_together_and_the_proposed_changes_save_work() -> None:
    now = plan(MEASURED, Assumed(), 100_000, 20)
    together = plan(MEASURED, Assumed(together=True), 100_000, 20)
    tuned = plan(MEASURED.tuned(), Assumed(together=True), 100_000, 20)
    assert tuned.usd <= together.usd < now.usd
    assert tuned.redis < together.redis < now.redis


def test_memory_is_paid_for_when_there_is_more_of_it_than_comes_with_the_cores() -> None:
    lean, fat = plan(MEASURED, Assumed(), 10_000, 10_000), plan(MEASURED, Assumed(base_gb=500), 10_000, 10_000)
    assert lean.machine_gb == lean.vcpus * Assumed().gb_per_vcpu
    assert fat.machine_gb > 500
    assert fat.usd - lean.usd == pytest.approx((fat.machine_gb - lean.machine_gb) * Assumed().usd_gb)


def test_the_page_keeps_everything_but_the_marked_block() -> None:
    block = written(Constants(made="Made up.", measured=MEASURED), Assumed())
    text = page(f"before\n\n{BEGIN}old\n{END}\n\nafter\n", block)
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert "1,000,000" in text
    assert page(text, block) == text
    with pytest.raises(ValueError, match="capacity"):
        page("no marks", block)


def test_docs_capacity_is_what_the_arithmetic_makes_of_the_constants() -> None:
    text = PAGE.read_text()
    assert text == page(text, written(read_constants(), Assumed())), "make capacity"
