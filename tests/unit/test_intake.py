"""Group commit: few calls under way per lane, everybody gets their own verdict, nobody is left waiting."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from quizcast.admission import PACE_WINDOW_S, RECKONED_SHARE
from quizcast.errors import (
    AlreadyAnswered,
    Overloaded,
    QuizcastError,
    RedisUnavailable,
    TooManyAnswers,
    TooManyJoins,
    Unavailable,
)
from quizcast.intake import (
    CALLS_AT_ONCE,
    FASTEST_S,
    JOINS_AT_ONCE,
    RETRY_AFTER_S,
    SECOND_FROM,
    TOLD_AT_ONCE,
    WHILE_BEHIND,
    Intake,
    verdict_of,
)
from quizcast.live.submissions import AnswerTry, JoinTry, Reading, Taken, Welcome


class FakeSubmissions:
    """Records the groups; `verdicts` decides, and `gate` holds every call back until it is set."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.under_way: dict[int, int] = {}
        self.most_under_way = 0
        self.gate: asyncio.Event | None = None
        self.fault: Exception | None = None
        self.refused: dict[str, QuizcastError] = {}
        self.complete: list[tuple[str, int]] = []
        self.short = 0
        self.slow_s = 0.0

    async def take_answers(
        self, shard: int, tries: Sequence[AnswerTry]
    ) -> tuple[list[Taken | QuizcastError], list[tuple[str, int]]]:
        await self._call(shard, tries)
        verdicts = [
            self.refused.get(one.participant_id) or Taken(received_at=int(one.reading.answer), duplicate=False)
            for one in tries
        ]
        return verdicts[: len(verdicts) - self.short], self.complete

    async def take_joins(self, shard: int, tries: Sequence[JoinTry]) -> list[Welcome | QuizcastError]:
        await self._call(shard, tries)
        return [Welcome(nickname=one.nickname, again=False) for one in tries]

    async def _call(self, shard: int, tries: Sequence[Any]) -> None:
        self.groups.append(list(tries))
        self.under_way[shard] = self.under_way.get(shard, 0) + 1
        self.most_under_way = max(self.most_under_way, *self.under_way.values())
        try:
            await asyncio.sleep(self.slow_s)
            if self.gate is not None:
                await self.gate.wait()
            if self.fault is not None:
                raise self.fault
        finally:
            self.under_way[shard] -= 1


def intake_on(submissions: FakeSubmissions, **changes: Any) -> tuple[Intake, list[int], list[tuple[str, int]]]:
    rung: list[int] = []
    complete: list[tuple[str, int]] = []
    options: dict[str, Any] = {
        "shard_of": lambda game_id: int(game_id[-1]),
        "shards": 2,
        "pending_max": 1000,
        "wait_s": 10.0,
        "group_max": 64,
        "joins_per_second": 10_000,
        "answers_per_second": 5,
        "ring": rung.append,
        "complete": lambda game_id, question: complete.append((game_id, question)),
    }
    return Intake(submissions, **{**options, **changes}), rung, complete  # type: ignore[arg-type]


def answer(number: int, game_id: str = "g0") -> AnswerTry:
    return AnswerTry(game_id, f"p{number}", Reading(0, b"%d" % number))


async def taken(intake: Intake, one: AnswerTry) -> Taken:
    return await verdict_of(partial(intake.submit, one))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_everybody_gets_their_own_verdict() -> None:
    submissions = FakeSubmissions()
    submissions.refused = {"p7": AlreadyAnswered(), "p9": AlreadyAnswered()}
    intake, _, _ = intake_on(submissions)
    outcomes = await asyncio.gather(*(taken(intake, answer(number)) for number in range(200)), return_exceptions=True)
    for number, one in enumerate(outcomes):
        if number in (7, 9):
            assert isinstance(one, AlreadyAnswered)
        else:
            assert one == Taken(received_at=number, duplicate=False)


async def test_what_arrives_during_a_round_trip_rides_together_in_the_next() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions)
    tasks = []
    for some in (range(1), range(1, 51), range(51, 81)):
        tasks += [asyncio.create_task(taken(intake, answer(number))) for number in some]
        await turns()
    assert [len(group) for group in submissions.groups] == [1, 50]
    submissions.gate.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in submissions.groups] == [1, 50, 30]


async def test_a_few_wait_for_the_call_that_is_under_way_and_only_many_get_one_beside_it() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions)
    told: list[Taken | QuizcastError] = []
    for number in range(SECOND_FROM):
        intake.submit(answer(number), told.append)
        await turns()
    assert [len(group) for group in submissions.groups] == [1]
    intake.submit(answer(SECOND_FROM), told.append)
    await turns()
    assert [len(group) for group in submissions.groups] == [1, SECOND_FROM]
    intake.submit(answer(SECOND_FROM + 1), told.append)
    submissions.gate.set()
    await turns(20)
    assert [len(group) for group in submissions.groups] == [1, SECOND_FROM, 1]
    assert told == [Taken(number, False) for number in range(SECOND_FROM + 2)]


