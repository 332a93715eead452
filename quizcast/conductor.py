"""What a host can do with a game, and what time does to it: load → `game.step` → save; floor 6.

Two hosts' devices and every web process may act on one game at the same moment: saving is compare-and-set, and who
loses the race loads again, whereupon the step is usually a no-op. No game hangs on one process: each of them watches
the deadlines of all games, and those that have a game's people are only the first to act on it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence

import msgspec
from msgspec import UNSET

from quizcast.domain import scoring
from quizcast.domain.game import (
    Close,
    Closed,
    CloseReason,
    Command,
    Extended,
    Fact,
    Finished,
    Game,
    LeaderboardShown,
    Open,
    Opened,
    Phase,
    step,
)
from quizcast.domain.nickname import clean_nickname, skeleton
from quizcast.domain.quiz import QuizContent, correct_answer, read_answer, tally
from quizcast.domain.scoring import Given, Tally, outcome
from quizcast.errors import (
    AnswerInvalid,
    GameUnknown,
    ParticipantUnknown,
    PinUnknown,
    QuestionNotOpen,
    QuizcastError,
    Unavailable,
)
from quizcast.live.games import Games, LiveGame, Person, Standing
from quizcast.live.presence import Presence
from quizcast.live.reach import Reach
from quizcast.live.submissions import JoinTry, Reading
from quizcast.metrics import CLOSE_LATE_SECONDS
from quizcast.wire import events
from quizcast.wire.rows import OpeningRow, PhaseRow, Row

RACES_MAX = 8  # times that others may be quicker before something is wrong
WATCH_EVERY_S = 0.25
NEAR_S = 2 * WATCH_EVERY_S  # deadlines that are read: each of them twice, so that a slow reading misses none
ORPHANED_S = 0.5  # overdue, and none of the processes that have the game's people has closed it: now anybody may
SPREAD_S = 0.02  # between the processes' attempts at one deadline, so that mostly the first does the work
TOP = 10  # places in `finished`, and in `leaderboard` unless the host asks for more
FRESH_S = 1.0  # of a PIN and a ranking: a whole hall asks for the same at once

log = logging.getLogger(__name__)
_encode_answer = msgspec.json.Encoder().encode


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A participant with their place; `rank` is None before the first question has closed."""

    participant_id: str
    person: Person
    score: int
    rank: int | None
    gained: int


