"""What each thing that quizcast does costs Redis, and the process that does it, piece by piece.

One game with everybody in it, beside some small ones, and nothing else going on: a piece of work is done often enough
to show in Redis's own account of its CPU time. What Redis waits for its disk is not in these figures.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.backstage import QUIZ, Backstage, join, redis_s
from bench.contest import Contestant, Metric
from bench.fanout import leaderboard
from bench.sweep import Sweep
from quizcast.conductor import NEAR_S, Conductor
from quizcast.domain.game import Close, CloseReason
from quizcast.live.games import Games
from quizcast.live.presence import Presence
from quizcast.live.reach import Reach
from quizcast.live.redis import Live
from quizcast.live.submissions import AnswerTry, Reading, Submissions
from quizcast.live.views import Views
from quizcast.wire.events import Message

GROUP_OF = 100  # answers that ride together when a hall answers at once
SMALL_GAMES = 50
SMALL = 20  # participants in each
DEADLINES = 1000
PROCESSES = 100


class Place:
    """Everything that a web process would do it with; `game_id` is everybody's game, its first question open."""

    def __init__(self, live: Live, game_id: str, people: Sequence[str], small: Sequence[str]) -> None:
        self.live, self.game_id, self.people, self.small = live, game_id, people, small
        self.games, self.submissions, self.views = Games(live), Submissions(live), Views(live)
        self.reaches = [Reach(live) for _ in range(PROCESSES)]
        self.conductor = Conductor(self.games, self.reaches[0])
        self.presence = Presence(live, lambda _game_id: None)

    async def answer(self, at_once: int) -> int:
        """Everybody's answer, so many to a script call."""
        shard = self.live.keys.shard_of(self.game_id)
        tries = [AnswerTry(self.game_id, one, Reading(0, b"7")) for one in self.people]
        for first in range(0, len(tries), at_once):
            await self.submissions.take_answers(shard, tries[first : first + at_once])
        return len(tries)

    async def close(self) -> int:
        """Everybody's outcome."""
        await self.conductor.command(self.game_id, Close(reason=CloseReason.HOST, question=0))
        return len(self.people)


Work = Callable[[Place], Awaitable[int]]


async def _nothing(_place: Place) -> int:
    return 0


async def _join(place: Place) -> int:
    more = [f"late {number:020d}" for number in range(len(place.people))]
    await join(place.live, place.game_id, more)
    return len(more)


async def _snapshot(place: Place) -> int:
    for one in place.people:
        await place.views.snapshot(place.game_id, one)
    return len(place.people)


async def _answered(place: Place) -> int:
    return await place.answer(GROUP_OF)


async def _answered_alone(place: Place) -> int:
    return await place.answer(1)


async def _answered_elsewhere(place: Place) -> int:
    """An answer of each small game in turn, as many to a script call as there are games on the shard."""
    shards: dict[int, list[str]] = {}
    for game_id in place.small:
        shards.setdefault(place.live.keys.shard_of(game_id), []).append(game_id)
    for one in place.people[:SMALL]:
        for shard, games in shards.items():
            tries = [AnswerTry(game_id, one, Reading(0, b"7")) for game_id in games]
            await place.submissions.take_answers(shard, tries)
    return SMALL * len(place.small)


async def _close(place: Place) -> int:
    return await place.close()


async def _answer_and_close(place: Place) -> int:
    await place.answer(GROUP_OF)
    return await place.close()


async def _results(place: Place) -> int:
    closed = Message("closed", (await place.games.look(place.game_id, "event:closed"))[1])
    return len(await place.views.results(closed, place.game_id, place.people))


async def _event(place: Place) -> int:
    for number in range(DEADLINES):
        before = await place.games.load(place.game_id)
        await place.games.advance(before, before.game, [leaderboard(number)])
    return DEADLINES


async def _arrive(place: Place) -> int:
    for one in place.people:
        place.presence.arrived(place.game_id, one)
    return 0


async def _confirm(place: Place) -> int:
    for _ in range(10):
        await place.presence.report(everybody=True)
    return 10 * len(place.people)


