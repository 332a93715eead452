"""Whether one process more, or one less, or none: a pure function of what was measured and of what was before.

Invariants: never a step out of the bounds, never more than one process at once, and on a load that stays as it is
never a step back. A process more is wanted where a measure is above its `up`; one less only where what is left would
be below `down` with one process fewer, and for a while.
"""

from collections.abc import Sequence

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """So many processes at least and at most."""

    least: int
    most: int


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long after any step the next may add one, and for how long little must go on before one may go; seconds."""

    up_s: float = 30.0
    down_s: float = 300.0


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and its thresholds, `down` below `up`. What is `shared` is a sum that the processes bear in equal parts.

    A value of NaN is one that is not known: it asks for no process more, and lets none go.
    """

    name: str
    value: float
    up: float
    down: float
    shared: bool = True

    def with_processes(self, count: int) -> float:
        """The figure of one process, were there so many."""
        return self.value / max(1, count) if self.shared else self.value


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between two looks: when the last step was made, and since when one process is too many."""

    stepped_at: float = 0.0
    idle_since: float = 0.0  # 0: it is not


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How many processes more (-1, 0 or 1), why, and what to remember once that is done."""

    step: int
    why: str
    past: Past


def decide(bounds: Bounds, pace: Pace, count: int, measures: Sequence[Measure], past: Past, now: float) -> Decision:
    """What to do about `count` processes that bear what was measured; `now` and the times of `past` are one clock's."""
    if now < max(past.stepped_at, past.idle_since):  # somebody has set the clock back
        past = Past()
    if count < bounds.least:
        return _step(1, f"fewer than {bounds.least}", now)
    if count > bounds.most:
        return _step(-1, f"more than {bounds.most}", now)
    rested_s = now - past.stepped_at
    high = next((one for one in measures if one.with_processes(count) > one.up), None)
    if high is not None:
        why = f"{high.name} {high.with_processes(count):.3g} above {high.up:g}"
        past = Past(stepped_at=past.stepped_at)
        if count == bounds.most:
            return Decision(step=0, why=f"{why}, but there may be no more", past=past)
        if rested_s < pace.up_s:
            return Decision(step=0, why=f"{why}, but the last step was {rested_s:.0f} s ago", past=past)
        return _step(1, why, now)
    told = ", ".join(f"{one.name} {one.with_processes(count):.3g}" for one in measures)
    if count == bounds.least or not all(one.with_processes(count - 1) < one.down for one in measures):
        return Decision(step=0, why=told, past=Past(stepped_at=past.stepped_at))
    idle_since = past.idle_since or now
    idle_s = now - max(idle_since, past.stepped_at)
    if idle_s < pace.down_s:
        past = Past(stepped_at=past.stepped_at, idle_since=idle_since)
        return Decision(step=0, why=f"{told}: one too many for {idle_s:.0f} s", past=past)
    return _step(-1, f"{told}: one too many for {idle_s:.0f} s", now)


def _step(step: int, why: str, now: float) -> Decision:
    return Decision(step=step, why=why, past=Past(stepped_at=now))
