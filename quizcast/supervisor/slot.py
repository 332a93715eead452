"""A place in the tree that is to be filled as long as the tree stands; part of floor 8.

What dies is started again: at once the first time, then after longer and longer pauses. What has never stayed up and
dies five times in a row will not get better by trying.
"""

import logging
import signal
import time
from collections.abc import Callable

from quizcast.errors import ProcessFailed
from quizcast.supervisor.child import Child

STEADY_S = 5.0  # who lives so long has started well
TRIES = 5
PAUSE_S = 0.5  # after the second death; doubles with every further one
PAUSE_MAX_S = 10.0
RENEWAL_MAX_S = 60.0  # for a replacement to be ready, else the old process stays

log = logging.getLogger(__name__)


class Slot:
    """One named place. `start` makes a new process for it; `ended` is told each process that has gone."""

    def __init__(self, name: str, start: Callable[[], Child], ended: Callable[[Child], None]) -> None:
        """Fill it for the first time."""
        self.name = name
        self.child: Child | None = None
        self.deaths = 0  # in a row, each soon after its start
        self._start = start
        self._ended = ended
        self._due_at = 0.0
        self._proven = False
        self._replacement: Child | None = None
        self._leaving: list[Child] = []
        self.tend()

    @property
    def children(self) -> list[Child]:
        """All processes of this slot that may be running."""
        return [child for child in (self.child, self._replacement, *self._leaving) if child is not None]

    @property
    def ready(self) -> bool:
        """Whether its process takes requests."""
        return self.child is not None and self.child.ready

    @property
    def renewing(self) -> bool:
        """Whether a replacement is starting."""
        return self._replacement is not None

    def tend(self) -> None:
        """Look after it; to be called often. Raises `ProcessFailed` when there is no point in going on."""
        self._tend_leaving()
        self._tend_replacement()
        if self.child is not None:
            if self.child.status is None:
                if self.child.age_s > STEADY_S:
                    self._proven, self.deaths = True, 0
                return
            self._bury(self.child)
        if self.child is None and time.monotonic() >= self._due_at:
            self.child = self._start()

    def renew(self) -> None:
        """Start a replacement; when it is ready the present process is asked to go."""
        if self._replacement is None:
            self._replacement = self._start()

    def _bury(self, child: Child) -> None:
        self.child = None
        self.deaths = self.deaths + 1 if child.age_s < STEADY_S else 1
        if self.deaths >= TRIES and not self._proven:
            raise ProcessFailed(
                f"{self.name} does not stay up: it ended {self.deaths} times in a row, at last with "
                f"{_how(child)}. The end of what it said:\n{child.last_words}"
            )
        pause_s = 0.0 if self.deaths == 1 else min(PAUSE_MAX_S, PAUSE_S * 2.0 ** (self.deaths - 2))
        self._due_at = time.monotonic() + pause_s
        when = f"in {pause_s:g} s" if pause_s else "now"
        log.warning("%s (process %d) ended with %s; it starts again %s", self.name, child.pid, _how(child), when)
        self._ended(child)

    def _tend_leaving(self) -> None:
        for child in [child for child in self._leaving if child.status is not None]:
            self._leaving.remove(child)
            self._ended(child)

    def _tend_replacement(self) -> None:
        fresh = self._replacement
        if fresh is None:
            return
        if fresh.ready:
            if self.child is not None:
                self.child.send(signal.SIGTERM)
                self._leaving.append(self.child)
            self.child, self._replacement = fresh, None
            log.info("%s is process %d now", self.name, fresh.pid)
        elif fresh.status is not None or fresh.age_s > RENEWAL_MAX_S:
            log.error("the new %s does not start; the old one stays. It said:\n%s", self.name, fresh.last_words)
            fresh.send(signal.SIGKILL)
            self._leaving.append(fresh)
            self._replacement = None


def _how(child: Child) -> str:
    status = child.status or 0
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