@pytest.mark.parametrize(("behind", "parts"), [(0, [TOLD_AT_ONCE, TOLD_AT_ONCE - 1]), (2, [2 * TOLD_AT_ONCE - 1])])
async def test_some_come_again_before_the_others_are_told_where_no_more_wait(behind: int, parts: list[int]) -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions, group_max=1000)
    told_when: list[int] = []  # how many groups had gone by then

    def told(_verdict: Taken | QuizcastError) -> None:
        told_when.append(len(submissions.groups))
        if len(told_when) <= sum(parts):
            intake.submit(answer(0), told)

    for number in range(sum(parts)):
        intake.submit(answer(number), told)
    await turns()
    for _ in range(behind):  # a second call, and some who wait for their turn
        for number in range(SECOND_FROM):
            intake.submit(answer(number), lambda _verdict: None)
        await turns()
    submissions.gate.set()
    await turns(10)
    first = told_when[: sum(parts)]
    assert [first.count(groups) for groups in sorted(set(first))] == parts


async def test_a_lane_has_two_calls_under_way_and_groups_have_a_size() -> None:
    submissions = FakeSubmissions()
    intake, _, _ = intake_on(submissions, group_max=10)
    await asyncio.gather(*(taken(intake, answer(number)) for number in range(95)))
    assert submissions.most_under_way == CALLS_AT_ONCE == 2
    assert [len(group) for group in submissions.groups] == [10] * 9 + [5]
    order = [one.participant_id for group in submissions.groups for one in group]
    assert order == [f"p{number}" for number in range(95)]


async def test_who_comes_as_both_calls_end_is_not_left_waiting() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions)
    told: list[Taken | QuizcastError] = []
    for number in range(2):
        intake.submit(answer(number), told.append)
        await turns()
    submissions.gate.set()
    while len(told) < 2:  # noqa: ASYNC110 (the turn in which it happens is what matters)
        await asyncio.sleep(0)
    intake.submit(answer(2), told.append)
    await turns(20)
    assert told == [Taken(number, False) for number in range(3)]


async def test_the_gauge_of_those_who_wait_is_of_all_lanes_together() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions, group_max=1)
    before = waiting()
    tasks = [asyncio.create_task(taken(intake, answer(n, f"g{n % 2}"))) for n in range(20)]
    await turns()
    assert waiting() - before == 2 * (10 - CALLS_AT_ONCE)
    submissions.gate.set()
    await asyncio.gather(*tasks)
    assert waiting() == before


def waiting() -> float:
    return REGISTRY.get_sample_value("quizcast_intake_pending", {"kind": "answer"}) or 0.0


async def test_lanes_do_not_wait_for_each_other() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions)
    tasks = [asyncio.create_task(taken(intake, answer(number, f"g{number % 2}"))) for number in range(4)]
    tasks.append(asyncio.create_task(intake.join(JoinTry("g0", "p", "Ada", "ada"))))  # type: ignore[arg-type]
    await turns()
    assert len(submissions.groups) == 3
    submissions.gate.set()
    await asyncio.gather(*tasks)


async def test_too_many_waiting_are_refused_at_once() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions, pending_max=5)
    tasks = []
    for some in (range(1), range(1, 6)):
        tasks += [asyncio.create_task(taken(intake, answer(number))) for number in some]
        await turns()
    with pytest.raises(Overloaded) as refused:
        async with asyncio.timeout(5):  # who is let in waits for the gate, and that for this
            await taken(intake, answer(7))
    assert refused.value.retry_after_s
    submissions.gate.set()
    assert len(await asyncio.gather(*tasks)) == 6
    assert await taken(intake, answer(7)) == Taken(7, False)


async def test_when_redis_is_away_everybody_is_told_and_the_lane_goes_on() -> None:
    submissions = FakeSubmissions()
    submissions.fault = RedisUnavailable()
    intake, rung, _ = intake_on(submissions)
    outcomes = await asyncio.gather(*(taken(intake, answer(number)) for number in range(20)), return_exceptions=True)
    assert {type(one) for one in outcomes} == {RedisUnavailable}
    assert rung == []
    submissions.fault = None
    assert await taken(intake, answer(3)) == Taken(3, False)


