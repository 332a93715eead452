"""What a game came to, folded from its record by hand-made examples; the real way round is in test_results.py."""

from quizcast.domain.quiz import Option as PollOption
from quizcast.domain.quiz import Order, Poll, QuizContent, TrueFalse
from quizcast.domain.report import Member, Record, asked, ranking
from quizcast.domain.scoring import Given, Opening, Rules

NOW = 1_700_000_000_000
TRUE = TrueFalse(prompt="?", correct=True, points=100)
ADA, BOB = Member("a", "Ada"), Member("b", "Bob")


def opening(question: int, turn: int) -> Opening:
    return Opening(question=question, opens_at=NOW + turn * 60_000, closes_at=NOW + turn * 60_000 + 20_000)


def record(said: dict[int, dict[str, bool]], order: tuple[int, ...] = (0, 1, 2)) -> Record:
    """Ada and Bob before three questions, asked in this order."""
    return Record(
        quiz=QuizContent(title="t", questions=(TRUE, TRUE, TRUE)),
        rules=Rules(speed_scoring=False),
        openings=[opening(question, turn) for turn, question in enumerate(order)],
        members=[ADA, BOB],
        answers={question: {pid: Given(given, NOW) for pid, given in of.items()} for question, of in said.items()},
    )


def test_a_streak_runs_through_the_questions_in_the_order_in_which_they_were_asked() -> None:
    said = {0: {"a": True, "b": True}, 1: {"a": False, "b": True}, 2: {"a": True, "b": True}}
    lines = ranking(record(said))
    assert [(line.member, line.score) for line in lines] == [(BOB, 330), (ADA, 200)]
    first, second = ranking(record(said, (1, 0, 2)))
    assert (first.score, second.score) == (330, 210)  # Ada's two right answers come after each other now


def test_no_answer_ends_a_streak_and_is_an_outcome_all_the_same() -> None:
    (ada, _) = ranking(record({0: {"a": True}, 2: {"a": True}}))
    assert ada.score == 200
    assert [ada.outcomes[question].points for question in range(3)] == [100, 0, 100]


def test_a_question_that_was_not_asked_brings_nothing() -> None:
    lines = ranking(record({0: {"a": True}, 1: {"a": True}}, (0,)))
    assert [(line.rank, line.member, line.score) for line in lines] == [(1, ADA, 100), (2, BOB, 0)]
    assert set(lines[0].outcomes) == {0}


def test_who_is_no_member_counts_nowhere() -> None:
    played = record({0: {"a": True, "gone": False}})
    assert [line.member for line in ranking(played)] == [ADA, BOB]
    assert asked(played)[0].counts == {"true": 1, "false": 0}


def test_what_is_right_is_said_in_the_participants_terms_once_there_are_any() -> None:
    quiz = QuizContent(
        title="t",
        questions=(
            Order(prompt="?", items=("x", "y", "z")),
            Order(prompt="?", items=("x", "y", "z")),
            Poll(prompt="?", choices=(PollOption(text="x"), PollOption(text="y"))),
        ),
    )
    shuffled = Opening(question=0, opens_at=NOW, closes_at=NOW + 1, shuffle=(2, 0, 1))
    played = Record(quiz=quiz, rules=Rules(), openings=[shuffled], members=[], answers={})
    assert [one.correct for one in asked(played)] == [(1, 2, 0), None, None]
