"""Points and places; floor 3, pure and repeatable: the same answers give the same scores, today and in a year.

points = question points × how right (`quiz.mark`) × how fast + streak bonus
how fast      1 at `opens_at`, falling evenly to ½ at `closes_at`; always 1 without `speed_scoring`
streak bonus  a tenth of the question's points for the 2nd right answer in a row, two tenths for the 3rd, …
              five at most; none without `streak_bonus`
places        by score; ties share a rank and the next rank is skipped (1, 2, 2, 4)
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from quizcast.domain.quiz import Answer, Numeric, Poll, Question, Shuffle, WordCloud, mark

SLOWEST = 0.5  # share of the points that an answer at the last moment keeps
STREAK_STEP = 0.1
STREAK_STEPS_MAX = 5


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """One playing of one question: its index, when it took answers, and how an `order` question was shuffled."""

    question: int
    opens_at: int
    closes_at: int
    shuffle: Shuffle = ()


class Given(msgspec.Struct, frozen=True, array_like=True):
    """An answer that was accepted, and when (ms since the epoch, the server's clock)."""

    answer: Answer
    received_at: int


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the bonuses a game plays with."""

    speed_scoring: bool = True
    streak_bonus: bool = True


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """Where somebody stands: the score so far, and how many right answers in a row."""

    score: int = 0
    streak: int = 0


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What one question brought somebody. `correct` is None where nothing can be right."""

    correct: bool | None
    points: int
    score: int
    streak: int


def outcome(question: Question, opening: Opening, rules: Rules, before: Tally, given: Given | None) -> Outcome:
    """One participant's outcome of one question; `given` is None for no answer.

    Polls, word clouds and practice questions change neither score nor streak.
    """
    right = 0.0 if given is None else mark(question, given.answer, opening.shuffle)
    correct = right == 1.0 or (right > 0.0 and isinstance(question, Numeric))
    if isinstance(question, Poll | WordCloud):
        return Outcome(None, 0, before.score, before.streak)
    if question.points == 0:  # practice
        return Outcome(correct, 0, before.score, before.streak)
    streak = before.streak + 1 if correct else 0
    points = 0.0
    if given is not None and right > 0.0:
        points = question.points * right * (speed(opening, given.received_at) if rules.speed_scoring else 1.0)
    if rules.streak_bonus and streak > 1:
        points += question.points * STREAK_STEP * min(streak - 1, STREAK_STEPS_MAX)
    gained = math.floor(points + 0.5)  # `round` would pay the last moment of a 1-point question nothing
    return Outcome(correct, gained, before.score + gained, streak)


def speed(opening: Opening, received_at: int) -> float:
    """1.0 at `opens_at`, 0.5 at `closes_at`; an answer in the grace time after it counts as the slowest."""
    span = max(1, opening.closes_at - opening.opens_at)
    late = min(1.0, max(0.0, (received_at - opening.opens_at) / span))
    return 1.0 - (1.0 - SLOWEST) * late


def ranked(scores: Mapping[str, int], joined: Iterable[str]) -> list[tuple[int, str]]:
    """`(rank, participant id)` from the best down; within a tie whoever joined first is named first.

    `joined` lists everybody who takes part, in the order of joining; one without a score has 0.
    """
    by_score = sorted(joined, key=lambda person: -scores.get(person, 0))
    places: list[tuple[int, str]] = []
    for place, person in enumerate(by_score, start=1):
        tied = places and scores.get(person, 0) == scores.get(places[-1][1], 0)
        places.append((places[-1][0] if tied else place, person))
    return places
