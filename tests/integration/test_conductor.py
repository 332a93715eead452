"""Whole games on a real server without HTTP: conductor, intake, deadlines, and processes that compete or die."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from quizcast.conductor import Conductor, join_try, reading
from quizcast.domain import scoring
from quizcast.domain.game import (
    Close,
    CloseReason,
    Extend,
    Finish,
    Game,
    GameOptions,
    Lock,
    Open,
    Phase,
    ShowLeaderboard,
)
from quizcast.domain.quiz import Order, Poll, QuizContent
from quizcast.domain.scoring import Tally, outcome
from quizcast.errors import (
    AlreadyAnswered,
    AnswerInvalid,
    GameUnknown,
    OutOfPhase,
    ParticipantUnknown,
    PinUnknown,
    QuestionNotOpen,
    QuizcastError,
    RedisUnavailable,
    Unavailable,
)
from quizcast.intake import Intake, verdict_of
from quizcast.live.games import Games
from quizcast.live.log import RedisLog
from quizcast.live.presence import Presence
from quizcast.live.reach import REACH_FRESH_S, Reach
from quizcast.live.redis import Live
from quizcast.live.submissions import AnswerTry, Reading, Submissions, Taken
from quizcast.live.views import Views
from quizcast.settings import Settings
from quizcast.wire.events import History, Message, Position
from quizcast.wire.rows import OpeningRow, PhaseRow, decode_row
from tests.integration.live_game import FOUR, OPTIONS, new_game, now

HOST = CloseReason.HOST


class Process:
    """What one web process has of a game, without its HTTP and its streams."""

    def __init__(self, settings: Settings) -> None:
        self.live = Live(settings)
        self.games = Games(self.live)
        self.reach = Reach(self.live)
        self.conductor = Conductor(self.games, self.reach)
        self.presence = Presence(self.live, self.conductor.everybody_answered)
        self.intake = Intake(
            Submissions(self.live),
            shard_of=self.live.keys.shard_of,
            shards=settings.shards,
            pending_max=1000,
            group_max=100,
            joins_per_second=10_000,
            wait_s=10.0,
            answers_per_second=10_000,
            ring=lambda _: None,
            complete=self.conductor.everybody_answered,
        )
        self._background: list[asyncio.Task[None]] = []

    def watch(self) -> None:
        self._background.append(asyncio.create_task(self.conductor.watch(self.presence)))

    def report(self) -> None:
        self._background.append(asyncio.create_task(self.presence.run()))

    async def die(self) -> None:
        """Nobody is told anything."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def stop(self) -> None:
        await self.die()
        await self.conductor.stop()
        await self.reach.stop()
        await self.live.close()

    async def join(self, game: Game, *names: str) -> None:
        await asyncio.gather(*(self.intake.join(join_try(game.id, f"p-{name}", name)) for name in names))

    async def answer(self, game: Game, question: int, answers: dict[str, Any]) -> list[Taken]:
        quiz = await self.games.quiz(game.id)
        tries = [AnswerTry(game.id, f"p-{name}", reading(quiz, question, answer)) for name, answer in answers.items()]
        return list(await asyncio.gather(*(verdict_of(partial(self.intake.submit, one)) for one in tries)))

    async def events(self, game: Game) -> list[Message]:
        history = await RedisLog(self.live).since(game.id, Position(game.created_at, 0))
        assert isinstance(history, History)
        return history.messages

    async def closed(self, game: Game, count: int = 1, timeout_s: float = 4.0) -> list[dict[str, Any]]:
        """The data of the first `count` closed events, waited for."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = [msgspec.json.decode(one.data) for one in await self.events(game) if one.name == "closed"]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)


@pytest.fixture
async def processes(redis_url: str, redis_prefix: str) -> AsyncIterator[Sequence[Process]]:
    """Two web processes on one Redis."""
    settings = Settings(redis_url=redis_url, key_prefix=redis_prefix)
    both = [Process(settings), Process(settings)]
    yield both
    for process in both:
        await process.stop()


@pytest.fixture
def process(processes: Sequence[Process]) -> Process:
    return processes[0]


async def play(process: Process, game: Game, answers: dict[str, Any]) -> None:
    """Open the next question, take answers, close it as the host."""
    after = await process.conductor.command(game.id, Open())
    assert after.question_index is not None
    await process.answer(game, after.question_index, answers)
    await process.conductor.command(game.id, Close(reason=HOST))


async def test_a_whole_game_is_told_in_order_and_scored(process: Process) -> None:
    game = await new_game(process.live, options=msgspec.structs.replace(OPTIONS, close_when_all_answered=False))
    await process.join(game, "Ada", "Bob", "Cyd")
    await play(process, game, {"Ada": 1, "Bob": 1, "Cyd": 0})
    await process.conductor.command(game.id, ShowLeaderboard(limit=2))
    await play(process, game, {"Ada": 1, "Bob": 3})
    await play(process, game, {"Ada": 1, "Cyd": 1})
    over = await process.conductor.command(game.id, Finish())
    assert over.phase is Phase.FINISHED
    told = await process.events(game)
    assert [one.name for one in told] == [
        *("question", "closed", "leaderboard"),
        *("question", "closed", "question", "closed", "finished"),
    ]
    first = msgspec.json.decode(told[1].data)
    assert (first["correct"], first["counts"], first["reason"]) == (1, [1, 2, 0, 0], "host")
    assert len(msgspec.json.decode(told[2].data)["top"]) == 2
    podium = msgspec.json.decode(told[-1].data)
    assert podium["questions"] == 3
    assert podium["participants"] == 3
    assert [place["participant_id"] for place in podium["top"]] == ["p-Ada", "p-Bob", "p-Cyd"]
    assert [place["rank"] for place in podium["top"]] == sorted(place["rank"] for place in podium["top"])
    standings = await process.games.standings(game.id, 2)
    assert standings["p-Ada"].streak == 3
    assert standings["p-Bob"].streak == 0
    assert standings["p-Cyd"].streak == 1
    rows = await process.live.client.xrange(process.live.keys.rows(process.live.keys.shard_of(game.id)))
    stored = [decode_row(fields[b"row"]) for _, fields in rows]
    assert [row.opening.question for row in stored if isinstance(row, OpeningRow)] == [0, 1, 2]
    phases = [row.phase.value for row in stored if isinstance(row, PhaseRow)]
    assert phases == ["question", "closed"] * 3 + ["finished"]


async def test_standings_equal_a_fresh_fold_over_the_stored_answers(process: Process) -> None:
    order = Order(prompt="in order?", items=("a", "b", "c"))
    questions = (FOUR, msgspec.structs.replace(FOUR, points=0), order, FOUR)
    game = await new_game(process.live, *questions, options=msgspec.structs.replace(OPTIONS, lead_ms=0))
    names = [f"player {letter}" for letter in "abcdefgh"]
    await process.join(game, *names)
    openings = []
    for index, question in enumerate(questions):
        after = await process.conductor.command(game.id, Open(chance=0.6))
        openings.append(after.opening)
        kind_of = [[0, 2, 1], [2, 1, 0], [1, 2, 0]] if question is order else [0, 1, 1, 2]
        answers = {name: kind_of[(place + index) % len(kind_of)] for place, name in enumerate(names) if place != index}
        await process.answer(game, index, answers)
        await asyncio.sleep(0.02)
        await process.conductor.command(game.id, Close(reason=HOST))
    people = await process.games.people(game.id)
    fold = {pid: Tally() for pid in people}
    for index, (question, opening) in enumerate(zip(questions, openings, strict=True)):
        assert opening is not None
        answers_then = await process.games.answers(game.id, index)
        standings = await process.games.standings(game.id, index)
        for pid in people:
            fresh = outcome(question, opening, game.options, fold[pid], answers_then.get(pid))
            fold[pid] = Tally(fresh.score, fresh.streak)
            assert (standings[pid].points, standings[pid].score, standings[pid].streak, standings[pid].correct) == (
                *(fresh.points, fresh.score, fresh.streak, fresh.correct),
            )
        ranks = {pid: rank for rank, pid in scoring.ranked({pid: one.score for pid, one in fold.items()}, people)}
        assert {pid: one.rank for pid, one in standings.items()} == ranks
    assert max(one.score for one in fold.values()) > 1000


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def short_question(process: Process, game: Game, time_limit_ms: int = 300) -> Game:
    return await process.conductor.command(game.id, Open(time_limit_ms=time_limit_ms))


async def test_deadlines_are_met_and_every_question_closes_once(processes: Sequence[Process]) -> None:
    one, two = processes
    one.watch()
    two.watch()
    games = [await new_game(one.live, options=msgspec.structs.replace(OPTIONS, grace_ms=100)) for _ in range(5)]
    late = []
    for number, game in enumerate(games):
        await one.join(game, "Ada")
        processes[number % 2].presence.arrived(game.id, "p-Ada")
        await short_question(one, game, 200 + 150 * number)
    for game in games:
        (told,) = await one.closed(game)
        opened = (await one.games.load(game.id)).game
        late.append(told["server_now_at"] - opened.accepts_until)
        assert told["reason"] == "time"
    assert all(0 < one_late < 400 for one_late in late), late
    await asyncio.sleep(0.3)
    for game in games:
        assert len(await one.closed(game)) == 1
        assert await one.live.client.zscore(one.live.keys.due(one.live.keys.shard_of(game.id)), game.id) is None


async def test_a_question_whose_people_all_were_in_a_process_that_died_is_closed_by_another(
    processes: Sequence[Process],
) -> None:
    dead, alive = processes
    for process in processes:
        process.watch()
        process.report()
    game = await new_game(dead.live)
    await dead.join(game, "Ada", "Bob")
    dead.presence.arrived(game.id, "p-Ada")
    dead.presence.arrived(game.id, "p-Bob")
    await short_question(dead, game, 600)
    await dead.answer(game, 0, {"Ada": 1})
    await dead.die()
    (told,) = await alive.closed(game)
    assert told["reason"] == "time"
    assert told["server_now_at"] - (await alive.games.load(game.id)).game.accepts_until < 1500


async def test_a_deadline_is_left_to_the_process_that_has_the_people(
    processes: Sequence[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, stranger = processes
    games = [await new_game(home.live) for _ in range(4)]
    touched: list[str] = []
    monkeypatch.setattr(stranger.conductor, "_at_deadline", touched.append)
    for process in processes:
        process.watch()
    for game in games:
        home.presence.arrived(game.id, "p-Ada")
        await short_question(home, game, 700)
    for game in games:
        await home.closed(game)
    await asyncio.sleep(0.3)
    assert touched == []


async def test_when_the_last_to_be_waited_for_has_left_the_question_closes(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nobody of the game has a stream any more."""
    monkeypatch.setattr("quizcast.live.presence.GONE_MS", 300)
    process.report()
    game = await new_game(process.live)
    await process.join(game, "Ada", "Bob")
    process.presence.arrived(game.id, "p-Bob")
    await short_question(process, game, 60_000)
    await process.answer(game, 0, {"Ada": 1})
    process.presence.left(game.id, "p-Bob")
    (told,) = await process.closed(game)
    assert told["reason"] == "all_answered"


