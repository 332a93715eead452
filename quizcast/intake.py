"""Group commit: what arrives while one round trip is under way rides together in the next; floor 6.

Answers and joins take the same road. A lane per shard has one script call under way, and two when many wait, so that a
burst of a thousand answers costs a handful of calls, and of syncs to disk, instead of a thousand of each. Invariant: a
verdict is told only after the script that took the answer has returned, so what is acknowledged is in Redis's
append-only file.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypedDict, TypeVar, cast

from quizcast.admission import Bucket, Pace, Patience
from quizcast.errors import Overloaded, QuizcastError, TooManyAnswers, TooManyJoins, Unavailable
from quizcast.live.submissions import AnswerTry, JoinTry, Submissions, Taken, Welcome
from quizcast.metrics import INTAKE, INTAKE_GROUP, INTAKE_PENDING, INTAKE_SECONDS

Try = TypeVar("Try")
Verdict = TypeVar("Verdict")
# A function and not a future, which costs a turn of the loop for each.
OnVerdict = Callable[[Verdict | QuizcastError], None]

RETRY_AFTER_S = (1, 2, 3)  # one of them, so that who was refused together does not come back together
PACE_MEMORY = 0.8  # how much a group counts in the pace beside the one behind it: the last five or so tell it
FASTEST_S = 5e-5  # for each of a group, as long as no pace is known: more than 10,000 in one turn are a burst too many
WHILE_BEHIND = 64  # a few milliseconds of each turn: a flood that cannot be refused as it comes shuts nobody out
JOINS_AT_ONCE = 64  # on their way in; each takes several turns of the loop, and were all to take turns, nobody got in
CALLS_AT_ONCE = 2  # one that Redis works on, and one that is being put together or taken apart here meanwhile
SECOND_FROM = 32  # who wait: a call for the few that come as the first has left would cost Redis a sync for them alone
TOLD_AT_ONCE = 128  # of a group, or half of it where that is more; smaller pieces are smaller groups in the next round

log = logging.getLogger(__name__)


class Lane(Generic[Try, Verdict]):
    """The queue of one kind on one shard."""

    def __init__(
        self,
        kind: str,
        commit: Callable[[Sequence[Try]], Awaitable[Sequence[Verdict | QuizcastError]]],
        *,
        pending_max: int,
        wait_s: float,
        group_max: int,
    ) -> None:
        self.full = False  # whether the next is refused, as of the last that came or went
        self._kind = kind
        self._commit = commit
        self._pending_max = pending_max
        self._patience = Patience(wait_s)
        self._went_at = self._spent_s = self._went = 0.0  # what the pace is known by, since it was empty
        self._group_max = group_max
        self._second_from = min(SECOND_FROM, group_max)
        self._waiting: deque[tuple[float, Try, OnVerdict[Verdict]]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._size = INTAKE_GROUP.labels(kind)
        self._pending = INTAKE_PENDING.labels(kind)
        self._shown = 0  # how many of ours that has: the lanes of a kind share it
        self._taken = INTAKE.labels(kind, "taken")
        self._seconds = INTAKE_SECONDS.labels(kind)

    def submit(self, one: Try, told: OnVerdict[Verdict]) -> None:
        """Queue one; `told` gets its verdict or its error. Raises `Overloaded` at once where too many wait too long."""
        now = time.perf_counter()
        self._look(now)
        if self.full:
            INTAKE.labels(self._kind, Overloaded.code).inc()
            raise Overloaded(retry_after_s=random.choice(RETRY_AFTER_S))
        self._waiting.append((now, one, told))
        if self._pays(len(self._calls)):
            call = asyncio.get_running_loop().create_task(self._run(), name=f"intake {self._kind}")
            self._calls.add(call)

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._waiting)

    def _look(self, now: float) -> None:
        """What would the next be in for? The wait of the first tells, whatever it is that is slow; and before anybody
        has waited, as thousands are read in one turn of the loop, how many there are and how fast they go."""
        if not self._waiting:
            self._patience.calm(now)
            self.full = False
            self._went_at = self._spent_s = self._went = 0.0
            return
        waited_s = now - self._waiting[0][0]
        reckoned_s = len(self._waiting) * (self._spent_s / self._went if self._went else FASTEST_S)
        if len(self._waiting) >= self._pending_max:
            reckoned_s = math.inf
        self.full = self._patience.over(now, waited_s, reckoned_s)

    def _gone(self, some: int, now: float) -> None:
        """A group is on its way. The time since the one before, when others had to stay behind, is what one takes."""
        if self._went_at:
            self._spent_s = self._spent_s * PACE_MEMORY + now - self._went_at
            self._went = self._went * PACE_MEMORY + some
        self._went_at = now
        self._look(now)

    def _pays(self, under_way: int) -> bool:
        """Whether to call for those who wait, beside so many calls; if not, they go as soon as one returns."""
        return not under_way or (under_way < CALLS_AT_ONCE and len(self._waiting) >= self._second_from)

    async def _run(self) -> None:
        try:
            while self._waiting and self._pays(len(self._calls) - 1):
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._group_max))]
                self._gone(len(group), time.perf_counter())
                self._pending.inc(len(self._waiting) - self._shown)
                self._shown = len(self._waiting)
                self._size.observe(len(group))
                await self._settle(group)
        finally:  # here, and not in a callback a turn later: who came in between would wait for nobody
            self._calls.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _settle(self, group: Sequence[tuple[float, Try, OnVerdict[Verdict]]]) -> None:
        verdicts: Sequence[Verdict | QuizcastError]
        try:
            verdicts = await self._commit([one for _, one, _ in group])
            if len(verdicts) != len(group):
                raise RuntimeError(f"{len(verdicts)} verdicts on {len(group)} tries")
        except QuizcastError as error:
            verdicts = [error] * len(group)
        except Exception:  # a fault of ours: nobody may be left waiting, and the lane goes on
            log.exception("a group of %d could not be taken", len(group))
            verdicts = [Unavailable(retry_after_s=random.choice(RETRY_AFTER_S))] * len(group)
        # Where few wait, Redis is about to have nothing to do: those told first come again while the others are told.
        at_once = len(group)
        if len(self._waiting) < self._second_from:
            at_once = max(TOLD_AT_ONCE, math.ceil(len(group) / 2))
        for first in range(0, len(group), at_once):
            if first:
                await asyncio.sleep(0)
            self._tell(group[first : first + at_once], verdicts[first : first + at_once])
        self._seconds.observe(time.perf_counter() - group[0][0])

    def _tell(
        self, some: Sequence[tuple[float, Try, OnVerdict[Verdict]]], verdicts: Sequence[Verdict | QuizcastError]
    ) -> None:
        refused = 0
        for (_, _, told), verdict in zip(some, verdicts, strict=True):
            if isinstance(verdict, QuizcastError):
                INTAKE.labels(self._kind, verdict.code).inc()
                refused += 1
            try:
                told(verdict)
            except Exception:  # a fault of ours: the others are told all the same
                log.exception("a verdict could not be told")
        self._taken.inc(len(some) - refused)


class Intake:
    """The lanes of a process. `ring` asks for a flush of a shard; `complete` is told when nobody is waited for."""

    def __init__(
        self,
        submissions: Submissions,
        *,
        shard_of: Callable[[str], int],
        shards: int,
        pending_max: int,
        wait_s: float,
        group_max: int,
        joins_per_second: int,
        answers_per_second: int,
        ring: Callable[[int], None],
        complete: Callable[[str, int], None],
    ) -> None:
        self._submissions = submissions
        self._shard_of = shard_of
        self._ring = ring
        self._complete = complete
        self._joins = Bucket(joins_per_second)
        self._door = asyncio.Semaphore(JOINS_AT_ONCE)
        self._at_door: deque[float] = deque()  # since when they wait for it, in their order
        self._joins_per_second = joins_per_second
        self._door_patience = Patience(wait_s)
        self._pace = Pace(answers_per_second)
        bounds: _Bounds = {"pending_max": pending_max, "wait_s": wait_s, "group_max": group_max}
        self._answer_lanes = [
            Lane[AnswerTry, Taken]("answer", self._answers_of(shard), **bounds) for shard in range(shards)
        ]
        self._join_lanes = [Lane[JoinTry, Welcome]("join", self._joins_of(shard), **bounds) for shard in range(shards)]

    def submit(self, one: AnswerTry, told: OnVerdict[Taken]) -> None:
        """Take an answer; `told` gets its verdict, or its refusal, or `RedisUnavailable`. Raises `Overloaded`."""
        self._answer_lanes[self._shard_of(one.game_id)].submit(one, told)

    def answers_full(self, game_id: str, *, behind: bool = False) -> bool:
        """Whether `submit` would refuse an answer to this game, as far as is known; cheap to ask.

        `behind`: even those who are refused have to wait. Then the lane is full as soon as some wait in it.
        """
        lane = self._answer_lanes[self._shard_of(game_id)]
        return lane.full or (behind and lane.waiting >= WHILE_BEHIND)

    @property
    def some_full(self) -> bool:
        """Whether there is any game for which `answers_full`."""
        return any([lane.full for lane in self._answer_lanes])

    def admit_answer(self, participant_id: str) -> None:
        """Count somebody's try to answer. Raises `TooManyAnswers`."""
        if (wait_s := self._pace.count(participant_id)) is not None:
            INTAKE.labels("answer", TooManyAnswers.code).inc()
            raise TooManyAnswers(retry_after_s=wait_s)

    @property
    def joins_full(self) -> bool:
        """Whether `admit_join` would refuse somebody."""
        now = time.monotonic()
        if not self._at_door:
            self._door_patience.calm(now)
            return not self._joins.left()
        waited_s, reckoned_s = now - self._at_door[0], len(self._at_door) / self._joins_per_second
        return self._door_patience.over(now, waited_s, reckoned_s) or not self._joins.left()

    def admit_join(self) -> None:
        """Count a wish to join. Raises `TooManyJoins`."""
        if self.joins_full or not self._joins.take():
            INTAKE.labels("join", TooManyJoins.code).inc()
            raise TooManyJoins(retry_after_s=random.choice(RETRY_AFTER_S))

    @contextlib.asynccontextmanager
    async def joining(self) -> AsyncIterator[None]:
        """Somebody who was admitted is on the way in, when it is their turn."""
        self._at_door.append(time.monotonic())
        try:
            await self._door.acquire()
        finally:
            self._at_door.popleft()  # who gives up leaves the place of the first; times so close are as good
        try:
            yield
        finally:
            self._door.release()

    async def join(self, one: JoinTry) -> Welcome:
        """Let somebody in. Raises the refusal, `RedisUnavailable` or `Overloaded`."""
        return await verdict_of(partial(self._join_lanes[self._shard_of(one.game_id)].submit, one))

    def _answers_of(self, shard: int) -> Callable[[Sequence[AnswerTry]], Awaitable[Sequence[Taken | QuizcastError]]]:
        async def commit(tries: Sequence[AnswerTry]) -> Sequence[Taken | QuizcastError]:
            verdicts, complete = await self._submissions.take_answers(shard, tries)
            self._ring(shard)
            for game_id, question in complete:
                self._complete(game_id, question)
            return verdicts

        return commit

    def _joins_of(self, shard: int) -> Callable[[Sequence[JoinTry]], Awaitable[Sequence[Welcome | QuizcastError]]]:
        async def commit(tries: Sequence[JoinTry]) -> Sequence[Welcome | QuizcastError]:
            verdicts = await self._submissions.take_joins(shard, tries)
            self._ring(shard)
            return verdicts

        return commit


class _Bounds(TypedDict):
    pending_max: int
    wait_s: float
    group_max: int


async def verdict_of(submit: Callable[[OnVerdict[Verdict]], None]) -> Verdict:
    """Submit something and wait for its verdict. Raises its error, or what `submit` raises."""
    future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    def told(verdict: Verdict | QuizcastError) -> None:
        if future.done():  # its client has gone; the verdict stands all the same
            return
        if isinstance(verdict, QuizcastError):
            future.set_exception(verdict)
        else:
            future.set_result(verdict)

    submit(told)
    return await future
