"""The flush into Postgres, and what a game came to: every acknowledged answer once, whatever happens on the way."""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quizcast.domain.game import Game, Phase
from quizcast.domain.quiz import QuizContent, Text, correct_answer, read_answer
from quizcast.domain.scoring import Given, Opening, Tally, outcome, ranked
from quizcast.errors import AnswerInvalid, PostgresUnavailable
from quizcast.ids import new_id
from quizcast.settings import Settings
from quizcast.store import accounts, results
from quizcast.store.db import Database
from quizcast.store.rows import GAME_UNKNOWN, store_or_bisect, store_rows
from quizcast.wire.api import GameView, Results
from quizcast.wire.rows import AnswerRow, Entry, JoinRow, OpeningRow, PhaseRow, RemovedRow, Row
from tests.fix_store import new_game
from tests.unit.quizzes import answers, questions

NOW = 1_700_000_000_000
TABLES = ("openings", "participants", "answers")


def entry(row: Row, at: int = NOW, number: int = 0) -> Entry:
    return Entry(id=f"{at}-{number}", row=row, at=at, number=number)


def batch_of(game: Game, people: int) -> list[Entry]:
    """A played question: joins, the opening, an answer of everybody, the closing."""
    joins = [entry(JoinRow(game.id, f"p{n}", f"Nick {n}"), NOW + n, n + 1) for n in range(people)]
    opening = Opening(question=0, opens_at=NOW + 5000, closes_at=NOW + 25_000)
    said = [entry(AnswerRow(game.id, 0, f"p{n}", "true" if n % 3 else "false"), NOW + 6000 + n) for n in range(people)]
    return [
        *joins,
        entry(OpeningRow(game.id, opening), NOW + 4700),
        entry(PhaseRow(game.id, Phase.QUESTION), NOW + 4700),
        *said,
        entry(PhaseRow(game.id, Phase.CLOSED), NOW + 25_500),
    ]


# ── the flush ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_stored_twice_counts_once(db: Database, game: Game) -> None:
    batch = batch_of(game, 100)
    async with db.write() as conn:
        assert await store_rows(conn, batch) == 201
    before = await _contents(db)
    assert await store_or_bisect(db, batch) == (batch, [])
    async with db.write() as conn:
        assert await store_rows(conn, batch) == 0
    assert await _contents(db) == before


async def test_a_batch_that_is_known_in_part_stores_the_rest(db: Database, game: Game) -> None:
    batch = batch_of(game, 100)
    await store_or_bisect(db, batch[50:150])
    assert await store_or_bisect(db, batch) == (batch, [])
    assert {name: len(rows) for name, rows in (await _contents(db)).items()} == {
        "openings": 1,
        "participants": 100,
        "answers": 100,
    }


async def test_of_two_answers_under_one_key_the_earlier_counts(db: Database, game: Game) -> None:
    later, earlier = (
        entry(AnswerRow(game.id, 0, "p", text), at) for text, at in (("false", NOW + 2), ("true", NOW + 1))
    )
    assert (await store_or_bisect(db, [later, earlier]))[1] == []
    async with db.read() as conn:
        assert (await results.load_results(conn, game.id)).answers[0]["p"] == Given(True, NOW + 1)


async def test_an_answers_text_comes_back_as_it_was(db: Database, game: Game) -> None:
    text = 'back\\slash \\t tab\t line\n "quoted" \\N \\. é'
    said = msgspec.json.encode(text).decode()
    await store_or_bisect(db, [entry(AnswerRow(game.id, 0, "p", said))])
    await store_or_bisect(db, [entry(AnswerRow(game.id, 0, one, said)) for one in ("p", "q")])
    async with db.read() as conn:
        stored = (await results.load_results(conn, game.id)).answers[0]
    assert {one: given_answer.answer for one, given_answer in stored.items()} == {"p": text, "q": text}


