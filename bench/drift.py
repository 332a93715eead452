"""Whether a figure that was looked at again and again has grown: the test behind `make soak`.

The slope is the median of the slopes between all pairs of looks (Theil and Sen), so that a spike, a collection of
garbage or a slow minute in it does not count, and steady growth does, however small from one look to the next.
"""

import itertools
import statistics
from collections.abc import Sequence

import msgspec

GROWTH_MAX = 0.05  # over the whole run after its warm-up
WARM_UP = 0.25  # share of the run: caches fill, pools open, the allocator finds its size
LOOKS_MIN = 4  # after the warm-up; of fewer no slope can be told


class Look(msgspec.Struct, frozen=True):
    """One look at a figure: seconds since the start, and what it was."""

    at_s: float
    value: float


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A figure after its warm-up: its median in the first and in the last third, and how much it grew by its slope."""

    first: float
    last: float
    growth: float

    def flat(self, *, whole: bool) -> bool:
        """Whether it does not grow. A figure that counts `whole` things has not grown by less than one of them."""
        return self.growth <= max(GROWTH_MAX * self.first, 0.99 if whole else 0.0)


def drift(looks: Sequence[Look]) -> Drift:
    """How a figure drifted. Raises `ValueError` when there were too few looks to tell."""
    begin = looks[0].at_s + WARM_UP * (looks[-1].at_s - looks[0].at_s) if looks else 0.0
    warm = [one for one in looks if one.at_s >= begin]
    if len(warm) < LOOKS_MIN:
        raise ValueError(f"{len(warm)} looks after the warm-up, and {LOOKS_MIN} are needed")
    slope = statistics.median(
        (later.value - one.value) / (later.at_s - one.at_s) for one, later in itertools.combinations(warm, 2)
    )
    third = max(1, len(warm) // 3)
    return Drift(
        first=statistics.median(one.value for one in warm[:third]),
        last=statistics.median(one.value for one in warm[-third:]),
        growth=slope * (warm[-1].at_s - warm[0].at_s),
    )
