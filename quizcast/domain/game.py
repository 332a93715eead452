"""A game's phases and the host's commands: `step(game, quiz, command, now) -> (game, facts)`; floor 3, pure.

    lobby ─► question ─► closed ─► question … closed ─► finished

A command out of phase raises a `Conflict` and changes nothing. The same command a second time (a double click, a
retry) returns the same game and no facts: what is asked for already holds. Chance (the shuffle) and time come in
from outside; who answered what is not in here, so that a game is small and a step is cheap.
"""

from enum import StrEnum
from typing import Annotated, TypeAlias, assert_never

import msgspec
from msgspec import Meta

from quizcast.domain.quiz import Order, QuizContent, Shuffle
from quizcast.domain.scoring import Opening, Rules
from quizcast.errors import GameOver, NoMoreQuestions, OutOfPhase, QuestionPlayed

LEAD_MS = 300  # unless a host says otherwise; longer by itself where an event takes longer to reach everybody
LEAD_MAX_MS = 5000
KEYS_KEPT = 8  # idempotency keys remembered; a client retries its last command, not one of long ago
TOP_MAX = 100
TIME_LIMIT_MAX_MS = 3_600_000


class Phase(StrEnum):
    """Where a game is."""

    LOBBY = "lobby"
    QUESTION = "question"
    CLOSED = "closed"
    FINISHED = "finished"


class CloseReason(StrEnum):
    """Why a question closed."""

    TIME = "time"
    HOST = "host"
    ALL_ANSWERED = "all_answered"


class QuestionOn(StrEnum):
    """Where the text of a question is shown; a wish that pages honour, clients get the text in any case."""

    BOTH = "both"
    PHONES = "phones"
    SCREEN = "screen"


class GameOptions(Rules, frozen=True, kw_only=True):
    """What a host may choose when creating a game."""

    max_participants: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    close_when_all_answered: bool = True
    late_join: bool = True
    lead_ms: Annotated[int, Meta(ge=0, le=10_000)] = LEAD_MS
    grace_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    question_on: QuestionOn = QuestionOn.BOTH


