"""How far a replica is behind, measured against the primary and not by its own word; inside `store`.

A replica that has lost its primary believes that it has everything. So the primary is asked how far its log goes, now
and then; a replica that has replayed up to there is no further behind than that was ago.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

import psycopg

from quizcast.metrics import REPLICA_LAG
from quizcast.store.shipped import query

SAMPLE_EVERY_S = 1.0

Ask = Callable[[bytes], Awaitable[int]]  # runs a query that returns a place in the log, in bytes


class Log:
    """Where the primary's log ended, at some moments of the last `bound_s` seconds."""

    def __init__(self, bound_s: float, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._bound_s = bound_s
        self._ask = ask
        self._clock = clock
        self._ends: deque[tuple[float, int]] = deque()  # the latest last
        self._asking = asyncio.Lock()
        self._asked_at = -math.inf

    async def is_fresh(self, name: str, replica: Ask) -> bool:
        """Whether this replica misses nothing that is older than the bound.

        Raises what `replica` raises. Without a primary nobody can tell: once the bound is past, the answer is no.
        """
        await self._sample()
        replayed = await replica(query("log_end"))
        now = self._clock()
        reached = [at for at, end in self._ends if end <= replayed and at >= now - self._bound_s]
        # Unknown is shown as the bound: it is at least that.
        REPLICA_LAG.labels(name).set(now - reached[-1] if reached else self._bound_s)
        return bool(reached)

    async def _sample(self) -> None:
        async with self._asking:
            now = self._clock()
            if now < self._asked_at + SAMPLE_EVERY_S:
                return
            self._asked_at = now
            while self._ends and self._ends[0][0] < now - self._bound_s:
                self._ends.popleft()
            with contextlib.suppress(psycopg.OperationalError):  # it is away; what it has said before still holds
                # The moment before the question: whatever was committed by then lies before the end that comes back.
                self._ends.append((now, await self._ask(query("log_end"))))
