"""Who is connected, as one process knows it, reported to Redis in batches; floor 5.

Arrivals and departures of a fifth of a second travel together, and everybody who is here is confirmed well before
their entry expires. A process that dies confirms nobody any more, so its people count as gone a little later.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable

from quizcast.errors import RedisUnavailable
from quizcast.live.redis import Live

REPORT_EVERY_S = 0.2
CONFIRM_EVERY_S = 4.0  # under GONE_MS: one process may learn of a dead line when another has long had the new one
HERE_MS = 10_000  # two and a half confirmations
GONE_MS = 5_000  # a phone that changes its antenna, or a browser told to reconnect, is back by then
CHUNK = 1000  # participants per script call


class Presence:
    """Counts this process's streams per participant; `run` reports them until cancelled."""

    def __init__(self, live: Live, all_answered: Callable[[str], None]) -> None:
        self._live = live
        self._all_answered = all_answered
        self._streams: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._came: defaultdict[str, set[str]] = defaultdict(set)
        self._left: defaultdict[str, set[str]] = defaultdict(set)

    def arrived(self, game_id: str, participant_id: str) -> None:
        """A stream of theirs has opened, or they asked for the state."""
        self._streams[game_id][participant_id] += 1
        self._came[game_id].add(participant_id)
        self._left[game_id].discard(participant_id)

    def left(self, game_id: str, participant_id: str) -> None:
        """A stream of theirs has ended."""
        streams = self._streams[game_id]
        streams[participant_id] -= 1
        if streams[participant_id] <= 0:
            del streams[participant_id]
            self._left[game_id].add(participant_id)
            self._came[game_id].discard(participant_id)
        if not streams:
            del self._streams[game_id]

    def seen(self, game_id: str, participant_id: str) -> None:
        """They spoke without holding a stream: here for as long as one confirmation lasts."""
        self._came[game_id].add(participant_id)

    async def run(self) -> None:
        """Report until cancelled. While Redis is away nothing is lost: the next round confirms everybody."""
        loop = asyncio.get_running_loop()
        confirmed_at = loop.time()
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            everybody = loop.time() - confirmed_at >= CONFIRM_EVERY_S
            if everybody:
                confirmed_at = loop.time()
            try:
                await self.report(everybody=everybody)
            except RedisUnavailable:
                confirmed_at = -CONFIRM_EVERY_S

    async def report(self, *, everybody: bool = False) -> None:
        """Send what changed; with `everybody`, confirm all who are here as well."""
        came, self._came = self._came, defaultdict(set)
        left, self._left = self._left, defaultdict(set)
        if everybody:
            for game_id, streams in self._streams.items():
                came[game_id].update(streams)
        for game_id in {*came, *left}:
            if await self._tell(game_id, list(came.get(game_id, ())), list(left.get(game_id, ()))):
                self._all_answered(game_id)

    async def sweep(self, game_id: str) -> bool:
        """Drop those who have been silent too long; True when nobody is waited for any more."""
        return await self._tell(game_id, [], [])

    async def _tell(self, game_id: str, here: list[str], gone: list[str]) -> bool:
        keys = self._live.keys
        complete = 0
        for first in range(0, max(len(here), len(gone), 1), CHUNK):
            some = here[first : first + CHUNK]
            complete = await self._live.script(
                "presence",
                [
                    keys.game(game_id),
                    keys.people(game_id),
                    keys.here(game_id),
                    keys.waiting(game_id),
                    keys.done(game_id),
                ],
                [
                    HERE_MS,
                    GONE_MS,
                    self._live.settings.game_ttl_s,
                    len(some),
                    *some,
                    *gone[first : first + CHUNK],
                ],
            )
        return bool(complete)
