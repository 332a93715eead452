"""How the streams of a game do, told from process to process: what is late, and who is behind; inside `live`, floor 5.

An event's reach is the time from its stamp to the last stream of a process. It makes the next lead longer, so that a
question opens when everybody has it. Each figure stands beside the moment it was told: what is no longer fresh counts
for nothing, so a process that is gone is soon forgotten, however often the others go on telling.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import suppress

from quizcast.domain.game import LEAD_MS, GameOptions, lead_ms
from quizcast.errors import QuizcastError
from quizcast.ids import new_id
from quizcast.live.redis import Live

BEHIND_FRESH_S = 10  # told every 2 s while it holds
REACH_FRESH_S = 600  # told with each event that is late
REACH_BELIEVED_MS = 60_000  # beyond it the clock was set between an event's stamp and now
FAR_MAX = 1000  # games of which is remembered that their reach was told


class Reach:
    """What one process tells of its streams, and what all have told."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._keys = live.keys
        self._process = new_id()
        self._far: set[str] = set()  # games of which we told a reach that makes the lead longer
        self._tasks: set[asyncio.Task[None]] = set()

    def reached(self, game_id: str, reach_ms: int) -> None:
        """An event has gone out to all streams of this process, so long after its stamp: the next lead goes by it.

        Told only where it makes the lead longer, and once more when it does so no longer.
        """
        if reach_ms > REACH_BELIEVED_MS:
            return
        if lead_ms(GameOptions(), reach_ms) > LEAD_MS:
            if len(self._far) > FAR_MAX:
                self._far.clear()  # most of them are over, and what was told of the others is soon forgotten
            self._far.add(game_id)
        elif game_id in self._far:
            self._far.remove(game_id)
        else:
            return
        self._spawn(self._reached(game_id, reach_ms))

    async def _reached(self, game_id: str, reach_ms: int) -> None:
        try:
            await self.tell_reach(game_id, reach_ms)
        except QuizcastError:  # the lead is then as before
            self._far.add(game_id)  # and the next event's reach is told, whatever it is

    def slow(self, game_id: str, streams: int) -> None:
        """So many streams of a game in this process are behind with reading; to be told again while there are any."""
        self._spawn(self._slow(game_id, streams))

    async def _slow(self, game_id: str, streams: int) -> None:
        with suppress(QuizcastError):  # it is told again soon
            await self._tell("tell_slow", self._keys.behind(game_id), streams, BEHIND_FRESH_S)

    async def tell_reach(self, game_id: str, reach_ms: int) -> None:
        """Note how long an event took from its stamp to the last of this process's streams."""
        await self._tell("tell_reach", self._keys.reached(game_id), reach_ms, REACH_FRESH_S)

    async def _tell(self, name: str, key: str, figure: int, fresh_s: int) -> None:
        async with self._live.client.pipeline(transaction=False) as pipe:
            pipe.hset(key, self._process, f"{self._live.now()}:{figure}")
            pipe.expire(key, min(fresh_s, self._live.settings.game_ttl_s))
            await self._live.do(name, pipe.execute())

    async def reach_ms(self, game_id: str) -> int:
        """How long the latest events took to reach everybody, by the slowest process; 0 when nothing is known."""
        told = await self._live.do("reach", self._live.client.hvals(self._keys.reached(game_id)))
        return max(self._fresh(told, REACH_FRESH_S), default=0)

    async def connections(self, game_id: str) -> tuple[int, int, int]:
        """How many take part, how many of them are there right now, and how many streams are slow."""
        keys = self._keys
        # At one moment: somebody who joins in between would be there and not take part.
        async with self._live.client.pipeline(transaction=True) as pipe:
            pipe.hlen(keys.people(game_id))
            pipe.zcount(keys.here(game_id), self._live.now(), "+inf")
            pipe.hvals(keys.behind(game_id))
            people, here, behind = await self._live.do("connections", pipe.execute())
        return people, here, sum(self._fresh(behind, BEHIND_FRESH_S))

    def _fresh(self, told: Iterable[bytes], fresh_s: int) -> Iterator[int]:
        now = self._live.now()
        for one in told:
            at, _, figure = one.partition(b":")
            if abs(now - int(at)) <= fresh_s * 1000:  # what lies far ahead was told before the clock was set back
                yield int(figure)

    async def stop(self) -> None:
        """Let what is being told come to its end."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
