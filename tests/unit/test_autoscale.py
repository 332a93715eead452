"""When a process more is started and one is stopped: for any load, bounds and pace, in rounds of the test's clock."""

import math
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from quizcast.autoscale.decision import Bounds, Decision, Measure, Pace, Past, decide

ROUND_S = 15.0
UP, DOWN = 100.0, 60.0
BEGAN = 1_000_000.0

bounds = st.builds(lambda least, more: Bounds(least=least, most=least + more), st.integers(1, 6), st.integers(0, 12))
paces = st.builds(lambda up, down: Pace(up_s=up, down_s=down), st.integers(0, 120), st.integers(0, 600))
loads = st.floats(0, 3000)


def measure(load: float, *, shared: bool = True) -> Measure:
    return Measure(name="load", value=load, up=UP, down=DOWN, shared=shared)


def counts(bounds: Bounds, pace: Pace, count: int, values: Iterable[float], *, shared: bool = True) -> list[int]:
    """How many processes there are after each round, with this load in each."""
    past, found = Past(), []
    for turn, value in enumerate(values):
        decision = decide(bounds, pace, count, [measure(value, shared=shared)], past, BEGAN + turn * ROUND_S)
        count, past = count + decision.step, decision.past
        found.append(count)
    return found


def once(count: int, *measures: Measure, past: Past | None = None) -> Decision:
    return decide(Bounds(least=1, most=4), Pace(), count, measures, past or Past(), BEGAN)


@given(bounds, paces, st.integers(0, 30), st.lists(loads, max_size=60), st.booleans())
def test_whatever_the_load_there_is_one_step_at_a_time_and_none_out_of_the_bounds(
    bounds: Bounds, pace: Pace, first: int, values: list[float], shared: bool
) -> None:
    before = first
    for count in counts(bounds, pace, first, values, shared=shared):
        assert abs(count - before) <= 1
        assert bounds.least <= count <= bounds.most or abs(count - bounds.most) < abs(before - bounds.most)
        before = count


@given(bounds, paces, st.integers(1, 30), loads, st.booleans())
def test_on_a_load_that_stays_no_step_is_ever_taken_back(
    bounds: Bounds, pace: Pace, first: int, load: float, shared: bool
) -> None:
    found = [first, *counts(bounds, pace, first, [load] * 200, shared=shared)]
    inside = found[next((turn for turn, count in enumerate(found) if bounds.least <= count <= bounds.most), 0) :]
    assert inside in (sorted(inside), sorted(inside, reverse=True))


def test_no_load_at_all_lies_where_one_process_less_is_at_once_one_too_few() -> None:
    six = Bounds(least=1, most=6)
    for first in range(1, 7):
        for load in range(0, 700, 5):
            found = [first, *counts(six, Pace(up_s=0, down_s=0), first, [float(load)] * 12)]
            assert found in (sorted(found), sorted(found, reverse=True)), load


@given(bounds, paces, st.floats(0, 3000))
def test_a_load_that_comes_at_once_is_met_as_soon_as_the_pace_allows(bounds: Bounds, pace: Pace, load: float) -> None:
    enough = min(bounds.most, max(bounds.least, math.ceil(load / UP)))
    rounds = (enough - bounds.least) * max(1, math.ceil(pace.up_s / ROUND_S)) + 1
    assert counts(bounds, pace, bounds.least, [load] * rounds)[-1] == enough


@given(bounds, paces, st.floats(0, 3000))
def test_a_load_that_goes_lets_go_of_what_nobody_needs_and_of_no_more(bounds: Bounds, pace: Pace, load: float) -> None:
    rounds = (bounds.most - bounds.least) * (math.ceil(pace.down_s / ROUND_S) + 1) + 1
    left = counts(bounds, pace, bounds.most, [load] * rounds)[-1]
    assert left == bounds.least or load / (left - 1) >= DOWN
    assert load / left <= UP or left == bounds.most


def test_a_short_lull_lets_nobody_go() -> None:
    lull, load = [0.0] * 19, [150.0]  # 19 rounds are 285 s
    assert set(counts(Bounds(least=1, most=4), Pace(), 2, (load + lull) * 5)) == {2}


def test_what_is_not_known_asks_for_none_and_lets_none_go() -> None:
    unknown = measure(math.nan)
    assert once(1, unknown).step == 0
    idle = Past(idle_since=BEGAN - 3600)
    assert once(3, measure(0.0), past=idle).step == -1
    assert once(3, measure(0.0), unknown, past=idle).step == 0
    assert once(3, unknown, measure(900.0), past=idle).step == 1


def test_too_few_and_too_many_are_mended_without_waiting() -> None:
    just_now = Past(stepped_at=BEGAN)
    assert once(0, past=just_now).step == 1
    assert once(5, measure(900.0), past=just_now).step == -1


def test_a_clock_that_was_set_back_does_not_stop_it_for_long() -> None:
    assert once(1, measure(900.0), past=Past(stepped_at=BEGAN + 86400)).step == 1


def test_a_reason_names_the_figure_and_its_threshold() -> None:
    assert once(2, measure(300.0)).why == "load 150 above 100"
    assert "no more" in once(4, measure(900.0)).why
    assert "last step was 0 s ago" in once(2, measure(900.0), past=Past(stepped_at=BEGAN)).why
