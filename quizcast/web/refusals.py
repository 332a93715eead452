"""Those who are refused at once: thousands of them maybe, told a slice at a time and counted together; in `web`.

Refused as they are read, they would take whole turns of the loop one after the other: reading goes on as long as many
lines have something to say, and a line that has its answer soon has. Those who were let in would wait for as many as
can be refused, and then for the next ones.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import cycle
from typing import Protocol

from prometheus_client import Counter

from quizcast.errors import QuizcastError
from quizcast.web.http import Endpoint, problem, request_timer
from quizcast.web.protocol import RawHeaders, written

SLICE_S = 0.025  # in one turn of the loop: who is let in needs as long in each, for a group
BEHIND_S = 0.1  # four slices: with so many to refuse, who is let in would wait for all of them

log = logging.getLogger(__name__)


class Line(Protocol):
    """What is asked of a connection."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def head(self, status: int, headers: RawHeaders) -> bytes:
        """A reply's head, up to where a body's length would be told."""

    def refuse(self, said: bytes) -> None:
        """Say so to who has waited for it."""


class Refusal:
    """How one kind of request is refused: what differs is when to come back, so that not all do it together."""

    def __init__(self, endpoint: Endpoint, kind: type[QuizcastError], seconds: Iterable[int], refused: Counter) -> None:
        replies = [problem(kind(retry_after_s=some)) for some in seconds]
        self.status = replies[0][0]
        self.rests = cycle([written(headers, body) for _, headers, body in replies])  # behind the head, in turn
        self.timer = request_timer(endpoint.method, endpoint.path, self.status)
        self.refused = refused


class Refusals:
    """Who is about to be refused, and has waited for that since when."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Line, Refusal]] = deque()
        self._going = False

    @property
    def behind(self) -> bool:
        """Whether even those who are refused wait for long: until that is over, no more than a few are to be let in."""
        return bool(self._waiting) and time.perf_counter() - self._waiting[0][0] > BEHIND_S

    def add(self, line: Line, refusal: Refusal) -> None:
        """Refuse it in its turn."""
        self._waiting.append((time.perf_counter(), line, refusal))
        if not self._going:
            self._going = True
            line.loop.call_soon(self._go_on, line.loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        until = time.perf_counter() + SLICE_S
        waited: defaultdict[Refusal, list[float]] = defaultdict(list)
        heads: dict[Refusal, bytes] = {}
        while self._waiting:
            since, line, refusal = self._waiting.popleft()
            if refusal not in heads:  # with the date of this slice
                heads[refusal] = line.head(refusal.status, ())
            try:
                line.refuse(heads[refusal] + next(refusal.rests))
            except Exception:  # the others wait for their turn
                log.exception("a line could not be served behind a refusal")
                line.transport.abort()
            now = time.perf_counter()
            waited[refusal].append(now - since)
            if now >= until:
                break
        for refusal, seconds in waited.items():
            refusal.timer.observe_all(seconds)
            refusal.refused.inc(len(seconds))
        self._going = bool(self._waiting)
        if self._going:
            loop.call_soon(self._go_on, loop)
