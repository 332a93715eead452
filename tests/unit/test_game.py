"""The state machine: phases move along the diagram, refusals change nothing, and everything can be asked twice."""

from collections import Counter
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from quizcast.domain.game import (
    KEYS_KEPT,
    LEAD_MAX_MS,
    LEAD_MS,
    TIME_LIMIT_MAX_MS,
    Close,
    Closed,
    CloseReason,
    Command,
    Extend,
    Extended,
    Fact,
    Finish,
    Finished,
    Game,
    GameOptions,
    LeaderboardShown,
    Lock,
    Open,
    Opened,
    Phase,
    ShowLeaderboard,
    shuffle,
    step,
)
from quizcast.domain.quiz import Order, QuizContent, TrueFalse
from quizcast.errors import Conflict, GameOver, NoMoreQuestions, OutOfPhase, QuestionPlayed

NOW = 1_700_000_000_000
COUNT = 4
QUIZ = QuizContent(
    title="t",
    questions=(
        *(TrueFalse(prompt=f"{index}?", correct=True, time_limit_ms=5_000) for index in range(COUNT - 1)),
        Order(prompt="in order?", items=("a", "b", "c")),
    ),
)
LOBBY = Game(id="g", pin="123456", host_id="h", quiz_id="q", question_count=COUNT, created_at=NOW)
HOST = CloseReason.HOST
ALLOWED = {
    Phase.LOBBY: {Phase.LOBBY, Phase.QUESTION},
    Phase.QUESTION: {Phase.QUESTION, Phase.CLOSED},
    Phase.CLOSED: {Phase.CLOSED, Phase.QUESTION, Phase.FINISHED},
    Phase.FINISHED: {Phase.FINISHED},
}

indexes = st.none() | st.integers(-2, COUNT + 1)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Open, question=indexes, time_limit_ms=st.none() | st.integers(1000, 9000), chance=st.floats(0, 0.999)),
    st.builds(Open),
    st.builds(Close, reason=st.sampled_from(CloseReason), question=indexes),
    st.builds(Close, reason=st.just(HOST)),
    st.builds(Extend, closes_at=st.integers(NOW, NOW + 90_000)),
    st.builds(ShowLeaderboard, limit=st.integers(-5, 500)),
    st.builds(Lock, locked=st.booleans()),
    st.builds(Finish),
)
plays = st.lists(st.tuples(commands, st.integers(0, 60_000)), max_size=40)


def played(*asked: Command, game: Game = LOBBY, now: int = NOW) -> tuple[Game, list[Fact]]:
    facts: list[Fact] = []
    for command in asked:
        game, more = step(game, QUIZ, command, now)
        facts.extend(more)
    return game, facts


@given(plays)
def test_phases_move_along_the_diagram_and_every_change_is_told(play: list[tuple[Command, int]]) -> None:
    game, now, facts = LOBBY, NOW, list[Fact]()
    for command, later in play:
        now += later
        try:
            after, told = step(game, QUIZ, command, now)
        except Conflict:
            continue
        assert after.phase in ALLOWED[game.phase]
        assert (after.phase is not game.phase) <= bool(told)
        assert len(told) <= 1
        assert set(game.played) <= set(after.played)
        facts.extend(told)
        game = after
    opened = [fact.opening.question for fact in facts if isinstance(fact, Opened)]
    closed = [fact.opening.question for fact in facts if isinstance(fact, Closed)]
    assert len(opened) == len(set(opened))  # a question is played once
    assert closed == opened[: len(closed)]
    assert len(opened) - len(closed) == (game.phase is Phase.QUESTION)
    assert list(game.played) == opened
    assert all(0 <= index < COUNT for index in opened)
    assert sum(isinstance(fact, Finished) for fact in facts) == (game.phase is Phase.FINISHED)


@given(plays, commands)
def test_a_command_twice_acts_once(play: list[tuple[Command, int]], command: Command) -> None:
    game = LOBBY
    for one, later in play:
        try:
            game, _ = step(game, QUIZ, one, NOW + later)
        except Conflict:
            continue
    if isinstance(command, Open) and command.question is None and game.phase is Phase.CLOSED:
        return  # "the next" is another one then; the next test has it
    try:
        once, _ = step(game, QUIZ, command, NOW)
    except Conflict:
        return
    twice, facts = step(once, QUIZ, command, NOW + 50)
    assert twice == once
    assert facts == ()