async def _arrive_small(place: Place) -> int:
    for game_id in place.small:
        for one in place.people[:SMALL]:
            place.presence.arrived(game_id, one)
    return 0


async def _confirm_small(place: Place) -> int:
    for _ in range(10):
        await place.presence.report(everybody=True)
    return 10 * len(place.small)


async def _deadlines(place: Place, in_s: float) -> int:
    games = {f"{number:025d}": (time.time() + in_s) * 1000 for number in range(DEADLINES)}
    await place.live.client.zadd(place.live.keys.due(0), games)
    return DEADLINES


async def _far(place: Place) -> int:
    return await _deadlines(place, 3600)


async def _near(place: Place) -> int:
    return await _deadlines(place, 0)


async def _ask(place: Place) -> int:
    for _ in range(1000):
        await place.games.due(NEAR_S)
    return 1000


async def _read(place: Place) -> int:
    return sum([len(await place.games.due(NEAR_S)) for _ in range(40)])


async def _tell_reach(place: Place) -> int:
    for _ in range(10):
        for reach in place.reaches:
            await reach.tell_reach(place.game_id, 20)
    return 10 * PROCESSES


async def _read_reach(place: Place) -> int:
    for _ in range(100):
        await place.reaches[0].reach_ms(place.game_id)
    return 100 * PROCESSES


class Toll(Contestant):
    """A piece of work, done by the bench itself: `work` says how often it did it, `before` is not measured."""

    def __init__(self, name: str, work: Work, before: Work = _nothing) -> None:
        super().__init__()
        self.name = name
        self.work = work
        self.before = before

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """It has no process of its own."""
        raise RuntimeError(f"{self.name} is done by the bench itself")


class Tolls(Sweep[Toll]):
    """Every piece, once."""

    name = "tolls"
    title = "What each piece costs Redis"
    says = (
        f"CPU time, in µs for each piece, of Redis and of the process that asks for it (asyncio without uvloop; in a "
        f"web process it is less). One game with everybody in it and a question open, {SMALL_GAMES} games of {SMALL} "
        "beside it, nobody listening."
    )
    unit = "participants"
    metrics = (
        Metric(key="redis_us", title="of Redis (µs)", digits=2),
        Metric(key="process_us", title="of the process (µs)", digits=2),
    )
    plotted = ()
    sizes = (1000,)
    contestants = (
        Toll("a join", _join),
        Toll("a snapshot", _snapshot),
        Toll(f"an answer, {GROUP_OF} at once", _answered),
        Toll("an answer, each of another game", _answered_elsewhere),
        Toll("an answer, alone", _answered_alone),
        Toll("closing, per participant", _close, _answered),
        Toll("a result", _results, _answer_and_close),
        Toll("an event", _event),
        Toll("confirming a participant", _confirm, _arrive),
        Toll(f"confirming a game of {SMALL}", _confirm_small, _arrive_small),
        Toll("asking for deadlines", _ask, _far),
        Toll("reading a deadline", _read, _near),
        Toll("telling a reach", _tell_reach),
        Toll("reading a process's reach", _read_reach, _tell_reach),
    )

    def __init__(self, stage: Backstage) -> None:
        self._hall = stage.hall

    def measure(self, contestant: Toll, size: int) -> dict[str, float]:
        """In games that are new."""
        hall, small = self._hall, list[str]()
        hall.clear()
        for _ in range(SMALL_GAMES):
            hall.begin(SMALL)
            hall.open(0)
            small.append(hall.game_id)
        hall.begin(size, QUIZ)
        hall.open(0)
        return hall.run(self._worked(contestant, Place(hall.live, hall.game_id, hall.people, small)))

    async def _worked(self, toll: Toll, place: Place) -> dict[str, float]:
        await toll.before(place)
        redis, process = await redis_s(place.live), time.process_time()
        done = await toll.work(place)
        process, redis = time.process_time() - process, await redis_s(place.live) - redis
        return {"redis_us": redis / done * 1e6, "process_us": process / done * 1e6}