class Conductor:
    """The live games' use cases. One per process; `watch` runs in the background until cancelled."""

    def __init__(self, games: Games, reach: Reach, ring: Callable[[str], None] = lambda _game_id: None) -> None:
        """`ring` is told of each game that has rows for Postgres; without it they wait for the workers' sweep."""
        self._games = games
        self._reach = reach
        self._ring = ring
        self._closing: set[tuple[str, int]] = set()
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ranked: dict[str, tuple[float, list[Ranked]]] = {}
        self._pins: dict[str, tuple[float, str]] = {}

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────

    async def command(self, game_id: str, command: Command, key: str = "") -> Game:
        """Do what the host asks; the game afterwards. Raises `GameUnknown` or the `Conflict` that `step` raises.

        `key` is the request's Idempotency-Key.
        """
        quiz = await self._games.quiz(game_id)
        if isinstance(command, Open):
            command = msgspec.structs.replace(command, reach_ms=await self._reach.reach_ms(game_id))
        for _ in range(RACES_MAX):
            before = await self._games.load(game_id)
            after, facts = step(before.game, quiz, command, before.now, key)
            if after == before.game:
                return after
            certain = await self._sealed(before, facts)
            if certain is None:
                continue
            told = [await self._told(before, quiz, fact) for fact in certain]
            rows = _rows(after, facts)
            if await self._games.advance(before, after, told, rows):
                if rows:
                    self._ring(game_id)
                if any(isinstance(fact, Opened | Finished) for fact in facts):
                    await self._games.keep(after)
                return after
        raise Unavailable("too many commands at the same moment", retry_after_s=1)

    async def close(self, game_id: str, question: int, reason: CloseReason) -> None:
        """Close a question for `reason`, if it is open and the reason holds. Safe to call from anywhere, often."""
        if (game_id, question) in self._closing:
            return
        self._closing.add((game_id, question))
        try:
            await self.command(game_id, Close(reason=reason, question=question))
        except _NotYet:
            return
        finally:
            self._closing.discard((game_id, question))

    async def _sealed(self, before: LiveGame, facts: Sequence[Fact]) -> Sequence[Fact] | None:
        """Seal the question that is about to close: from here on no answer can slip in behind the scoring.

        The facts, with the reason that came first: whoever takes over from a dead process tells that one's. None
        when the host's question is open no more; raises `_NotYet` when another reason does not hold.
        """
        done: list[Fact] = []
        for fact in facts:
            if isinstance(fact, Closed):
                reason = await self._games.seal(before.game.id, fact.opening.question, fact.reason)
                if reason is None and fact.reason is CloseReason.HOST:
                    return None
                if reason is None:
                    raise _NotYet
                done.append(msgspec.structs.replace(fact, reason=reason))
            else:
                done.append(fact)
        return done

    async def _told(self, before: LiveGame, quiz: QuizContent, fact: Fact) -> events.Kept:
        game = before.game
        match fact:
            case Opened(opening=opening):
                question = quiz.questions[opening.question]
                return events.question_shown(question, opening, game.question_count)
            case Closed():
                return await self._score(before, quiz, fact)
            case Extended(opening=opening):
                return events.Extended(index=opening.question, closes_at=opening.closes_at)
            case LeaderboardShown(limit=limit):
                ranked = await self._rank(game)
                return events.Leaderboard(top=_places(ranked[:limit]), participants=len(ranked))
            case Finished():
                ranked = await self._rank(game)
                return events.Finished(top=_places(ranked[:TOP]), participants=len(ranked), questions=len(game.played))

    async def _score(self, before: LiveGame, quiz: QuizContent, fact: Closed) -> events.Closed:
        game, opening = before.game, fact.opening
        question = quiz.questions[opening.question]
        answers = await self._games.answers(game.id, opening.question)
        people = await self._games.people(game.id)
        earlier: Mapping[str, Standing] = {}
        if len(game.played) > 1:
            earlier = await self._games.standings(game.id, game.played[-2])
        # In a thread: ten thousand answers take long enough to hold up everybody else's.
        standings = await asyncio.to_thread(_standings, game, quiz, fact, people, answers, earlier)
        await self._games.write_standings(game.id, opening.question, standings)
        self._ranked.pop(game.id, None)
        if fact.reason is CloseReason.TIME:
            CLOSE_LATE_SECONDS.observe(max(0, before.now - game.accepts_until) / 1000)
        return events.Closed(
            index=opening.question,
            reason=fact.reason,
            correct=correct_answer(question, opening.shuffle),
            counts=tally(question, [given.answer for pid, given in answers.items() if pid in people]),
            explanation=question.explanation or UNSET,
        )

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────

    async def find(self, pin: str) -> str:
        """The game that has this PIN. Raises `PinUnknown`. Remembered for a moment: a whole hall types the same."""
        pin = "".join(pin.split()).replace("-", "")
        if not (pin.isascii() and pin.isdigit()):
            raise PinUnknown()
        found_at, game_id = self._pins.get(pin, (0.0, ""))
        if not game_id or time.monotonic() - found_at > FRESH_S:
            if len(self._pins) > 1000:
                self._pins.clear()
            game_id = await self._games.find(pin)
            self._pins[pin] = (time.monotonic(), game_id)
        return game_id

    async def ranked(self, game_id: str) -> list[Ranked]:
        """Everybody who takes part, from the best down; at most a second old. Raises `GameUnknown`."""
        made_at, ranked = self._ranked.get(game_id, (0.0, None))
        if ranked is None or time.monotonic() - made_at > FRESH_S:
            ranked = await self._rank((await self._games.load(game_id)).game)
            if len(self._ranked) > 1000:
                self._ranked.clear()
            self._ranked[game_id] = (time.monotonic(), ranked)
        return ranked

    async def _rank(self, game: Game) -> list[Ranked]:
        people = await self._games.people(game.id)
        scored = [index for index in game.played if game.phase is not Phase.QUESTION or index != game.played[-1]]
        standings = await self._games.standings(game.id, scored[-1]) if scored else {}
        places = scoring.ranked({pid: one.score for pid, one in standings.items()}, people)
        return [
            Ranked(
                participant_id=pid,
                person=people[pid],
                score=standings[pid].score if pid in standings else 0,
                rank=rank if scored else None,
                gained=standings[pid].points if pid in standings else 0,
            )
            for rank, pid in places
        ]

    async def remove(self, game_id: str, participant_id: str, *, ban: bool) -> None:
        """Kick somebody, or kick and ban. Raises `ParticipantUnknown`; a second kick is one too."""
        person = await self._games.person(game_id, participant_id)
        if person is None:
            raise ParticipantUnknown()
        await self._games.remove(game_id, participant_id, skeleton(person.nickname), ban=ban)
        self._ring(game_id)
        self._ranked.pop(game_id, None)
        self.everybody_answered(game_id)  # perhaps: they may have been the last to be waited for

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def watch(self, presence: Presence) -> None:
        """Close every question at its deadline. Runs until cancelled.

        Deadlines of games that have nobody here are left to the processes that have, as long as one of them acts:
        otherwise each process would load each game at each deadline.
        """
        blind, steps = False, self._games.clock_steps
        while True:
            try:
                for game_id, in_s in await self._games.due(NEAR_S):
                    ours = presence.has(game_id) or in_s < -ORPHANED_S
                    if ours and game_id not in self._deadlines:
                        self._close_in(game_id, max(0.0, in_s))
                if steps != self._games.clock_steps:
                    steps = self._games.clock_steps
                    presence.confirm()
                blind = False
            except QuizcastError as error:
                if not blind:  # an outage is one line in the log, and not four a second
                    log.warning("the deadlines cannot be read: %s", error.code)
                blind = True
            await asyncio.sleep(WATCH_EVERY_S)

    def _close_in(self, game_id: str, in_s: float) -> None:
        delay_s = in_s + 0.002 + SPREAD_S * random.random()
        self._deadlines[game_id] = asyncio.get_running_loop().call_later(delay_s, self._at_deadline, game_id)

    def everybody_answered(self, game_id: str, question: int | None = None) -> None:
        """Nobody is waited for any more: close the question soon, if the host wants that."""
        self._spawn(self._close_present(game_id, question, CloseReason.ALL_ANSWERED))

    def _at_deadline(self, game_id: str) -> None:
        self._deadlines.pop(game_id, None)
        self._spawn(self._close_present(game_id, None, CloseReason.TIME))

    async def _close_present(self, game_id: str, question: int | None, reason: CloseReason) -> None:
        try:
            game = (await self._games.load(game_id)).game
            if game.question_index is None or game.phase is not Phase.QUESTION:
                return
            if question is not None and question != game.question_index:
                return
            if reason is CloseReason.ALL_ANSWERED and not game.options.close_when_all_answered:
                return
            await self.close(game_id, game.question_index, reason)
        except GameUnknown:
            await self._games.forget_due(game_id)
        except QuizcastError as error:
            log.warning("a question could not be closed yet: %s", error.code)

    async def stop(self) -> None:
        """Let what is under way come to its end, and begin nothing more."""
        for deadline in self._deadlines.values():
            deadline.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _NotYet(Exception):
    """The reason to close does not hold (any more)."""