@given(plays, commands, plays)
def test_a_command_with_a_key_acts_once_whatever_happens_in_between(
    play: list[tuple[Command, int]], command: Command, between: list[tuple[Command, int]]
) -> None:
    game = LOBBY
    for one, later in play:
        try:
            game, _ = step(game, QUIZ, one, NOW + later)
        except Conflict:
            continue
    try:
        game, _ = step(game, QUIZ, command, NOW, key="mine")
    except Conflict:
        return
    for number, (one, later) in enumerate(between):
        try:
            game, _ = step(game, QUIZ, one, NOW + later, key=f"other {number}" if number < KEYS_KEPT - 1 else "")
        except Conflict:
            continue
    assert step(game, QUIZ, command, NOW, key="mine") == (game, ())


def test_a_double_click_on_next_opens_one_question() -> None:
    game, facts = played(Open(), Open())
    assert len(facts) == 1
    assert game.question_index == 0


def test_a_retry_of_a_click_that_did_nothing_does_nothing_later_either() -> None:
    """Its answer was lost on the way; meanwhile the question has closed."""
    game, _ = step(LOBBY, QUIZ, Open(), NOW, key="first")
    game, facts = step(game, QUIZ, Open(), NOW, key="second")
    assert facts == ()
    game, _ = step(game, QUIZ, Close(reason=HOST), NOW)
    after, facts = step(game, QUIZ, Open(), NOW, key="second")
    assert after.phase is Phase.CLOSED
    assert facts == ()


def test_keys_are_forgotten_in_the_end() -> None:
    game = LOBBY
    for number in range(KEYS_KEPT * 3):
        game, _ = step(game, QUIZ, Lock(locked=bool(number % 2)), NOW, key=str(number))
    assert len(game.keys) == KEYS_KEPT


def test_a_refused_command_leaves_its_key_unspent() -> None:
    with pytest.raises(OutOfPhase):
        step(LOBBY, QUIZ, Finish(), NOW, key="k")
    assert LOBBY.keys == ()


def test_questions_can_be_asked_in_any_order_and_next_goes_on_from_there() -> None:
    game, _ = played(Open(question=2), Close(reason=HOST), Open(question=1), Close(reason=HOST))
    assert game.played == (2, 1)
    game, _ = played(Open(), game=game)
    assert game.question_index == 3  # 2 was played
    game, _ = played(Close(reason=HOST), game=game)
    with pytest.raises(NoMoreQuestions):
        played(Open(), game=game)
    game, _ = played(Open(question=0), game=game)
    assert game.question_index == 0


@pytest.mark.parametrize("index", [-1, COUNT, COUNT + 100])
def test_a_question_that_the_quiz_does_not_have_is_refused(index: int) -> None:
    with pytest.raises(NoMoreQuestions):
        played(Open(question=index))


def test_a_question_is_played_once() -> None:
    game, _ = played(Open(question=0), Close(reason=HOST), Open(question=1), Close(reason=HOST))
    with pytest.raises(QuestionPlayed):
        played(Open(question=0), game=game)


def test_a_retry_of_an_old_open_after_the_close_is_no_new_opening() -> None:
    game, _ = played(Open(question=0), Close(reason=HOST))
    assert step(game, QUIZ, Open(question=0), NOW + 60_000) == (game, ())


def test_another_question_cannot_be_opened_over_an_open_one() -> None:
    game, _ = played(Open(question=0))
    with pytest.raises(OutOfPhase):
        played(Open(question=1), game=game)


def test_a_late_timer_does_not_close_the_next_question() -> None:
    game, _ = played(Open(), Close(reason=HOST), Open())
    assert step(game, QUIZ, Close(reason=CloseReason.TIME, question=0), NOW) == (game, ())
    after, facts = step(game, QUIZ, Close(reason=CloseReason.TIME, question=1), NOW)
    assert after.phase is Phase.CLOSED
    assert facts == (Closed(opening=game.opening, reason=CloseReason.TIME),)  # type: ignore[arg-type]


