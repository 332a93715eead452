"""What a question is, which answers fit it, and how right they are."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizcast.domain.quiz import (
    TALLY_MAX,
    TEXT_MAX,
    WORD_MAX,
    Choice,
    Multiple,
    Numeric,
    Option,
    Order,
    Poll,
    Question,
    QuizContent,
    Single,
    Text,
    TrueFalse,
    WordCloud,
    correct_answer,
    folded,
    listed,
    mark,
    problems,
    read_answer,
    tally,
)
from quizcast.errors import AnswerInvalid
from tests.unit.quizzes import answers, questions, quizzes, shuffled

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def choices(*texts: str, right: tuple[int, ...] = (0,)) -> tuple[Choice, ...]:
    return tuple(Choice(text=text, correct=place in right) for place, text in enumerate(texts))


SINGLE = Single(prompt="?", choices=choices("a", "b", "c", right=(1,)))
MULTIPLE = Multiple(prompt="?", choices=choices("a", "b", "c", "d", right=(0, 2)))
NUMERIC = Numeric(prompt="?", correct=100, tolerance=20, min=0, max=1000)
TEXT = Text(prompt="?", accepted=("Straße", "the road"))
ORDER = Order(prompt="?", items=("one", "two", "three", "four"))


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(shuffled(), st.data())
def test_a_read_answer_reads_as_itself_again(asked: tuple, data: st.DataObject) -> None:
    question, _ = asked
    answer = read_answer(question, data.draw(answers(question).filter(lambda raw: _fits(question, raw))))
    assert read_answer(question, answer) == answer


@given(questions, json_values)
def test_anything_else_that_is_sent_is_an_invalid_answer_and_no_other_error(question: Question, raw: object) -> None:
    try:
        answer = read_answer(question, raw)
    except AnswerInvalid:
        return
    assert read_answer(question, answer) == answer


@given(shuffled(), st.data())
def test_a_mark_lies_between_nothing_and_all(asked: tuple, data: st.DataObject) -> None:
    question, shuffle = asked
    answer = read_answer(question, data.draw(answers(question).filter(lambda raw: _fits(question, raw))))
    assert 0.0 <= mark(question, answer, shuffle) <= 1.0


@given(shuffled())
def test_the_correct_answer_gets_the_full_mark_however_the_question_was_shuffled(asked: tuple) -> None:
    question, shuffle = asked
    correct = correct_answer(question, shuffle)
    if isinstance(question, Poll | WordCloud):
        assert correct is None
        return
    for answer in correct if isinstance(question, Text) else [correct]:
        assert mark(question, answer, shuffle) == 1.0


@given(shuffled())
def test_the_items_of_an_order_question_picked_as_correct_stand_in_the_authors_order(asked: tuple) -> None:
    question, shuffle = asked
    sent, correct = listed(question, shuffle), correct_answer(question, shuffle)
    if isinstance(question, Order):
        assert tuple(sent[place] for place in correct) == question.items


@pytest.mark.parametrize(
    ("question", "raw", "read"),
    [
        (SINGLE, 2, 2),
        (MULTIPLE, [2, 0], (0, 2)),
        (TrueFalse(prompt="?", correct=True), False, False),
        (NUMERIC, 7, 7.0),
        (Numeric(prompt="?", correct=0), -0.0, 0.0),
        (TEXT, "  the \t road\n", "the road"),
        (ORDER, [3, 1, 0, 2], (3, 1, 0, 2)),
        (WordCloud(prompt="?"), "👩‍👩‍👧 great", "👩‍👩‍👧 great"),
        (WordCloud(prompt="?"), "می‌خواهم", "می‌خواهم"),
        (WordCloud(prompt="?"), "\u202eevil\u200b", "evil"),
    ],
)
def test_answers_are_read_into_one_canonical_form(question: Question, raw: object, read: object) -> None:
    answer = read_answer(question, raw)
    assert (answer, type(answer)) == (read, type(read))
    assert not isinstance(answer, float) or math.copysign(1, answer) == 1


@pytest.mark.parametrize(
    ("question", "raw"),
    [
        (SINGLE, True),
        (SINGLE, 3),
        (SINGLE, -1),
        (SINGLE, 1.0),
        (SINGLE, "1"),
        (SINGLE, 10**40),
        (MULTIPLE, []),
        (MULTIPLE, [0, 0]),
        (MULTIPLE, [0, 1, 2, 3, 3]),
        (MULTIPLE, [True]),
        (MULTIPLE, 0),
        (TrueFalse(prompt="?", correct=True), 1),
        (TrueFalse(prompt="?", correct=True), "true"),
        (NUMERIC, True),
        (NUMERIC, float("nan")),
        (NUMERIC, float("inf")),
        (NUMERIC, 10**400),
        (NUMERIC, -1),
        (NUMERIC, 1001),
        (NUMERIC, "7"),
        (TEXT, ""),
        (TEXT, " \t "),
        (TEXT, "\u200b\u200d \u200d"),
        (TEXT, "a\x00b"),
        (TEXT, "\ud800"),
        (TEXT, "x" * (TEXT_MAX + 1)),
        (TEXT, ["a"]),
        (ORDER, [0, 1, 2]),
        (ORDER, [0, 1, 2, 2]),
        (ORDER, [0, 1, 2, 4]),
        (WordCloud(prompt="?"), "x" * (WORD_MAX + 1)),
        (WordCloud(prompt="?"), "ﷺ" * WORD_MAX),
        (Poll(prompt="?", choices=(Option(text="a"), Option(text="b"))), 2),
        (SINGLE, None),
    ],
)
def test_answers_that_do_not_fit_are_refused(question: Question, raw: object) -> None:
    with pytest.raises(AnswerInvalid):
        read_answer(question, raw)


def test_refusing_a_number_names_the_limit_as_people_write_it() -> None:
    with pytest.raises(AnswerInvalid, match="the answer is 1234567 or less"):
        read_answer(Numeric(prompt="?", correct=1, max=1234567), 2_000_000)


# ── marks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("picks", "right"),
    [((0, 2), 1.0), ((0,), 0.5), ((0, 1), 0.0), ((0, 1, 2), 0.5), ((0, 1, 2, 3), 0.0), ((1,), 0.0)],
)
def test_a_wrong_pick_takes_a_right_one_away(picks: tuple, right: float) -> None:
    assert mark(MULTIPLE, picks, ()) == right


@pytest.mark.parametrize(
    ("number", "right"),
    [(100, 1.0), (90, 0.75), (110, 0.75), (80, 0.5), (120, 0.5), (79.9, 0.0), (120.1, 0.0)],
)
def test_an_estimate_is_worth_less_the_farther_it_is_off(number: float, right: float) -> None:
    assert mark(NUMERIC, float(number), ()) == pytest.approx(right)


@pytest.mark.parametrize(("correct", "answer"), [(0.3, 0.4), (0.3, 0.2), (1.1, 1.2), (-0.3, -0.4), (3.14, 3.04)])
def test_the_edge_of_the_tolerance_is_inside_whatever_binary_fractions_say(correct: float, answer: float) -> None:
    assert mark(Numeric(prompt="?", correct=correct, tolerance=0.1), answer, ()) == pytest.approx(0.5)


def test_without_tolerance_only_the_number_itself_is_right() -> None:
    exact = Numeric(prompt="?", correct=0.3)
    assert mark(exact, 0.3, ()) == 1.0
    assert mark(exact, math.nextafter(0.3, 1), ()) == 0.0


@pytest.mark.parametrize("said", ["STRASSE", " straße ", "the  ROAD", "ｔｈｅ ｒｏａｄ"])
def test_texts_are_compared_without_case_width_and_extra_blanks(said: str) -> None:
    assert mark(TEXT, read_answer(TEXT, said), ()) == 1.0


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_order_counts_the_items_in_their_place() -> None:
    shuffle = (2, 0, 3, 1)
    assert listed(ORDER, shuffle) == ("three", "one", "four", "two")
    assert correct_answer(ORDER, shuffle) == (1, 3, 0, 2)
    assert mark(ORDER, (1, 3, 2, 0), shuffle) == 0.5


# ── distributions ───────────────────────────────────────────────────────────────────────────────────────────


@given(questions, st.data())
def test_a_distribution_counts_every_answer_and_stays_small(question: Question, data: st.DataObject) -> None:
    fitting = answers(question).filter(lambda raw: _fits(question, raw))
    given_ = [read_answer(question, raw) for raw in data.draw(st.lists(fitting, max_size=20))]
    counts = tally(question, given_)
    values = counts if isinstance(counts, list) else list(counts.values())
    assert all(type(value) is int for value in values)
    expected = sum(map(len, given_)) if isinstance(question, Multiple) else len(given_)
    assert sum(values) == expected
    assert len(counts) <= TALLY_MAX


@pytest.mark.parametrize(
    ("question", "many"),
    [
        (Numeric(prompt="?", correct=1), [float(number) for number in range(500)]),
        (TEXT, [f"word {number}" for number in range(500)]),
        (WordCloud(prompt="?"), [f"word {number}" for number in range(500)]),
    ],
)
def test_a_hall_that_says_everything_makes_no_endless_distribution(question: Question, many: list) -> None:
    commonest = many[-1]
    counts = tally(question, [*many, commonest])
    assert len(counts) == TALLY_MAX
    assert next(iter(counts.values())) == 2


def test_large_numbers_that_differ_are_counted_apart() -> None:
    counts = tally(Numeric(prompt="?", correct=1), [1234567890123.0, 1234567890124.0, 0.1])
    assert counts == {"1234567890123": 1, "1234567890124": 1, "0.1": 1}


def test_words_that_differ_in_case_are_one_word() -> None:
    assert tally(WordCloud(prompt="?"), ["Blue", "BLUE", "ｂｌｕｅ"]) == {"blue": 3}


def test_true_and_false_are_both_in_the_distribution_even_if_nobody_said_one() -> None:
    assert tally(TrueFalse(prompt="?", correct=True), [True, True]) == {"true": 2, "false": 0}


# ── what a game could not bear ──────────────────────────────────────────────────────────────────────────────


@given(quizzes)
def test_quizzes_survive_the_wire(content: QuizContent) -> None:
    assert msgspec.json.decode(msgspec.json.encode(content), type=QuizContent) == content
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(content), type=QuizContent) == content


@pytest.mark.parametrize(
    ("question", "path"),
    [
        (Single(prompt="?", choices=choices("a", "b", right=())), "choices"),
        (Single(prompt="?", choices=choices("a", "b", right=(0, 1))), "choices"),
        (Multiple(prompt="?", choices=choices("a", "b", right=())), "choices"),
        (Single(prompt="?", choices=choices("a", " a ")), "choices[1]"),
        (Single(prompt="?", choices=choices("a", " ")), "choices[1]"),
        (Poll(prompt="?", choices=(Option(text="a"), Option(text="a"))), "choices[1]"),
        (Order(prompt="?", items=("a", "b", "a")), "items[2]"),
        (Text(prompt="?", accepted=("a", " ")), "accepted[1]"),
        (Numeric(prompt="?", correct=float("nan")), ""),
        (Numeric(prompt="?", correct=1, tolerance=float("inf")), ""),
        (Numeric(prompt="?", correct=5, max=4), "correct"),
        (Numeric(prompt="?", correct=5, min=6), "correct"),
        (TrueFalse(prompt=" \n", correct=True), "prompt"),
        (TrueFalse(prompt="a\x07", correct=True), "prompt"),
        (TrueFalse(prompt="?", correct=True, explanation="\x00"), "explanation"),
        (TrueFalse(prompt="?", correct=True, media_url="javascript:alert(1)"), "media_url"),
        (TrueFalse(prompt="?", correct=True, media_url="/a\r\nb"), "media_url"),
    ],
)
def test_a_problem_says_where_it_is(question: Question, path: str) -> None:
    fine = TrueFalse(prompt="?", correct=True)
    found = problems(QuizContent(title="t", questions=(fine, question)))
    assert {problem.path for problem in found} >= {f"questions[1].{path}".rstrip(".")}
    assert all(problem.message for problem in found)


@pytest.mark.parametrize(
    ("own", "path"),
    [
        ({"title": "  "}, "title"),
        ({"title": "\x00"}, "title"),
        ({"title": "t", "language": "e n"}, "language"),
    ],
)
def test_the_quizs_own_fields_are_looked_at_too(own: dict, path: str) -> None:
    assert [problem.path for problem in problems(QuizContent(**own))] == [path]


def _fits(question: Question, raw: object) -> bool:
    try:
        read_answer(question, raw)
    except AnswerInvalid:
        return False
    return True