async def test_a_row_that_is_twice_in_one_batch_counts_once(db: Database, game: Game) -> None:
    batch = batch_of(game, 20)
    await store_or_bisect(db, batch)
    once = await _contents(db)
    another = await new_game(db, game.host_id)
    batch = batch_of(another, 20)
    stored, refused = await store_or_bisect(db, [*batch, *batch])
    assert (len(stored), refused) == (2 * len(batch), [])
    assert {name: len(rows) for name, rows in (await _contents(db)).items()} == {
        name: 2 * len(rows) for name, rows in once.items()
    }


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 60), max_size=4))
async def test_batches_in_any_order_and_number_leave_the_same_tables(
    db: Database, game: Game, seed: int, cuts: list[int]
) -> None:
    straight, mixed = await new_game(db, game.host_id), await new_game(db, game.host_id)

    def story(of: Game) -> list[Entry]:
        return [
            *batch_of(of, 12),
            entry(RemovedRow(of.id, "p3"), NOW + 26_000),
            entry(RemovedRow(of.id, "p4"), NOW + 26_000),
            entry(JoinRow(of.id, "p4", "Back again"), NOW + 27_000, 13),
            entry(RemovedRow(of.id, "p5"), NOW + 26_000),
            entry(JoinRow(of.id, "p5", "Gone again"), NOW + 27_000, 14),
            entry(RemovedRow(of.id, "p5"), NOW + 28_000),
            entry(PhaseRow(of.id, Phase.FINISHED), NOW + 30_000),
        ]

    for one in story(straight):
        assert (await store_or_bisect(db, [one]))[1] == []
    shuffled = [*story(mixed), *story(mixed)]
    random.Random(seed).shuffle(shuffled)
    places = [0, *sorted(cuts), len(shuffled)]
    for first, last in itertools.pairwise(places):
        assert (await store_or_bisect(db, shuffled[first:last]))[1] == []
    async with db.read() as conn:
        told = [await results.load_results(conn, one.id) for one in (straight, mixed)]
        games = [(await results.get_game(conn, game.host_id, one.id)).game for one in (straight, mixed)]
    assert told[0] == told[1]
    assert [(one.phase, one.finished_at) for one in games] == [(Phase.FINISHED, NOW + 30_000)] * 2
    assert [member.nickname for member in told[0].members][-1] == "Back again"
    assert {"p3", "p5"}.isdisjoint(member.id for member in told[0].members)


def _nul(game: Game) -> Row:
    return AnswerRow(game.id, 0, "p\0", "true")


def _nul_in_json(game: Game) -> Row:
    return JoinRow(game.id, "px", "a\0b")


def _no_json(game: Game) -> Row:
    return AnswerRow(game.id, 0, "px", "{")


def _no_answer(game: Game) -> Row:
    return AnswerRow(game.id, 0, "px", '{"an": "object"}')


def _out_of_range(game: Game) -> Row:
    return AnswerRow(game.id, 2**40, "px", "true")


def _huge_key(game: Game) -> Row:
    # Random, since Postgres packs what repeats and then it fits after all.
    return AnswerRow(game.id, 0, "".join(random.Random(1).choices("abcdefghijklmnop0123456789", k=9000)), "true")


def _nobodys_game(_: Game) -> Row:
    return AnswerRow(new_id(), 0, "px", "true")


POISONS = (_nul, _nul_in_json, _no_json, _no_answer, _out_of_range, _huge_key, _nobodys_game)


@pytest.mark.parametrize("poison", POISONS)
async def test_a_row_that_postgres_cannot_take_is_found_among_5000_and_holds_up_no_other(
    db: Database, game: Game, poison: Callable[[Game], Row]
) -> None:
    good = batch_of(game, 2499)
    bad = entry(poison(game), NOW + 6000, 9999)
    batch = [*good[:3333], bad, *good[3333:]]
    stored, refused = await store_or_bisect(db, batch)
    assert [one for one, _ in refused] == [bad]
    assert sorted(one.id for one in stored) == sorted(one.id for one in good)
    assert {name: len(rows) for name, rows in (await _contents(db)).items()} == {
        "openings": 1,
        "participants": 2499,
        "answers": 2499,
    }
    reason = refused[0][1]
    assert reason.replace("_", "").isalnum()  # a word: no value, no name


