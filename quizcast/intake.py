"""Group commit: what arrives while one round trip is under way rides together in the next; floor 6.

Answers and joins take the same road. A lane per shard has two script calls under way at most, so that a burst of a
thousand answers costs a handful of calls, and of syncs to disk, instead of a thousand of each. Invariant: a verdict is
told only after the script that took the answer has returned, so what is acknowledged is in Redis's append-only file.
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

from quizcast.errors import Overloaded, QuizcastError, TooManyAnswers, TooManyJoins, Unavailable
from quizcast.live.submissions import AnswerTry, JoinTry, Submissions, Taken, Welcome
from quizcast.metrics import INTAKE, INTAKE_GROUP, INTAKE_PENDING, INTAKE_SECONDS

Try = TypeVar("Try")
Verdict = TypeVar("Verdict")
# A function and not a future, which costs a turn of the loop for each.
OnVerdict = Callable[[Verdict | QuizcastError], None]

RETRY_AFTER_S = (1, 2, 3)  # one of them, so that who was refused together does not come back together
# Of the longest wait, where more comes than can be taken: no burst then, and nobody gains by waiting.
STANDING_SHARE = 0.25
# The same in a burst, of the wait that the next is reckoned to have: should more come, refusing them slows all down.
RECKONED_SHARE = 0.5
PACE_MEMORY = 0.8  # how much a group counts in the pace beside the one behind it: the last five or so tell it
JOINS_AT_ONCE = 64  # on their way in; each takes several turns of the loop, and were all to take turns, nobody got in
PACE_WINDOW_S = 4.0  # over which a participant's answers are counted: a few retries in a row are no hammering
CALLS_AT_ONCE = 2  # one that Redis works on, and one that is being put together or taken apart here meanwhile

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
        self._wait_s = wait_s
        self._empty_at = self._full_at = -math.inf  # when last it was so
        self._went_at = self._spent_s = self._went = 0.0  # what the pace is known by, since it was empty
        self._group_max = group_max
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
        if len(self._calls) < CALLS_AT_ONCE:
            call = asyncio.get_running_loop().create_task(self._run(), name=f"intake {self._kind}")
            self._calls.add(call)

    def _look(self, now: float) -> None:
        """What would the next be in for? The wait of the first tells, whatever it is that is slow; and before anybody
        has waited, as thousands are read in one turn of the loop, how many there are and how fast they go."""
        if not self._waiting:
            self._empty_at, self.full = now, False
            self._went_at = self._spent_s = self._went = 0.0
            return
        burst = now - self._empty_at < self._wait_s < now - self._full_at
        waited_max, reckoned_max = (1.0, RECKONED_SHARE) if burst else (STANDING_SHARE, STANDING_SHARE)
        waited_s = now - self._waiting[0][0]
        reckoned_s = len(self._waiting) * self._spent_s / self._went if self._went else 0.0
        self.full = (
            len(self._waiting) >= self._pending_max
            or waited_s > self._wait_s * waited_max
            or reckoned_s > self._wait_s * reckoned_max
        )
        if self.full:
            self._full_at = now

    def _gone(self, some: int, now: float) -> None:
        """A group is on its way. The time since the one before, when others had to stay behind, is what one takes."""
        if self._went_at:
            self._spent_s = self._spent_s * PACE_MEMORY + now - self._went_at
            self._went = self._went * PACE_MEMORY + some
        self._went_at = now
        self._look(now)

    async def _run(self) -> None:
        try:
            while self._waiting:
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
        refused = 0
        for (_, _, told), verdict in zip(group, verdicts, strict=True):
            if isinstance(verdict, QuizcastError):
                INTAKE.labels(self._kind, verdict.code).inc()
                refused += 1
            try:
                told(verdict)
            except Exception:  # a fault of ours: the others are told all the same
                log.exception("a verdict could not be told")
        self._taken.inc(len(group) - refused)
        self._seconds.observe(time.perf_counter() - group[0][0])


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
        self._joins = _Bucket(joins_per_second)
        self._door = asyncio.Semaphore(JOINS_AT_ONCE)
        self._at_door: deque[float] = deque()  # since when they wait for it, in their order
        self._door_wait_s = wait_s
        self._pace = _Pace(round(answers_per_second * PACE_WINDOW_S))
        bounds: _Bounds = {"pending_max": pending_max, "wait_s": wait_s, "group_max": group_max}
        self._answer_lanes = [
            Lane[AnswerTry, Taken]("answer", self._answers_of(shard), **bounds) for shard in range(shards)
        ]
        self._join_lanes = [Lane[JoinTry, Welcome]("join", self._joins_of(shard), **bounds) for shard in range(shards)]

    def submit(self, one: AnswerTry, told: OnVerdict[Taken]) -> None:
        """Take an answer; `told` gets its verdict, or its refusal, or `RedisUnavailable`. Raises `Overloaded`."""
        self._answer_lanes[self._shard_of(one.game_id)].submit(one, told)

    def answers_full(self, game_id: str) -> bool:
        """Whether `submit` would refuse an answer to this game, as far as is known; cheap to ask."""
        return self._answer_lanes[self._shard_of(game_id)].full

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
        waited_s = time.monotonic() - self._at_door[0] if self._at_door else 0.0
        return waited_s > self._door_wait_s or not self._joins.left()

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


class _Bucket:
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


class _Pace:
    """So many tries of each participant in a window; all windows begin together, and are forgotten together."""

    def __init__(self, tries_max: int) -> None:
        self._tries_max = tries_max
        self._tries: dict[str, int] = {}
        self._until = 0.0

    def count(self, participant_id: str) -> float | None:
        """Count a try; seconds to wait when it is one too many."""
        now = time.monotonic()
        if now >= self._until:
            self._tries, self._until = {}, now + PACE_WINDOW_S
        tries = self._tries[participant_id] = self._tries.get(participant_id, 0) + 1
        return None if tries <= self._tries_max else self._until - now


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
