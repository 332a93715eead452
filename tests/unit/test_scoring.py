"""Points, streaks and places."""

from hypothesis import given
from hypothesis import strategies as st

from quizcast.domain.quiz import (
    Choice,
    Multiple,
    Numeric,
    Option,
    Order,
    Poll,
    Question,
    TrueFalse,
    WordCloud,
    mark,
    read_answer,
)
from quizcast.domain.scoring import (
    STREAK_STEP,
    STREAK_STEPS_MAX,
    Given,
    Opening,
    Outcome,
    Rules,
    Tally,
    outcome,
    ranked,
    speed,
)
from quizcast.errors import AnswerInvalid
from tests.unit.quizzes import answers, shuffled

OPENS, CLOSES = 1_700_000_000_000, 1_700_000_020_000
OPENING = Opening(question=0, opens_at=OPENS, closes_at=CLOSES)
PLAIN = Rules(speed_scoring=True, streak_bonus=False)
TRUE = TrueFalse(prompt="?", correct=True)

moments = st.integers(OPENS - 5_000, CLOSES + 5_000)
rules = st.builds(Rules, speed_scoring=st.booleans(), streak_bonus=st.booleans())
standings = st.builds(Tally, score=st.integers(0, 10**7), streak=st.integers(0, 500))
points = st.integers(0, 10_000)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[Question, Opening, Given | None]:
    question, shuffle = draw(shuffled())
    opening = Opening(question=0, opens_at=OPENS, closes_at=CLOSES, shuffle=shuffle)
    try:
        answer = read_answer(question, draw(answers(question)))
    except AnswerInvalid:
        return question, opening, None
    return question, opening, draw(st.none() | st.just(Given(answer, draw(moments))))


@given(rounds(), rules, standings)
def test_nobody_ever_loses_points(played: tuple, rule: Rules, before: Tally) -> None:
    question, opening, answer = played
    result = outcome(question, opening, rule, before, answer)
    assert result.points >= 0
    assert result.score == before.score + result.points


@given(rounds(), rules, standings)
def test_the_same_answers_give_the_same_scores_again(played: tuple, rule: Rules, before: Tally) -> None:
    assert outcome(played[0], played[1], rule, before, played[2]) == outcome(
        played[0], played[1], rule, before, played[2]
    )


@given(rounds(), rules, standings)
def test_an_answer_with_nothing_right_in_it_brings_nothing(played: tuple, rule: Rules, before: Tally) -> None:
    question, opening, answer = played
    if answer is None or mark(question, answer.answer, opening.shuffle) == 0.0:
        assert outcome(question, opening, rule, before, answer).points == 0


@given(rounds(), rules, standings)
def test_points_stay_below_the_questions_and_the_largest_streak_bonus(
    played: tuple, rule: Rules, before: Tally
) -> None:
    question, opening, answer = played
    most = question.points * (1 + STREAK_STEP * STREAK_STEPS_MAX)
    assert outcome(question, opening, rule, before, answer).points <= most + 0.5


@given(points, rules, standings, moments)
def test_right_is_never_worth_less_than_wrong(worth: int, rule: Rules, before: Tally, at: int) -> None:
    question = TrueFalse(prompt="?", correct=True, points=worth)
    right = outcome(question, OPENING, rule, before, Given(True, at))
    wrong = outcome(question, OPENING, rule, before, Given(False, at))
    missed = outcome(question, OPENING, rule, before, None)
    assert right.points >= wrong.points == missed.points == 0
    assert (right.correct, wrong.correct, missed.correct) == (True, False, False)


@given(points, standings, rules, st.tuples(moments, moments))
def test_faster_is_never_worth_less_than_slower(worth: int, before: Tally, rule: Rules, at: tuple[int, int]) -> None:
    question = TrueFalse(prompt="?", correct=True, points=worth)
    first, second = (outcome(question, OPENING, rule, before, Given(True, moment)) for moment in sorted(at))
    assert first.points >= second.points
    assert rule.speed_scoring or first == second


