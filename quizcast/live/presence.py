"""Who is connected, as one process knows it, reported to Redis in batches; floor 5.

Arrivals and departures of a fifth of a second travel together, and everybody who is here is confirmed well before
their entry expires. Each report drops those of its game who have been silent too long: so who loses somebody reports
that game once more when that is believed, and the people of a process that died are found gone by the next
confirmation of others. Nobody looks after games of which they have nobody; their questions end at the deadline.
"""

import asyncio
import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from quizcast.errors import RedisUnavailable
from quizcast.live.redis import Live

REPORT_EVERY_S = 0.2
CONFIRM_EVERY_S = 4.0  # under GONE_MS: one process may learn of a dead line when another has long had the new one
HERE_MS = 10_000  # two and a half confirmations
GONE_MS = 5_000  # a phone that changes its antenna, or a browser told to reconnect, is back by then
CHUNK = 1000  # participants per script call
TRIP = 300  # arguments per round trip, ten games of 20: half a ms of this process, a ms of Redis, and events wait
CALL = 10  # arguments of a call besides its participants


class _Report(NamedTuple):
    """Who of a game is here, and who has gone."""

    game_id: str
    here: list[str]
    gone: list[str]


class Presence:
    """Counts this process's streams per participant; `run` reports them until cancelled."""

    def __init__(self, live: Live, all_answered: Callable[[str], None]) -> None:
        """`all_answered` is told of each game where nobody is waited for any more, because of whom it lost."""
        self._live = live
        self._all_answered = all_answered
        self._streams: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._opening: Counter[tuple[str, str]] = Counter()
        self._came: defaultdict[str, set[str]] = defaultdict(set)
        self._left: defaultdict[str, set[str]] = defaultdict(set)
        self._seen: set[str] = set()
        self._confirm_now = False
        self._again: list[tuple[float, str]] = []  # a heap: when (monotonic) to report which game once more

    def streams(self, game_id: str, participant_id: str) -> int:
        """How many streams a participant has in this process, those that are being opened among them."""
        is_open = self._streams[game_id][participant_id] if game_id in self._streams else 0
        return is_open + self._opening[game_id, participant_id]

    @contextmanager
    def opening(self, game_id: str, participant_id: str) -> Iterator[None]:
        """A stream of theirs is being opened, and has then `arrived` or not."""
        self._opening[game_id, participant_id] += 1
        try:
            yield
        finally:
            self._opening[game_id, participant_id] -= 1
            if not self._opening[game_id, participant_id]:
                del self._opening[game_id, participant_id]

    def has(self, game_id: str) -> bool:
        """Whether a participant of the game has a stream in this process."""
        return game_id in self._streams

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
        self._seen.add(game_id)

    def confirm(self) -> None:
        """Confirm everybody with the next report: by Redis's clock, which was set, they are here no longer."""
        self._confirm_now = True

    async def run(self) -> None:
        """Report until cancelled. While Redis is away nothing is lost: the next round confirms everybody."""
        loop = asyncio.get_running_loop()
        confirmed_at = loop.time()
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            everybody = self._confirm_now or loop.time() - confirmed_at >= CONFIRM_EVERY_S
            if everybody:
                confirmed_at, self._confirm_now = loop.time(), False
            try:
                await self.report(everybody=everybody)
            except RedisUnavailable:
                confirmed_at = -CONFIRM_EVERY_S

    async def report(self, *, everybody: bool = False) -> None:
        """Send what changed, and what has run out since; with `everybody`, confirm all who are here as well."""
        came, self._came = self._came, defaultdict(set)
        left, self._left = self._left, defaultdict(set)
        seen, self._seen = self._seen, set()
        if everybody:
            for game_id, streams in self._streams.items():
                came[game_id].update(streams)
        games = {*came, *left, *self._due_again()}
        try:
            flags = await self._tell(
                _Report(game_id, list(came.get(game_id, ())), list(left.get(game_id, ()))) for game_id in games
            )
        except RedisUnavailable:
            self._could_not_tell(games)
            raise
        if untold := [game_id for game_id, flag in flags.items() if flag is None]:
            self._could_not_tell(untold)
            self.confirm()
        self._once_more([game_id for game_id, people in left.items() if people], GONE_MS)
        self._once_more(seen, HERE_MS)
        for game_id, flag in flags.items():
            if flag:
                self._all_answered(game_id)

    def _could_not_tell(self, games: Collection[str]) -> None:
        # What was not told runs out by itself; games that have streams here are confirmed soon in any case.
        self._once_more([game_id for game_id in games if not self.has(game_id)], HERE_MS)

    def _once_more(self, games: Collection[str], after_ms: float) -> None:
        at = time.monotonic() + after_ms / 1000
        for game_id in games:
            heapq.heappush(self._again, (at, game_id))

    def _due_again(self) -> Iterator[str]:
        while self._again and self._again[0][0] <= time.monotonic():
            yield heapq.heappop(self._again)[1]

    async def _tell(self, reports: Iterable[_Report]) -> dict[str, int | None]:
        """A report for each game: 1 when nobody is waited for any more, else 0; None when its server is away."""
        keys, ttl_s = self._live.keys, self._live.settings.game_ttl_s
        complete = dict[str, int | None]()
        for some in _round_trips(reports):
            flags = await self._live.scripts(
                "presence",
                [
                    (
                        [
                            keys.game(game_id),
                            keys.people(game_id),
                            keys.here(game_id),
                            keys.waiting(game_id),
                            keys.done(game_id),
                        ],
                        [HERE_MS, GONE_MS, ttl_s, len(here), *here, *gone],
                    )
                    for game_id, here, gone in some
                ],
            )
            # Of a game in pieces only the last one's word counts.
            complete.update(zip((one.game_id for one in some), flags, strict=True))
        return complete


def _round_trips(reports: Iterable[_Report]) -> Iterator[list[_Report]]:
    batch, size = list[_Report](), 0
    for game_id, here, gone in reports:
        for first in range(0, max(len(here), len(gone), 1), CHUNK):
            report = _Report(game_id, here[first : first + CHUNK], gone[first : first + CHUNK])
            batch.append(report)
            size += CALL + len(report.here) + len(report.gone)
            if size >= TRIP:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
