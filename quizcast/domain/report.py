"""What a game came to: every answer marked, everybody ranked, from what was recorded; floor 3, pure.

It folds `scoring.outcome` over the questions in the order in which they were opened, for everybody who takes part, as
the live game does when a question closes: so the report shows what was shown. Somebody who joined after a question
had closed has no answer to it, and nothing to lose there.
"""

from collections.abc import Mapping, Sequence

import msgspec

from quizcast.domain.quiz import Answer, Order, QuizContent, correct_answer, tally
from quizcast.domain.scoring import Given, Opening, Outcome, Rules, Tally, outcome, ranked


class Member(msgspec.Struct, frozen=True):
    """Somebody who takes part (and was not removed)."""

    id: str
    nickname: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a game's play.

    `openings` in the order of opening, `members` in that of joining, `answers` by question and participant; answers of
    people who are no members (removed, or their join is yet to be stored) may be among them and are left out.
    """

    quiz: QuizContent
    rules: Rules
    openings: Sequence[Opening]
    members: Sequence[Member]
    answers: Mapping[int, Mapping[str, Given]]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One member's place; `outcomes` by question, for those that were opened, with an answer or without."""

    rank: int
    member: Member
    score: int
    outcomes: Mapping[int, Outcome]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is right, in the participants' terms, and what the members said (see `quiz.tally`)."""

    correct: Answer | tuple[str, ...] | None
    counts: list[int] | dict[str, int]


def ranking(record: Record) -> list[Line]:
    """Everybody from the best down."""
    lines: dict[str, dict[int, Outcome]] = {}
    scores: dict[str, int] = {}
    for member in record.members:
        before, outcomes = Tally(), {}
        for opening in record.openings:
            given = record.answers.get(opening.question, {}).get(member.id)
            one = outcome(record.quiz.questions[opening.question], opening, record.rules, before, given)
            outcomes[opening.question] = one
            before = Tally(one.score, one.streak)
        lines[member.id], scores[member.id] = outcomes, before.score
    members = {member.id: member for member in record.members}
    return [
        Line(rank=rank, member=members[pid], score=scores[pid], outcomes=lines[pid])
        for rank, pid in ranked(scores, members)
    ]


def asked(record: Record) -> list[Asked]:
    """Every question of the quiz, opened or not. An `order` question has no right answer before it was shuffled."""
    openings = {opening.question: opening for opening in record.openings}
    members = {member.id for member in record.members}
    found = []
    for index, question in enumerate(record.quiz.questions):
        opening = openings.get(index)
        shuffle = opening.shuffle if opening else ()
        given = [given.answer for pid, given in record.answers.get(index, {}).items() if pid in members]
        unknown = isinstance(question, Order) and not shuffle
        found.append(
            Asked(correct=None if unknown else correct_answer(question, shuffle), counts=tally(question, given))
        )
    return found