@given(points.map(lambda half: 2 * (half // 2)))
def test_points_are_full_at_the_opening_and_exactly_half_at_the_close(worth: int) -> None:
    question = TrueFalse(prompt="?", correct=True, points=worth)
    assert outcome(question, OPENING, PLAIN, Tally(), Given(True, OPENS)).points == worth
    assert outcome(question, OPENING, PLAIN, Tally(), Given(True, CLOSES)).points == worth // 2


def test_the_slowest_right_answer_to_a_one_point_question_still_gets_its_point() -> None:
    question = TrueFalse(prompt="?", correct=True, points=1)
    assert outcome(question, OPENING, PLAIN, Tally(), Given(True, CLOSES)).points == 1


def test_an_answer_in_the_grace_time_counts_as_the_slowest_and_one_too_early_as_the_fastest() -> None:
    assert speed(OPENING, CLOSES + 400) == speed(OPENING, CLOSES) == 0.5
    assert speed(OPENING, OPENS - 1) == speed(OPENING, OPENS) == 1.0


def test_a_question_without_any_time_does_not_divide_by_it() -> None:
    assert speed(Opening(question=0, opens_at=OPENS, closes_at=OPENS), OPENS) == 1.0


def test_right_answers_in_a_row_bring_a_bonus_that_stops_growing() -> None:
    before, gained = Tally(), []
    for _ in range(8):
        result = outcome(TRUE, OPENING, Rules(speed_scoring=False), before, Given(True, OPENS))
        gained.append(result.points)
        before = Tally(result.score, result.streak)
    assert gained == [1000, 1100, 1200, 1300, 1400, 1500, 1500, 1500]


def test_a_wrong_or_missing_answer_ends_the_streak() -> None:
    for answer in (Given(False, OPENS), None):
        assert outcome(TRUE, OPENING, Rules(), Tally(500, 4), answer) == Outcome(False, 0, 500, 0)


def test_polls_and_practice_change_neither_score_nor_streak() -> None:
    poll = Poll(prompt="?", choices=(Option(text="a"), Option(text="b")))
    practice = TrueFalse(prompt="?", correct=True, points=0)
    before = Tally(500, 4)
    assert outcome(poll, OPENING, Rules(), before, Given(0, OPENS)) == Outcome(None, 0, 500, 4)
    assert outcome(WordCloud(prompt="?"), OPENING, Rules(), before, None) == Outcome(None, 0, 500, 4)
    assert outcome(practice, OPENING, Rules(), before, Given(True, OPENS)) == Outcome(True, 0, 500, 4)
    assert outcome(practice, OPENING, Rules(), before, Given(False, OPENS)) == Outcome(False, 0, 500, 4)


def test_half_right_brings_points_but_no_streak() -> None:
    multiple = Multiple(prompt="?", choices=tuple(Choice(text=text, correct=text != "c") for text in "abc"))
    order = Order(prompt="?", items=("a", "b", "c", "d"))
    sent = Opening(question=0, opens_at=OPENS, closes_at=CLOSES, shuffle=(0, 1, 2, 3))
    assert outcome(multiple, OPENING, PLAIN, Tally(0, 3), Given((0,), OPENS)) == Outcome(False, 500, 500, 0)
    assert outcome(order, sent, PLAIN, Tally(0, 3), Given((0, 1, 3, 2), OPENS)) == Outcome(False, 500, 500, 0)


def test_a_close_estimate_is_right_and_keeps_the_streak() -> None:
    question = Numeric(prompt="?", correct=100, tolerance=20)
    assert outcome(question, OPENING, PLAIN, Tally(0, 3), Given(110.0, OPENS)) == Outcome(True, 750, 750, 4)


# ── places ──────────────────────────────────────────────────────────────────────────────────────────────────

rooms = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 5), max_size=12)


@given(rooms)
def test_ties_share_a_rank_and_the_next_rank_is_skipped(scores: dict[str, int]) -> None:
    for rank, person in ranked(scores, scores):
        assert rank == 1 + sum(score > scores[person] for score in scores.values())


@given(rooms, st.randoms(use_true_random=False))
def test_ranks_do_not_depend_on_the_order_in_which_people_came(scores: dict[str, int], random: object) -> None:
    others = list(scores)
    random.shuffle(others)  # type: ignore[attr-defined]
    shuffled_scores = {person: scores[person] for person in others}
    assert sorted(ranked(scores, scores)) == sorted(ranked(shuffled_scores, others))


@given(rooms)
def test_within_a_tie_whoever_joined_first_is_named_first(scores: dict[str, int]) -> None:
    joined = list(scores)
    places = ranked(scores, joined)
    assert places == sorted(places, key=lambda place: (place[0], joined.index(place[1])))


def test_the_ranking_of_a_small_room() -> None:
    scores = {"ann": 10, "10": 30, "bob": 20, "cyd": 20}
    assert ranked(scores, ["9", "ann", "cyd", "bob", "10"]) == [
        (1, "10"),
        (2, "cyd"),
        (2, "bob"),
        (4, "ann"),
        (5, "9"),
    ]
    assert ranked({}, []) == []