async def test_a_client_that_goes_away_disturbs_nobody_and_its_answer_stands() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions)
    tasks = [asyncio.create_task(taken(intake, answer(number))) for number in range(10)]
    await turns()
    for task in tasks[::2]:
        task.cancel()
    await turns()
    submissions.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[1::2] == [Taken(number, False) for number in range(1, 10, 2)]
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes[::2])
    assert len(submissions.groups[0]) == 10


async def test_an_unexpected_fault_leaves_nobody_waiting() -> None:
    submissions = FakeSubmissions()
    submissions.fault = ZeroDivisionError()
    intake, _, _ = intake_on(submissions, group_max=4)
    async with asyncio.timeout(1):
        outcomes = await asyncio.gather(
            *(taken(intake, answer(number)) for number in range(10)), return_exceptions=True
        )
    assert {type(one) for one in outcomes} == {Unavailable}
    submissions.fault = None
    assert await taken(intake, answer(1)) == Taken(1, False)


async def test_a_script_that_forgets_a_verdict_leaves_nobody_waiting() -> None:
    submissions = FakeSubmissions()
    submissions.short = 1
    intake, _, _ = intake_on(submissions)
    async with asyncio.timeout(1):
        outcomes = await asyncio.gather(*(taken(intake, answer(number)) for number in range(5)), return_exceptions=True)
    assert {type(one) for one in outcomes} == {Unavailable}


async def test_every_group_rings_for_the_flush_and_tells_what_is_complete() -> None:
    submissions = FakeSubmissions()
    submissions.complete = [("g1", 3)]
    intake, rung, complete = intake_on(submissions)
    await taken(intake, answer(1, "g1"))
    await intake.join(JoinTry("g0", "p", "Ada", "ada"))
    assert rung == [1, 0]
    assert complete == [("g1", 3)]


async def test_in_a_burst_people_may_wait_for_long_before_the_next_is_refused() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions, wait_s=0.2)
    told: list[Taken | QuizcastError] = []
    for number in range(CALLS_AT_ONCE + 1):  # the last of them waits for the calls of the others
        intake.submit(answer(number), told.append)
        await turns()
    await asyncio.sleep(0.1)
    intake.submit(answer(7), told.append)
    assert not intake.answers_full("g0")
    await asyncio.sleep(0.15)
    with pytest.raises(Overloaded) as refused:
        intake.submit(answer(8), told.append)
    assert refused.value.retry_after_s in RETRY_AFTER_S
    assert intake.answers_full("g0")
    assert not intake.answers_full("g1")
    assert intake.some_full
    submissions.gate.set()
    await turns(20)
    assert not intake.answers_full("g0")
    assert not intake.some_full
    assert len(told) == CALLS_AT_ONCE + 2
    intake.submit(answer(8), told.append)
    await turns(20)
    assert told[-1] == Taken(8, False)


async def test_who_comes_in_one_turn_with_thousands_is_refused_by_how_fast_those_ahead_go() -> None:
    submissions = FakeSubmissions()
    intake, _, _ = intake_on(submissions, wait_s=1.0, group_max=10)
    submissions.slow_s = 0.02  # two calls of ten at once: a thousand a second
    told: list[Taken | QuizcastError] = []
    for number in range(100):
        intake.submit(answer(number), told.append)
    await asyncio.sleep(0.06)
    before = len(told)
    with contextlib.suppress(Overloaded):
        for number in range(5000):
            intake.submit(answer(number), told.append)
    await asyncio.sleep(2)
    admitted = len(told) - before
    assert 50 < admitted < 1000  # and nobody had waited for long yet; where calls take longer, there is room for fewer


async def test_a_burst_that_comes_in_one_turn_is_held_to_what_no_machine_could_take_faster() -> None:
    submissions = FakeSubmissions()
    intake, _, _ = intake_on(submissions, wait_s=0.2, pending_max=10_000)
    told: list[Taken | QuizcastError] = []
    admitted = 0
    with contextlib.suppress(Overloaded):
        for admitted in range(5000):  # before the first group is on its way, when no pace is known
            intake.submit(answer(admitted), told.append)
    assert admitted == pytest.approx(0.2 * RECKONED_SHARE / FASTEST_S, rel=0.01)


async def test_while_even_those_who_are_refused_wait_a_few_come_in_all_the_same() -> None:
    submissions = FakeSubmissions()
    submissions.gate = asyncio.Event()
    intake, _, _ = intake_on(submissions, pending_max=10_000)
    told: list[Taken | QuizcastError] = []
    let_in = 0
    while not intake.answers_full("g0", behind=True):
        intake.submit(answer(let_in), told.append)
        let_in += 1
    assert let_in == WHILE_BEHIND
    assert not intake.answers_full("g0")
    assert not intake.answers_full("g1", behind=True)
    submissions.gate.set()
    await turns(20)
    assert len(told) == let_in


