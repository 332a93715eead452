"""Whether a process is of use at the moment, and what it lacks: what `/readyz` says; inside `web`.

Its own answer comes soon, however slow the servers are; `slow` is a state that takes requests still.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from quizcast.errors import Draining, QuizcastError
from quizcast.vitals import files_left, free_bytes
from quizcast.web.protocol import FILES_KEPT
from quizcast.web.services import Services

SLOW_S = 0.25  # an answer that took so long; a question would be late by it
# So long a look at a server is good for all who ask: balancers ask each process, each of them often, and what a look
# writes Redis has to sync.
FRESH_S = 1.0
WAIT_S = 2.0  # for the servers, however long a request would wait: who asks has to know soon
DISK_LOW_BYTES = 256 * 1024 * 1024  # room for about a million answers

SKEW_MAX_MS = 2000.0  # between Redis's clock and ours, by which tokens expire

OK, SLOW, LOW, SKEWED, FULL, SILENT = "ok", "slow", "low", "skewed", "full", "silent"
USABLE = frozenset({OK, SLOW, LOW, SKEWED})


class Readiness:
    """The checks of one process; `look` is safe to call from many requests at once."""

    def __init__(self) -> None:
        self._looks: dict[str, tuple[float, asyncio.Task[tuple[str, float, str]]]] = {}  # when it began

    async def look(self, services: Services) -> tuple[bool, dict[str, Any]]:
        """Whether this process takes requests, and each check's state, duration and, if there is one, reason."""
        servers = {"redis": services.live.check, "postgres": services.db.check}
        looks = await asyncio.gather(*(self._looked(name, check) for name, check in servers.items()))
        checks = {name: state for name, state, _, _ in looks}
        ahead_ms = services.live.now() - time.time() * 1000
        checks["clock"] = SKEWED if abs(ahead_ms) > SKEW_MAX_MS else OK
        checks["disk"] = LOW if free_bytes(services.settings.data_dir) < DISK_LOW_BYTES else OK
        checks["files"] = FULL if files_left() <= FILES_KEPT else OK
        checks["draining"] = Draining.code if services.hub.draining else OK
        ready = USABLE.issuperset(checks.values())
        return ready, {
            "status": "ready" if ready else "not ready",
            "checks": checks,
            "took_ms": {name: round(took_s * 1000, 1) for name, _, took_s, _ in looks},
            "reasons": {name: reason for name, _, _, reason in looks if reason},
        }

    async def _looked(self, name: str, check: Callable[[], Awaitable[None]]) -> tuple[str, str, float, str]:
        now = time.monotonic()
        began, task = self._looks.get(name, (0.0, None))
        if task is None or (task.done() and now - began >= FRESH_S):
            # Left to its end, for the next who asks to wait for too, and not cancelled: psycopg then calls the query
            # off at the server first, and waits for that without end when the server is silent.
            began, task = now, asyncio.create_task(_checked(check), name=f"check {name}")
            self._looks[name] = began, task
        await asyncio.wait({task}, timeout=WAIT_S)
        state, took_s, reason = task.result() if task.done() else (SILENT, time.monotonic() - began, "")
        return name, (SLOW if state == OK and took_s > SLOW_S else state), took_s, reason


async def _checked(check: Callable[[], Awaitable[None]]) -> tuple[str, float, str]:
    began = time.monotonic()
    state, reason = OK, ""
    try:
        await check()
    except QuizcastError as error:
        state, reason = error.code, error.detail
    return state, time.monotonic() - began, reason