class Game(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a game that a command can change, and who it belongs to."""

    id: str
    pin: str
    host_id: str
    quiz_id: str
    question_count: int
    created_at: int
    title: str = ""  # the quiz's
    options: GameOptions = GameOptions()
    phase: Phase = Phase.LOBBY
    opening: Opening | None = None  # the question that is open, or was last
    played: tuple[int, ...] = ()
    locked: bool = False
    board_limit: int | None = None  # how long a leaderboard was shown since the last question closed
    finished_at: int | None = None
    keys: tuple[str, ...] = ()

    @property
    def question_index(self) -> int | None:
        """Index of the question that is open or was last; None in the lobby."""
        return self.opening.question if self.opening else None

    @property
    def accepts_until(self) -> int:
        """The last moment (server's ms) at which an answer to the present question still counts."""
        return self.opening.closes_at + self.options.grace_ms if self.opening else 0


# ── what can be asked of a game ───────────────────────────────────────────────────────────────────────────────


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a question: the given one, else the next.

    `chance` in [0, 1) picks the shuffle of an `order` question; `reach_ms` is how long the last events took to reach
    everybody.
    """

    question: int | None = None
    time_limit_ms: int | None = None
    chance: float = 0.0
    reach_ms: int = 0


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """Take no more answers to the open question. `question` guards a late timer against closing the next one."""

    reason: CloseReason
    question: int | None = None


class Extend(msgspec.Struct, frozen=True, kw_only=True):
    """Let the open question close later, at `closes_at`. Speed counts by the end as it is at last, for all alike."""

    closes_at: int


class ShowLeaderboard(msgspec.Struct, frozen=True, kw_only=True):
    """Show the first `limit` places."""

    limit: int = 10


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """Let nobody new in, or let them in again."""

    locked: bool


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """End the game and show the podium."""


Command: TypeAlias = Open | Close | Extend | ShowLeaderboard | Lock | Finish

# ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A question is (about to be) open."""

    opening: Opening


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A question takes no more answers; now it is scored."""

    opening: Opening
    reason: CloseReason


class Extended(msgspec.Struct, frozen=True, kw_only=True):
    """The open question closes later."""

    opening: Opening


class LeaderboardShown(msgspec.Struct, frozen=True, kw_only=True):
    """The leaderboard is on."""

    limit: int


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The game is over."""


Fact: TypeAlias = Opened | Closed | Extended | LeaderboardShown | Finished


def step(game: Game, quiz: QuizContent, command: Command, now: int, key: str = "") -> tuple[Game, tuple[Fact, ...]]:
    """The game after `command` at `now` (server's ms), and the facts to tell: none when nothing changes.

    `key` is the request's Idempotency-Key: a command whose key was seen before is taken for a retry.
    Raises `OutOfPhase`, `GameOver`, `NoMoreQuestions` or `QuestionPlayed`.
    """
    if key and key in game.keys:
        return game, ()
    match command:
        case Open():
            after, facts = _open(game, quiz, command, now)
        case Close():
            after, facts = _close(game, command)
        case Extend():
            after, facts = _extend(game, command, now)
        case ShowLeaderboard():
            after, facts = _show(game, command)
        case Lock():
            after, facts = _lock(game, command)
        case Finish():
            after, facts = _finish(game, now)
        case _:
            assert_never(command)
    if key:  # also when nothing changed: the retry must not find a moment when the same would do something
        after = msgspec.structs.replace(after, keys=(*after.keys, key)[-KEYS_KEPT:])
    return after, facts


def _open(game: Game, quiz: QuizContent, command: Open, now: int) -> tuple[Game, tuple[Fact, ...]]:
    _not_over(game)
    if game.opening and command.question == game.opening.question:
        return game, ()
    if game.phase is Phase.QUESTION:
        if command.question is None:
            return game, ()
        raise OutOfPhase("close the open question first")
    index = command.question
    if index is None:
        ahead = range(0 if game.opening is None else game.opening.question + 1, game.question_count)
        index = next((one for one in ahead if one not in game.played), game.question_count)
    if not 0 <= index < game.question_count:
        raise NoMoreQuestions(f"the quiz has {game.question_count} questions")
    if index in game.played:
        raise QuestionPlayed(f"question {index} was played; a question is played once in a game")
    question = quiz.questions[index]
    opens_at = now + lead_ms(game.options, command.reach_ms)
    opening = Opening(
        question=index,
        opens_at=opens_at,
        closes_at=opens_at + (command.time_limit_ms or question.time_limit_ms),
        shuffle=shuffle(len(question.items), command.chance) if isinstance(question, Order) else (),
    )
    after = msgspec.structs.replace(
        game, phase=Phase.QUESTION, opening=opening, played=(*game.played, index), board_limit=None
    )
    return after, (Opened(opening=opening),)


def lead_ms(options: GameOptions, reach_ms: int) -> int:
    """How far ahead of its opening a question is pushed: as the host says, and unless they do, far enough for all."""
    if options.lead_ms != LEAD_MS:
        return options.lead_ms
    return min(LEAD_MAX_MS, max(LEAD_MS, 2 * reach_ms))  # twice: the way from here to the screen is not measured


def _close(game: Game, command: Close) -> tuple[Game, tuple[Fact, ...]]:
    another = command.question is not None and command.question != game.question_index
    if game.opening is None or (game.phase is Phase.FINISHED and command.reason is CloseReason.HOST):
        raise OutOfPhase("no question is open")
    if game.phase is not Phase.QUESTION or another:
        return game, ()
    after = msgspec.structs.replace(game, phase=Phase.CLOSED)
    return after, (Closed(opening=game.opening, reason=command.reason),)


def _extend(game: Game, command: Extend, now: int) -> tuple[Game, tuple[Fact, ...]]:
    _not_over(game)
    if game.opening is None or game.phase is not Phase.QUESTION or now > game.accepts_until:
        raise OutOfPhase("no question is open")
    closes_at = min(command.closes_at, game.opening.opens_at + TIME_LIMIT_MAX_MS)
    if closes_at <= game.opening.closes_at:
        return game, ()
    opening = msgspec.structs.replace(game.opening, closes_at=closes_at)
    return msgspec.structs.replace(game, opening=opening), (Extended(opening=opening),)


def _show(game: Game, command: ShowLeaderboard) -> tuple[Game, tuple[Fact, ...]]:
    _not_over(game)
    if game.phase is not Phase.CLOSED:
        raise OutOfPhase("the leaderboard is shown after a question has closed")
    limit = max(1, min(command.limit, TOP_MAX))
    if game.board_limit == limit:
        return game, ()
    return msgspec.structs.replace(game, board_limit=limit), (LeaderboardShown(limit=limit),)


def _lock(game: Game, command: Lock) -> tuple[Game, tuple[Fact, ...]]:
    _not_over(game)
    return msgspec.structs.replace(game, locked=command.locked), ()


def _finish(game: Game, now: int) -> tuple[Game, tuple[Fact, ...]]:
    if game.phase is Phase.FINISHED:
        return game, ()
    if game.phase is not Phase.CLOSED:
        raise OutOfPhase("a game is finished after a question has closed")
    return msgspec.structs.replace(game, phase=Phase.FINISHED, finished_at=now), (Finished(),)


def _not_over(game: Game) -> None:
    if game.phase is Phase.FINISHED:
        raise GameOver()


def shuffle(count: int, chance: float) -> Shuffle:
    """One of the orders of `count` things, evenly by `chance` in [0, 1).

    The right one too: were it never shown, what is shown would tell that it is wrong.
    """
    places = list(range(count))
    total = 1
    for size in range(2, count + 1):
        total *= size
    number = int(chance * total)
    picked = []
    for size in range(count, 0, -1):
        total //= size
        turn, number = divmod(number, total)
        picked.append(places.pop(turn))
    return tuple(picked)
