"""What counts as growth in a long run: a slope that stays, not a spike, a step or noise."""

import random

import pytest

from bench.drift import LOOKS_MIN, Look, drift


def looks(*values: float) -> list[Look]:
    return [Look(20.0 * place, value) for place, value in enumerate(values)]


def test_a_leak_shows_however_small_it_is_from_one_look_to_the_next() -> None:
    rng = random.Random(1)
    leaking = looks(*(100 + 0.15 * place + rng.uniform(-2, 2) for place in range(60)))
    assert not drift(leaking).flat(whole=False)


def test_noise_and_spikes_are_no_growth() -> None:
    rng = random.Random(2)
    values = [100 + rng.uniform(-3, 3) for _ in range(60)]
    values[30] = values[50] = values[59] = 400
    assert drift(looks(*values)).flat(whole=False)


def test_what_warms_up_and_then_stays_is_flat() -> None:
    assert drift(looks(*(min(100, 40 + 6 * place) for place in range(60)))).flat(whole=False)


def test_what_shrinks_does_not_grow() -> None:
    assert drift(looks(*(100 - place for place in range(60)))).flat(whole=False)


def test_one_task_that_is_left_behind_by_each_game_shows_and_half_a_one_is_none() -> None:
    assert not drift(looks(*(11 + place for place in range(20)))).flat(whole=True)
    assert not drift(looks(*(11 + place // 10 for place in range(40)))).flat(whole=True)
    assert drift(looks(*(11 + place % 2 for place in range(40)))).flat(whole=True)


def test_of_too_few_looks_nothing_is_told() -> None:
    with pytest.raises(ValueError, match="looks after the warm-up"):
        drift(looks(*range(LOOKS_MIN)))
    with pytest.raises(ValueError, match="looks after the warm-up"):
        drift([])
