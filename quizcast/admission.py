"""Who is let in where more come than can be: how long people may wait, and how many tries they have; floor 5.

Nothing here knows what it is that people want. Each of the three is asked with every request: they keep a number or
two, and no list of times.
"""

import math
import time

# Of the longest wait, where more comes than can be taken.
STANDING_SHARE = 0.15
# Of that, for the wait that the next is reckoned to have: should more come, refusing them slows all down.
RECKONED_SHARE = 0.5
PACE_WINDOW_S = 4.0  # over which a participant's answers are counted: a few retries in a row are no hammering


class Patience:
    """How long people may wait before the next is refused: `wait_s` in a burst, and where it is none, less.

    A burst begins when nobody waits, and lasts for `wait_s` at most; none begins within `wait_s` of a refusal, for then
    more comes than can be taken, and nobody gains by waiting. `now` by one clock, whichever.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._calm_at = self._over_at = -math.inf

    def calm(self, now: float) -> None:
        """Nobody waits."""
        self._calm_at = now

    def over(self, now: float, waited_s: float, reckoned_s: float) -> bool:
        """Whether the next is refused: by how long the first has waited, and by how long the next would have to."""
        in_burst = now - self._calm_at < self._wait_s < now - self._over_at
        most_s = self._wait_s if in_burst else self._wait_s * STANDING_SHARE
        over = waited_s > most_s or reckoned_s > most_s * RECKONED_SHARE
        if over:
            self._over_at = now
        return over


class Bucket:
    """So many a second, and one second's worth at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second
        self._at = time.monotonic()

    def left(self) -> bool:
        """Whether there is something to take."""
        now = time.monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        return self._left >= 1

    def take(self) -> bool:
        """Take one, if there is one."""
        if not self.left():
            return False
        self._left -= 1
        return True


class Pace:
    """So many tries of each participant in a window; all windows begin together, and are forgotten together."""

    def __init__(self, per_second: float) -> None:
        self._tries_max = round(per_second * PACE_WINDOW_S)
        self._tries: dict[str, int] = {}
        self._until = 0.0

    def count(self, participant_id: str) -> float | None:
        """Count a try; seconds to wait when it is one too many."""
        now = time.monotonic()
        if now >= self._until:
            self._tries, self._until = {}, now + PACE_WINDOW_S
        tries = self._tries[participant_id] = self._tries.get(participant_id, 0) + 1
        return None if tries <= self._tries_max else self._until - now