async def test_where_more_comes_than_can_be_taken_nobody_waits_for_long() -> None:
    submissions = FakeSubmissions()
    intake, _, _ = intake_on(submissions, wait_s=0.4, group_max=1)
    submissions.slow_s = 0.02  # so that two calls at once take a hundred a second
    waits: list[tuple[float, float]] = []
    refused, began = 0, time.perf_counter()
    while (now := time.perf_counter()) < began + 2:
        try:
            intake.submit(answer(1), lambda _verdict, at=now: waits.append((at, time.perf_counter() - at)))  # type: ignore[misc]
        except Overloaded:
            refused += 1
        await asyncio.sleep(0.004)
    standing = [wait for at, wait in waits if at > began + 1]
    assert len(standing) > 50
    assert refused > 50
    # 0.1 s until the next is refused, 0.02 for a call, and what a busy machine adds.
    assert sorted(standing)[len(standing) * 9 // 10] < 0.3
    assert max(wait for at, wait in waits if at < began + 0.6) > 0.15  # in the beginning it may have been a burst


async def test_who_hammers_is_held_back_and_nobody_else() -> None:
    intake, _, _ = intake_on(FakeSubmissions(), answers_per_second=5)
    tries_max = round(5 * PACE_WINDOW_S)
    for _ in range(tries_max):
        intake.admit_answer("p1")
    with pytest.raises(TooManyAnswers) as refused:
        intake.admit_answer("p1")
    assert 0 < (refused.value.retry_after_s or 0) <= PACE_WINDOW_S
    intake.admit_answer("p2")


async def test_after_the_window_who_hammered_may_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quizcast.admission.PACE_WINDOW_S", 0.2)
    intake, _, _ = intake_on(FakeSubmissions(), answers_per_second=5)
    intake.admit_answer("p1")
    with pytest.raises(TooManyAnswers) as refused:
        intake.admit_answer("p1")
    await asyncio.sleep(refused.value.retry_after_s or 0)
    intake.admit_answer("p1")


async def test_those_who_were_admitted_come_in_in_their_order_a_few_at_a_time_and_none_more_once_they_wait_long() -> (
    None
):
    intake, _, _ = intake_on(FakeSubmissions(), wait_s=0.1)
    came: list[int] = []
    leave = asyncio.Event()

    async def come_in(who: int) -> None:
        intake.admit_join()
        async with intake.joining():
            came.append(who)
            await leave.wait()

    coming = [asyncio.create_task(come_in(who)) for who in range(JOINS_AT_ONCE + 20)]
    await asyncio.sleep(0.05)
    assert came == list(range(JOINS_AT_ONCE))
    assert not intake.joins_full
    await asyncio.sleep(0.1)
    assert intake.joins_full
    with pytest.raises(TooManyJoins):
        intake.admit_join()
    leave.set()
    await asyncio.gather(*coming)
    assert came == list(range(JOINS_AT_ONCE + 20))
    assert not intake.joins_full


async def test_at_the_door_as_well_nobody_waits_for_long_once_more_come_than_can_be_let_in() -> None:
    intake, _, _ = intake_on(FakeSubmissions(), wait_s=0.4)
    leave: dict[int, asyncio.Event] = {}

    async def come_in(who: int) -> None:
        intake.admit_join()
        async with intake.joining():
            await leave[who].wait()

    def some_come(numbers: range) -> list[asyncio.Task[None]]:
        leave.update({who: asyncio.Event() for who in numbers})
        return [asyncio.create_task(come_in(who)) for who in numbers]

    coming = some_come(range(JOINS_AT_ONCE + 5))
    await asyncio.sleep(0.25)
    assert not intake.joins_full  # in a burst they may wait for so long, and longer
    coming += some_come(range(JOINS_AT_ONCE + 5, JOINS_AT_ONCE + 10))
    for who in range(5):
        leave[who].set()  # all of those who came first are in now
    await asyncio.sleep(0.2)
    assert intake.joins_full  # for less: it is no burst any more
    for event in leave.values():
        event.set()
    await asyncio.gather(*coming)
    assert not intake.joins_full


async def test_a_flood_of_joins_is_slowed_before_it_reaches_the_queue() -> None:
    intake, _, _ = intake_on(FakeSubmissions(), joins_per_second=20)
    refused = []
    for _ in range(50):
        try:
            intake.admit_join()
        except TooManyJoins as error:
            refused.append(error.retry_after_s)
    assert len(refused) in (29, 30)
    assert set(refused) == set(RETRY_AFTER_S)  # they come back one after the other
    assert intake.joins_full
    await asyncio.sleep(0.11)
    assert not intake.joins_full
    intake.admit_join()