def reading(quiz: QuizContent, question: int, raw: object) -> Reading:
    """What somebody sent as an answer. Raises `QuestionNotOpen` when the quiz has no such question.

    One that does not fit goes to the intake as well, to be refused there when the question is open: until a question
    was shown, not even its kind is for anybody to find out.
    """
    if not 0 <= question < len(quiz.questions):
        raise QuestionNotOpen()
    try:
        return Reading(question, _encode_answer(read_answer(quiz.questions[question], raw)))
    except AnswerInvalid as error:
        return Reading(question, b"", error.detail)


def join_try(game_id: str, participant_id: str, nickname: str) -> JoinTry:
    """A wish to take part, for the intake. Raises `NicknameInvalid`."""
    name = clean_nickname(nickname)
    return JoinTry(game_id, participant_id, name, skeleton(name))


def _standings(
    game: Game,
    quiz: QuizContent,
    fact: Closed,
    people: Mapping[str, Person],
    answers: Mapping[str, Given],
    earlier: Mapping[str, Standing],
) -> dict[str, Standing]:
    question = quiz.questions[fact.opening.question]
    outcomes = {}
    for pid in people:
        before = earlier.get(pid)
        tally_before = Tally(before.score, before.streak) if before else Tally()
        outcomes[pid] = outcome(question, fact.opening, game.options, tally_before, answers.get(pid))
    places = scoring.ranked({pid: one.score for pid, one in outcomes.items()}, people)
    standings = {}
    for rank, pid in places:
        one, given = outcomes[pid], answers.get(pid)
        standings[pid] = Standing(one.correct, one.points, one.score, one.streak, rank, given.answer if given else None)
    return standings


def _places(ranked: Sequence[Ranked]) -> list[events.Place]:
    return [
        events.Place(
            rank=one.rank or 1,
            participant_id=one.participant_id,
            nickname=one.person.nickname,
            score=one.score,
            gained=one.gained,
        )
        for one in ranked
    ]


def _rows(game: Game, facts: Sequence[Fact]) -> list[Row]:
    rows: list[Row] = []
    for fact in facts:
        if isinstance(fact, Opened | Extended):
            rows.append(OpeningRow(game.id, fact.opening))
        if not isinstance(fact, Extended | LeaderboardShown):
            rows.append(PhaseRow(game.id, game.phase))
    return rows