async def test_the_people_of_a_process_that_died_are_not_waited_for_while_others_play_on(
    processes: Sequence[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizcast.live.presence.HERE_MS", 600)
    monkeypatch.setattr("quizcast.live.presence.CONFIRM_EVERY_S", 0.2)
    dead, alive = processes
    for process in processes:
        process.report()
    game = await new_game(dead.live)
    await dead.join(game, "Ada", "Bob")
    alive.presence.arrived(game.id, "p-Ada")
    dead.presence.arrived(game.id, "p-Bob")
    await short_question(dead, game, 60_000)
    await alive.answer(game, 0, {"Ada": 1})
    await asyncio.sleep(1)
    assert (await alive.games.load(game.id)).game.phase is Phase.QUESTION
    await dead.die()
    (told,) = await alive.closed(game)
    assert told["reason"] == "all_answered"


async def test_everybody_has_answered_closes_at_once_wherever_the_answers_came_in(processes: Sequence[Process]) -> None:
    one, two = processes
    game = await new_game(one.live)
    await one.join(game, "Ada", "Bob", "Cyd", "Dan")
    await short_question(one, game, 60_000)
    await asyncio.gather(one.answer(game, 0, {"Ada": 1, "Bob": 1}), two.answer(game, 0, {"Cyd": 1, "Dan": 0}))
    (told,) = await one.closed(game)
    assert told["reason"] == "all_answered"
    assert told["counts"] == [1, 3, 0, 0]
    await asyncio.sleep(0.1)
    assert len(await one.closed(game)) == 1


async def test_everybody_has_answered_closes_once_though_the_reply_that_told_so_was_lost(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada", "Bob")
    await short_question(process, game, 60_000)
    tries = [AnswerTry(game.id, f"p-{name}", Reading(0, b"1")) for name in ("Ada", "Bob")]
    await Submissions(process.live).take_answers(process.live.keys.shard_of(game.id), tries)  # and nobody heard of it
    await asyncio.gather(*(process.answer(game, 0, {name: 1}) for name in ("Ada", "Bob") * 3))
    (told,) = await process.closed(game)
    assert told["reason"] == "all_answered"
    await asyncio.sleep(0.1)
    assert len(await process.closed(game)) == 1


async def test_the_host_may_choose_not_to_close_when_everybody_has_answered(process: Process) -> None:
    game = await new_game(process.live, options=msgspec.structs.replace(OPTIONS, close_when_all_answered=False))
    await process.join(game, "Ada")
    await short_question(process, game, 60_000)
    await process.answer(game, 0, {"Ada": 1})
    await asyncio.sleep(0.1)
    assert (await process.games.load(game.id)).game.phase is Phase.QUESTION


async def test_when_the_last_to_be_waited_for_is_kicked_the_question_closes(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada", "Bob")
    await short_question(process, game, 60_000)
    await process.answer(game, 0, {"Ada": 1})
    await process.conductor.remove(game.id, "p-Bob", ban=False)
    (told,) = await process.closed(game)
    assert told["reason"] == "all_answered"


async def test_a_process_that_dies_between_sealing_and_scoring_is_replaced(
    processes: Sequence[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizcast.live.games.TAKEOVER_MS", 300)
    dead, alive = processes
    game = await new_game(dead.live)
    await dead.join(game, "Ada", "Bob")
    await short_question(dead, game, 60_000)
    await dead.answer(game, 0, {"Ada": 1})
    assert await dead.games.seal(game.id, 0, HOST)  # and no more was heard of it
    alive.watch()
    (told,) = await alive.closed(game)
    assert told["counts"] == [0, 1, 0, 0]
    assert told["reason"] == "host"
    assert (await alive.games.standings(game.id, 0))["p-Ada"].points > 0


async def test_a_deadline_of_a_game_that_is_gone_is_forgotten(process: Process) -> None:
    game = await new_game(process.live)
    await short_question(process, game, 50)
    await process.live.client.delete(process.live.keys.game(game.id))
    process.watch()
    await asyncio.sleep(1.5)
    assert await process.games.due(3600) == []


async def test_a_close_whose_reason_does_not_hold_does_nothing(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada")
    await short_question(process, game, 60_000)
    for reason in (CloseReason.TIME, CloseReason.ALL_ANSWERED):
        await process.conductor.close(game.id, 0, reason)
    process.conductor.everybody_answered(game.id, 0)
    await process.conductor.stop()
    assert (await process.games.load(game.id)).game.phase is Phase.QUESTION
    assert isinstance((await process.answer(game, 0, {"Ada": 1}))[0], Taken)


# ── many hands ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_double_click_on_two_devices_opens_one_question(processes: Sequence[Process]) -> None:
    one, two = processes
    game = await new_game(one.live)
    after = await asyncio.gather(*(each.conductor.command(game.id, Open()) for each in (one, two, one, two)))
    assert {game.question_index for game in after} == {0}
    assert len({game.opening for game in after}) == 1
    assert [event.name for event in await one.events(game)] == ["question"]


async def test_the_same_idempotency_key_acts_once_in_every_process(processes: Sequence[Process]) -> None:
    one, two = processes
    game = await new_game(one.live)
    await one.conductor.command(game.id, Open(), key="k")
    await one.conductor.command(game.id, Close(reason=HOST))
    again = await two.conductor.command(game.id, Open(), key="k")
    assert again.phase is Phase.CLOSED
    assert [event.name for event in await one.events(game)] == ["question", "closed"]


async def test_closing_from_everywhere_at_once_tells_it_once_and_loses_no_answer(processes: Sequence[Process]) -> None:
    one, two = processes
    game = await new_game(one.live)
    names = [f"n{number} x" for number in range(60)]
    await one.join(game, *names)
    await short_question(one, game, 60_000)

    async def late(name: str) -> bool:
        with contextlib.suppress(QuizcastError):
            await one.answer(game, 0, {name: 1})
            return True
        return False

    outcomes = await asyncio.gather(
        *(late(name) for name in names[:30]),
        *(each.conductor.command(game.id, Close(reason=HOST)) for each in (one, two, one, two)),
        *(late(name) for name in names[30:]),
    )
    (told,) = await one.closed(game)
    accepted = sum(one is True for one in outcomes)
    assert sum(told["counts"]) == accepted
    standings = await one.games.standings(game.id, 0)
    assert sum(one.answer is not None for one in standings.values()) == accepted
    assert len(standings) == 60


async def test_a_command_out_of_phase_changes_nothing(process: Process) -> None:
    game = await new_game(process.live)
    before = await process.games.load(game.id)
    for command in (Close(reason=HOST), ShowLeaderboard(), Finish()):
        with pytest.raises(OutOfPhase):
            await process.conductor.command(game.id, command)
    after = await process.games.load(game.id)
    assert (after.game, after.revision) == (before.game, before.revision)
    assert await process.events(game) == []
    with pytest.raises(GameUnknown):
        await process.conductor.command("nowhere", Open())


async def test_locking_while_a_question_is_being_closed_loses_neither(processes: Sequence[Process]) -> None:
    one, two = processes
    game = await new_game(one.live)
    await short_question(one, game, 60_000)
    await asyncio.gather(
        one.conductor.command(game.id, Close(reason=HOST)), two.conductor.command(game.id, Lock(locked=True))
    )
    after = (await one.games.load(game.id)).game
    assert after.phase is Phase.CLOSED
    assert after.locked


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_comes_late_starts_at_nought_and_is_ranked(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada", "Bob")
    await play(process, game, {"Ada": 1, "Bob": 0})
    await process.join(game, "Cyd")
    ranked = await process.conductor.ranked(game.id)
    assert [(one.participant_id, one.rank) for one in ranked] == [("p-Ada", 1), ("p-Bob", 2), ("p-Cyd", 2)]
    await play(process, game, {"Cyd": 1})
    standings = await process.games.standings(game.id, 1)
    assert standings["p-Cyd"].streak == 1
    assert 0 < standings["p-Cyd"].score <= 1000


async def test_the_kicked_are_out_of_every_ranking(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada", "Bob", "Cyd")
    await play(process, game, {"Ada": 1, "Bob": 1, "Cyd": 1})
    await process.conductor.remove(game.id, "p-Ada", ban=True)
    with pytest.raises(ParticipantUnknown):
        await process.conductor.remove(game.id, "p-Ada", ban=True)
    await process.conductor.command(game.id, ShowLeaderboard())
    board = msgspec.json.decode((await process.events(game))[-1].data)
    assert [place["participant_id"] for place in board["top"]] == ["p-Bob", "p-Cyd"]
    assert board["top"][0]["rank"] == 1
    assert board["participants"] == 2
    await play(process, game, {"Bob": 1})
    assert set(await process.games.standings(game.id, 1)) == {"p-Bob", "p-Cyd"}
    assert [one.participant_id for one in await process.conductor.ranked(game.id)] == ["p-Bob", "p-Cyd"]


async def test_answers_of_the_kicked_are_in_no_count(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada", "Bob", "Cyd")
    await short_question(process, game, 60_000)
    await process.answer(game, 0, {"Ada": 0, "Bob": 1})
    await process.conductor.remove(game.id, "p-Ada", ban=False)
    await process.conductor.command(game.id, Close(reason=HOST))
    (told,) = await process.closed(game)
    assert told["counts"] == [0, 1, 0, 0]


async def test_before_the_first_question_closes_nobody_has_a_rank(process: Process) -> None:
    game = await new_game(process.live)
    await process.join(game, "Ada")
    assert [one.rank for one in await process.conductor.ranked(game.id)] == [None]


async def test_polls_are_counted_and_not_scored(process: Process) -> None:
    poll = msgspec.convert({"kind": "poll", "prompt": "?", "choices": [{"text": "a"}, {"text": "b"}]}, type=Poll)
    game = await new_game(process.live, poll)
    await process.join(game, "Ada", "Bob")
    await play(process, game, {"Ada": 1, "Bob": 1})
    (told,) = await process.closed(game)
    assert told["correct"] is None
    assert told["counts"] == [0, 2]
    assert {one.score for one in (await process.games.standings(game.id, 0)).values()} == {0}


async def test_answers_are_checked_before_they_queue_and_refused_where_they_would_be_taken(process: Process) -> None:
    game = await new_game(process.live)
    assert process.games.quiz_at_hand(game.id) is None
    quiz = await process.games.quiz(game.id)
    assert process.games.quiz_at_hand(game.id) is quiz
    await process.join(game, "Ada")

    async def verdict(raw: object) -> object:
        shard = process.live.keys.shard_of(game.id)
        tries = [AnswerTry(game.id, "p-Ada", reading(quiz, 0, raw))]
        (found,), _ = await Submissions(process.live).take_answers(shard, tries)
        return found

    unfit = (4, -1, "1", None, True, [1], 1.0)
    assert {type(await verdict(raw)) for raw in (*unfit, 1)} == {QuestionNotOpen}
    await process.conductor.command(game.id, Open())
    for raw in unfit:
        refusal = await verdict(raw)
        assert isinstance(refusal, AnswerInvalid)
        assert refusal.detail
    assert isinstance(await verdict(1), Taken)
    assert {type(await verdict(raw)) for raw in unfit} == {AlreadyAnswered}
    for index in (-1, 3):
        with pytest.raises(QuestionNotOpen):
            reading(quiz, index, 1)
    with pytest.raises(GameUnknown):
        await process.games.quiz("nowhere")


async def test_of_quizzes_a_process_keeps_the_ones_used_last_and_so_many_bytes(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    *small, large = [await new_game(process.live, *[FOUR] * count) for count in (3, 3, 3, 5)]
    size = await process.live.client.strlen(process.live.keys.quiz(small[0].id))
    monkeypatch.setattr("quizcast.live.games.QUIZZES_KEPT_BYTES", 2 * size)

    def kept() -> list[bool]:
        return [process.games.quiz_at_hand(game.id) is not None for game in (*small, large)]

    await process.games.quiz(small[0].id)
    await process.games.quiz(small[1].id)
    process.games.quiz_at_hand(small[0].id)  # its hall answers
    await process.games.quiz(small[2].id)
    assert kept() == [True, False, True, False]
    await process.games.quiz(large.id)
    assert kept() == [False, False, False, True]
    await process.games.quiz(small[0].id)
    await process.games.quiz(small[1].id)
    assert kept() == [True, True, False, False]


async def test_a_pin_is_found_however_it_is_typed(process: Process) -> None:
    game = await new_game(process.live)
    for typed in (game.pin, f" {game.pin[:3]} {game.pin[3:]} ", f"{game.pin[:3]}-{game.pin[3:]}"):
        assert await process.conductor.find(typed) == game.id
    for typed in ("", "abc", "000000", game.pin + "1", "١٢٣٤٥٦"):
        with pytest.raises(PinUnknown):
            await process.conductor.find(typed)


async def test_a_finished_games_pin_is_soon_free(process: Process) -> None:
    game = await new_game(process.live)
    await play(process, game, {})
    await process.conductor.command(game.id, Finish())
    assert 0 < await process.live.client.ttl(process.live.keys.pin(game.pin)) <= 600


async def test_the_games_own_quiz_stays_what_it_was(process: Process) -> None:
    game = await new_game(process.live)
    assert await process.games.quiz(game.id) == QuizContent(title="t", questions=(FOUR, FOUR, FOUR))
    assert abs(game.created_at - await now(process.live)) < 5_000


async def test_the_slowest_process_sets_the_lead_of_the_next_question(processes: Sequence[Process]) -> None:
    one, other = processes
    game = await new_game(one.live, options=GameOptions())
    one.reach.reached(game.id, 40)
    other.reach.reached(game.id, 450)
    await asyncio.gather(one.reach.stop(), other.reach.stop())
    before = await now(one.live)
    after = await one.conductor.command(game.id, Open())
    assert after.opening is not None
    assert 900 <= after.opening.opens_at - before < 1400


async def lead_of_the_next_question(process: Process, game: Game) -> int:
    await process.reach.stop()  # what is to be told is told
    before = await now(process.live)
    after = await process.conductor.command(game.id, Open())
    assert after.opening is not None
    await process.conductor.command(game.id, Close(reason=HOST))
    return after.opening.opens_at - before


async def test_a_reach_that_is_small_again_brings_the_lead_back(process: Process) -> None:
    game = await new_game(process.live, options=GameOptions())
    process.reach.reached(game.id, 450)
    assert await lead_of_the_next_question(process, game) >= 900
    process.reach.reached(game.id, 40)
    assert 300 <= await lead_of_the_next_question(process, game) < 600


async def test_a_reach_that_changes_no_lead_is_not_told(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    async def telling(_game_id: str, reach_ms: int) -> None:
        if reach_ms == 30:
            raise RedisUnavailable()
        told.append(reach_ms)

    monkeypatch.setattr(process.reach, "tell_reach", telling)
    game = await new_game(process.live, options=GameOptions())
    for reach_ms in (20, 150, 200, 180, 30, 40, 50):
        process.reach.reached(game.id, reach_ms)
        await process.reach.stop()
    assert told == [200, 180, 40], "what could not be told is made up for by the next"


async def test_more_time_moves_the_deadline_the_snapshot_and_the_stored_question(processes: Sequence[Process]) -> None:
    process, other = processes
    game = await new_game(process.live, options=OPTIONS)
    await process.join(game, "ada", "ben")
    process.watch()
    asked = await process.conductor.command(game.id, Open(time_limit_ms=1000))
    await asyncio.sleep(0.7)  # within reach of the deadline: its timer is set
    assert asked.opening is not None
    longer = await other.conductor.command(game.id, Extend(closes_at=asked.opening.closes_at + 1000))
    assert longer.opening is not None
    assert longer.opening.closes_at == asked.opening.closes_at + 1000
    _, snapshot = await Views(process.live).state(game.id, None)
    assert msgspec.json.decode(snapshot.question)["closes_at"] == longer.opening.closes_at  # type: ignore[arg-type]
    await asyncio.sleep(max(0, asked.opening.closes_at + 100 - await now(process.live)) / 1000)
    await process.answer(game, 0, {"ada": 1})
    (closed,) = await process.closed(game)
    assert closed["reason"] == "time"
    assert closed["server_now_at"] >= longer.opening.closes_at
    assert (await process.games.standings(game.id, 0))["p-ada"].points in range(
        700, 750
    )  # half of the time, and a bit, at a quarter of the points each
    shard = process.live.keys.shard_of(game.id)
    rows = [decode_row(row[b"row"]) for _, row in await process.live.client.xrange(process.live.keys.rows(shard))]
    assert OpeningRow(game.id, longer.opening) in rows


async def test_a_question_that_is_being_closed_gets_no_more_time(process: Process) -> None:
    game = await new_game(process.live, options=OPTIONS)
    await process.join(game, "ada")
    await process.conductor.command(game.id, Open())
    assert await process.games.seal(game.id, 0, HOST) is HOST
    with pytest.raises(Unavailable):
        await process.conductor.command(game.id, Extend(closes_at=await now(process.live) + 60_000))
    assert "extended" not in [one.name for one in await process.events(game)]


async def test_slow_streams_are_counted_over_all_processes_and_forgotten(processes: Sequence[Process]) -> None:
    process, other = processes
    game = await new_game(process.live)
    await process.join(game, "ada", "ben", "cy")
    process.presence.arrived(game.id, "p-ada")
    other.presence.arrived(game.id, "p-ben")
    for one in processes:
        await one.presence.report()
    assert await process.reach.connections(game.id) == (3, 3, 0)
    process.reach.slow(game.id, 1)
    other.reach.slow(game.id, 1)
    await asyncio.gather(process.reach.stop(), other.reach.stop())
    assert await other.reach.connections(game.id) == (3, 3, 2)
    process.reach.slow(game.id, 0)
    await process.reach.stop()
    assert await process.reach.connections(game.id) == (3, 3, 1)


async def test_a_process_that_is_gone_is_forgotten_however_often_the_others_tell(processes: Sequence[Process]) -> None:
    process, gone = processes
    game = await new_game(process.live)
    gone.reach.reached(game.id, 450)
    gone.reach.slow(game.id, 7)
    await gone.reach.stop()
    assert await process.reach.reach_ms(game.id) == 450
    assert await process.reach.connections(game.id) == (0, 0, 7)
    process.live.set_clock(process.live.now() + 1000 * (REACH_FRESH_S + 1))
    process.reach.reached(game.id, 200)
    process.reach.slow(game.id, 1)
    await process.reach.stop()
    assert await process.reach.reach_ms(game.id) == 200
    assert await process.reach.connections(game.id) == (0, 0, 1)