async def test_all_the_rows_of_a_deleted_game_are_refused_without_cutting_to_each(
    db: Database, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await new_game(db, game.host_id)
    async with db.write() as conn:
        await conn.execute("DELETE FROM games WHERE id = %s", [gone.id])
    uses = 0
    write = db.write

    def counted() -> Any:
        nonlocal uses
        uses += 1
        return write()

    monkeypatch.setattr(db, "write", counted)
    good, bad = batch_of(game, 200), batch_of(gone, 200)
    stored, refused = await store_or_bisect(db, [row for pair in zip(good, bad, strict=True) for row in pair])
    assert stored == good
    assert refused == [(one, GAME_UNKNOWN) for one in bad]
    assert uses == 3


async def test_an_answer_whose_join_is_in_another_workers_batch_is_stored(db: Database, game: Game) -> None:
    answer = entry(AnswerRow(game.id, 0, "p1", "true"), NOW + 6000)
    assert await store_or_bisect(db, [answer]) == ([answer], [])
    async with db.read() as conn:
        record = await results.load_results(conn, game.id)
        assert record.members == []
        assert record.answers[0]["p1"] == Given(True, NOW + 6000)


async def test_when_postgres_is_away_nothing_is_refused(settings: Settings, game: Game) -> None:
    nowhere = Database(
        msgspec.structs.replace(settings, database_url="postgresql://q@/q?host=/nonexistent", db_timeout_s=0.2)
    )
    await nowhere.open()
    with pytest.raises(PostgresUnavailable):
        await store_or_bisect(nowhere, [*batch_of(game, 5), entry(_no_json(game))])
    await nowhere.close()


async def test_a_line_cut_in_the_middle_of_a_batch_refuses_nothing_and_stores_nothing(
    db: Database, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(conn: Any, entries: Sequence[Entry]) -> int:
        stored = await store_rows(conn, entries)
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return stored

    monkeypatch.setattr("quizcast.store.rows.store_rows", cut)
    with pytest.raises(PostgresUnavailable):
        await store_or_bisect(db, batch_of(game, 5))
    assert all(not rows for rows in (await _contents(db)).values())


async def test_workers_with_the_same_rows_do_not_lock_each_other_out(db: Database, game: Game) -> None:
    batch = batch_of(game, 300)
    mixed = [random.Random(seed).sample(batch, len(batch)) for seed in range(6)]
    outcomes = await asyncio.gather(*(store_or_bisect(db, one) for one in mixed))
    assert all(not refused for _, refused in outcomes)
    assert len((await _contents(db))["answers"]) == 300


async def test_a_question_that_got_more_time_keeps_its_latest_end_in_whatever_order_that_comes(
    db: Database, game: Game
) -> None:
    ends = NOW + 20_000, NOW + 30_000
    shown, longer = (entry(OpeningRow(game.id, Opening(question=0, opens_at=NOW, closes_at=end)), NOW) for end in ends)
    for batches in ([[shown, longer]], [[longer, shown]], [[longer], [shown]]):
        for batch in batches:
            await store_or_bisect(db, batch)
        async with db.write() as conn:
            (opening,) = (await results.load_results(conn, game.id)).openings
            assert opening.closes_at == ends[1]
            await conn.execute("DELETE FROM openings")


async def test_a_phase_never_goes_back(db: Database, game: Game) -> None:
    for phase, at, expected in (
        (Phase.QUESTION, NOW + 10, Phase.QUESTION),
        (Phase.CLOSED, NOW + 30, Phase.CLOSED),
        (Phase.QUESTION, NOW + 20, Phase.CLOSED),
        (Phase.QUESTION, NOW + 40, Phase.QUESTION),
        (Phase.FINISHED, NOW + 60, Phase.FINISHED),
        (Phase.CLOSED, NOW + 50, Phase.FINISHED),
        (Phase.CLOSED, NOW + 99, Phase.FINISHED),
    ):
        await store_or_bisect(db, [entry(PhaseRow(game.id, phase), at)])
        async with db.read() as conn:
            assert (await results.get_game(conn, game.host_id, game.id)).game.phase is expected


# ── what it came to ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_game_says_where_it_is_and_who_takes_part(db: Database, game: Game) -> None:
    await store_or_bisect(db, [*batch_of(game, 10), entry(RemovedRow(game.id, "p2"), NOW + 7000)])
    async with db.read() as conn:
        stored = await results.get_game(conn, game.host_id, game.id)
    assert (stored.participants, stored.game.phase, stored.game.question_index) == (9, Phase.CLOSED, 0)
    assert stored.game.played == (0,)


async def test_results_have_every_question_and_an_entry_for_each(db: Database, game: Game) -> None:
    await store_or_bisect(db, [*batch_of(game, 4), entry(RemovedRow(game.id, "p1"), NOW + 30_000)])
    report = await _report(db, game)
    assert [question.kind for question in report.questions] == ["true_false", "single", "order"]
    assert [question.correct for question in report.questions] == [True, 0, None]
    assert [question.counts for question in report.questions] == [{"true": 1, "false": 2}, [0, 0], {}]
    assert [row.participant_id for row in report.ranking] == ["p2", "p0", "p3"]
    assert [row.rank for row in report.ranking] == [1, 2, 2]
    for row in report.ranking:
        assert len(row.answers) == 3
        assert row.answers[0] is not None
        assert row.answers[1:] == [None, None]
    best = report.ranking[0].answers[0]
    assert best is not None
    assert (best.answer, best.correct, best.points, best.received_at) == (True, True, 975, NOW + 6002)


mostly = st.sampled_from([True, True, True, False])


@st.composite
def plays(draw: st.DrawFn) -> tuple[QuizContent, list[Opening], list[dict[int, Given]]]:
    """A quiz, some of its questions opened in some order, and what some people answered."""
    quiz = QuizContent(title="t", questions=tuple(draw(st.lists(questions, min_size=3, max_size=6))))
    order = draw(st.permutations(range(len(quiz.questions))))
    openings = []
    for turn, index in enumerate(order[: draw(st.integers(2, len(order)))]):
        items = range(len(getattr(quiz.questions[index], "items", ())))
        opens_at = NOW + 100_000 * turn
        shuffle = tuple(draw(st.permutations(items)))
        openings.append(Opening(question=index, opens_at=opens_at, closes_at=opens_at + 20_000, shuffle=shuffle))
    people = []
    for _ in range(draw(st.integers(1, 4))):
        said = {}
        for opening in openings:
            question = quiz.questions[opening.question]
            try:
                right = correct_answer(question, opening.shuffle)
                right = right[0] if isinstance(question, Text) and isinstance(right, tuple) else right
                # Often the right one: by chance alone there would be no streak.
                answer = read_answer(question, right if draw(mostly) else draw(answers(question)))
            except AnswerInvalid:
                continue
            if draw(mostly):
                said[opening.question] = Given(answer, opening.opens_at + draw(st.integers(0, 20_500)))
        people.append(said)
    return quiz, openings, people


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(play=plays())
async def test_the_report_equals_what_was_shown_when_each_question_closed(
    db: Database, host: accounts.Host, play: tuple[QuizContent, list[Opening], list[dict[int, Given]]]
) -> None:
    quiz, openings, people = play
    game = await new_game(db, host.id, quiz)
    ids = [f"p{place}" for place in range(len(people))]
    entries = [entry(JoinRow(game.id, pid, pid), NOW - 10, place + 1) for place, pid in enumerate(ids)]
    entries += [entry(OpeningRow(game.id, opening), opening.opens_at) for opening in openings]
    for pid, said in zip(ids, people, strict=True):
        for index, given_answer in said.items():
            text = msgspec.json.encode(given_answer.answer).decode()
            entries.append(entry(AnswerRow(game.id, index, pid, text), given_answer.received_at))
    assert (await store_or_bisect(db, entries))[1] == []

    # As the live game does it: at each closing, everybody who takes part, from where they stood.
    standings = dict.fromkeys(ids, Tally())
    shown: dict[tuple[str, int], tuple[bool | None, int]] = {}
    for opening in openings:
        for pid, said in zip(ids, people, strict=True):
            question = quiz.questions[opening.question]
            one = outcome(question, opening, game.options, standings[pid], said.get(opening.question))
            standings[pid] = Tally(one.score, one.streak)
            shown[pid, opening.question] = (one.correct, one.points)

    report = await _report(db, game)
    places = ranked({pid: tally.score for pid, tally in standings.items()}, ids)
    assert [(row.rank, row.participant_id) for row in report.ranking] == places
    for row in report.ranking:
        said = people[ids.index(row.participant_id)]
        assert row.score == standings[row.participant_id].score
        for index, answer in enumerate(row.answers):
            if index not in said:
                assert answer is None
                continue
            assert answer is not None
            assert Given(answer.answer, answer.received_at) == said[index]
            assert (answer.correct, answer.points) == shown[row.participant_id, index]


async def _report(db: Database, game: Game) -> Results:
    async with db.read() as conn:
        record = await results.load_results(conn, game.id)
    view = GameView(
        id=game.id,
        pin=game.pin,
        quiz_id=game.quiz_id,
        title=game.title,
        join_url="",
        phase=game.phase,
        question_index=None,
        question_count=game.question_count,
        participants=0,
        locked=False,
        options=game.options,
        created_at=game.created_at,
    )
    made = results.results(record, view)
    msgspec.json.encode(made)
    return made


async def _contents(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    async with db.read() as conn:
        for table in TABLES:
            rows = await conn.execute(f"SELECT {table}::text FROM {table} ORDER BY 1".encode())
            found[table] = await rows.fetchall()
    return found