def test_times_are_the_leads_and_the_questions_or_the_hosts() -> None:
    game, _ = played(Open())
    assert game.opening is not None
    assert (game.opening.opens_at, game.opening.closes_at) == (NOW + 300, NOW + 5_300)
    assert game.accepts_until == NOW + 5_800
    game, _ = played(Open(time_limit_ms=60_000))
    assert game.opening is not None
    assert game.opening.closes_at == NOW + 60_300


def test_a_finished_game_takes_no_commands_but_finish_again() -> None:
    game, _ = played(Open(), Close(reason=HOST), Finish())
    assert game.finished_at == NOW
    assert step(game, QUIZ, Finish(), NOW + 9) == (game, ())
    for command in (Open(), Open(question=0), ShowLeaderboard(), Lock(locked=True)):
        with pytest.raises(GameOver):
            step(game, QUIZ, command, NOW)
    with pytest.raises(OutOfPhase):
        step(game, QUIZ, Close(reason=HOST), NOW)


def test_an_open_question_can_be_given_more_time_but_never_more_than_an_hour() -> None:
    game, facts = played(Open(), Extend(closes_at=NOW + 20_000))
    assert game.opening is not None
    assert game.opening.closes_at == NOW + 20_000
    assert facts[-1] == Extended(opening=game.opening)
    game, _ = played(Extend(closes_at=NOW + 2 * TIME_LIMIT_MAX_MS), game=game)
    assert game.opening is not None
    assert game.opening.closes_at == game.opening.opens_at + TIME_LIMIT_MAX_MS


def test_more_time_comes_too_late_once_no_answer_counts_any_more() -> None:
    game, _ = played(Open())
    longer = Extend(closes_at=NOW + 20_000)
    step(game, QUIZ, longer, game.accepts_until)
    with pytest.raises(OutOfPhase):
        step(game, QUIZ, longer, game.accepts_until + 1)
    for before in (LOBBY, played(Open(), Close(reason=HOST))[0]):
        with pytest.raises(OutOfPhase):
            step(before, QUIZ, longer, NOW)


def test_a_question_never_closes_earlier_than_was_said() -> None:
    game, _ = played(Open())
    assert step(game, QUIZ, Extend(closes_at=NOW + 5_299), NOW) == (game, ())


def test_a_longer_leaderboard_is_shown_again_and_the_same_is_not() -> None:
    _, facts = played(
        Open(), Close(reason=HOST), ShowLeaderboard(limit=5), ShowLeaderboard(limit=5), ShowLeaderboard(limit=10)
    )
    assert [fact.limit for fact in facts if isinstance(fact, LeaderboardShown)] == [5, 10]


@pytest.mark.parametrize("count", range(2, 9))
def test_a_shuffle_has_everything_once_whatever_the_chance(count: int) -> None:
    for chance in (0.0, 1e-12, 0.25, 0.5, 0.999999, 1 - 2**-53):
        assert sorted(shuffle(count, chance)) == list(range(count))


@pytest.mark.parametrize("count", range(2, 7))
def test_every_order_comes_equally_often_the_right_one_too(count: int) -> None:
    ways = factorial(count)
    seen = Counter(shuffle(count, (number + 0.5) / (7 * ways)) for number in range(7 * ways))
    assert len(seen) == ways
    assert set(seen.values()) == {7}


def test_only_order_questions_are_shuffled() -> None:
    game, _ = played(Open(question=3, chance=0.5))
    assert game.opening is not None
    assert sorted(game.opening.shuffle) == [0, 1, 2]
    game, _ = played(Open(question=0, chance=0.5))
    assert game.opening is not None
    assert game.opening.shuffle == ()


@given(st.integers(0, 10_000), st.integers(0, 20_000))
def test_a_question_leads_by_what_the_host_says_or_else_as_long_as_the_fan_out_needs(asked: int, reach: int) -> None:
    game = structs.replace(LOBBY, options=GameOptions(lead_ms=asked))
    after, _ = step(game, QUIZ, Open(reach_ms=reach), NOW)
    assert after.opening is not None
    lead = after.opening.opens_at - NOW
    if asked != LEAD_MS:
        assert lead == asked
    else:
        assert lead == min(LEAD_MAX_MS, max(LEAD_MS, 2 * reach))
