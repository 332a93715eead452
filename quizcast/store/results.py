"""Games as they are kept: created, listed, and all that was answered in them; inside `store`."""

import asyncio

import msgspec
from msgspec import UNSET
from psycopg import errors

from quizcast.domain.game import Game, GameOptions, Phase
from quizcast.domain.quiz import Question, QuizContent, listed, worth
from quizcast.domain.report import Asked, Line, Member, Record, asked, ranking
from quizcast.domain.scoring import Given, Opening
from quizcast.errors import AnswersDropped, GameUnknown, QuizUnknown
from quizcast.store.db import Connection, fetch
from quizcast.store.paging import before, page
from quizcast.store.shipped import query
from quizcast.wire.api import GameView, Page, ResultAnswer, ResultQuestion, ResultRow, Results
from quizcast.wire.events import Listed

_encode = msgspec.json.Encoder().encode
_decode_quiz = msgspec.json.Decoder(QuizContent).decode
_decode_options = msgspec.json.Decoder(GameOptions).decode
_decode_openings = msgspec.json.Decoder(tuple[Opening, ...]).decode
_decode_answers = msgspec.json.Decoder(dict[str, Given]).decode


class StoredGame(msgspec.Struct, frozen=True, kw_only=True):
    """A game as far as Postgres knows it, how many take part, and its openings in their order.

    What only lives with the game (`locked`, `board_limit`, `keys`) has its default; `quiz_id` is empty when the quiz
    has been deleted.
    """

    game: Game
    participants: int
    openings: tuple[Opening, ...]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    host_id: str
    quiz_id: str
    pin: str
    title: str
    question_count: int
    options: str
    phase: str
    created_at: int
    finished_at: int | None
    participants: int
    openings: str


async def create_game(conn: Connection, game: Game, quiz: QuizContent, key: str = "") -> Game:
    """Store a new game with its own copy of the quiz; or the one that was made with this Idempotency-Key before.

    A game with another id than `game`'s comes back in the second case. Raises `QuizUnknown` when the quiz was deleted
    in the meantime.
    """
    params = {
        "id": game.id,
        "host_id": game.host_id,
        "quiz_id": game.quiz_id or None,
        "pin": game.pin,
        "title": quiz.title,
        "quiz": _encode(quiz).decode(),
        "question_count": game.question_count,
        "options": _encode(game.options).decode(),
        "phase": game.phase.value,
        "created_at": game.created_at,
        "idempotency_key": key or None,
    }
    try:
        async with conn.transaction():
            row = await (await conn.execute(query("insert_game"), params)).fetchone()
    except errors.ForeignKeyViolation:
        raise QuizUnknown() from None
    if row is not None:
        return game
    row = await (await conn.execute(query("game_by_key"), params)).fetchone()
    if row is None:
        raise GameUnknown()  # made with this key by another request, and deleted since
    return (await get_game(conn, game.host_id, row[0])).game


async def get_game(conn: Connection, host_id: str, game_id: str) -> StoredGame:
    """A host's game. Raises `GameUnknown`."""
    for row in await _games(conn, [game_id]):
        if row.game.host_id == host_id:
            return row
    raise GameUnknown()


async def list_games(conn: Connection, host_id: str, limit: int, cursor: str | None = None) -> Page[StoredGame]:
    """A host's games, the newest first. Raises `CursorInvalid`."""
    params = {"host_id": host_id, "before": before(cursor), "most": limit + 1}
    ids = [row[0] for row in await (await conn.execute(query("games_page"), params)).fetchall()]
    return page(await _games(conn, ids), limit, lambda one: one.game.id)


async def _games(conn: Connection, ids: list[str]) -> list[StoredGame]:
    return [_stored(row) for row in await fetch(conn, _Row, "games_by_id", {"ids": ids})]


def _stored(row: _Row) -> StoredGame:
    openings = _decode_openings(row.openings)
    game = Game(
        id=row.id,
        pin=row.pin,
        host_id=row.host_id,
        quiz_id=row.quiz_id,
        question_count=row.question_count,
        created_at=row.created_at,
        title=row.title,
        options=_decode_options(row.options),
        phase=Phase(row.phase),
        opening=openings[-1] if openings else None,
        played=tuple(opening.question for opening in openings),
        finished_at=row.finished_at,
    )
    return StoredGame(game=game, participants=row.participants, openings=openings)


async def load_results(conn: Connection, game_id: str) -> Record:
    """All that has been stored of a game's play. Whose game it is, the caller knows.

    Raises `GameUnknown`, and `AnswersDropped` when retention has taken the answers away.
    """
    row = await (await conn.execute(query("quiz_of_game"), {"id": game_id})).fetchone()
    if row is None:
        raise GameUnknown()
    if row[1]:
        raise AnswersDropped(
            "the answers to games of that month are no longer kept; whoever runs this server may have them in a file"
        )
    stored = (await _games(conn, [game_id]))[0]
    answers: dict[int, dict[str, Given]] = {}
    for question, text in await (await conn.execute(query("answers_of_game"), {"game_id": game_id})).fetchall():
        answers[question] = _decode_answers(text)
        await asyncio.sleep(0)  # a large hall's answers to one question take milliseconds; others run in between
    return Record(
        quiz=_decode_quiz(row[0]),
        rules=stored.game.options,
        openings=stored.openings,
        members=await fetch(conn, Member, "participants_of_game", {"game_id": game_id}),
        answers=answers,
    )


def results(record: Record, game: GameView) -> Results:
    """The report: every question of the quiz, everybody's place, every answer with its marks.

    Pure, and work: 10,000 people with 20 questions take seconds, so call it in a thread.
    """
    openings = {opening.question: opening for opening in record.openings}
    questions = [
        _question(index, question, openings.get(index), one)
        for index, (question, one) in enumerate(zip(record.quiz.questions, asked(record), strict=True))
    ]
    rows = [
        ResultRow(
            rank=line.rank,
            participant_id=line.member.id,
            nickname=line.member.nickname,
            score=line.score,
            answers=[_answer(record, line, index) for index in range(len(questions))],
        )
        for line in ranking(record)
    ]
    return Results(game=game, questions=questions, ranking=rows)


def _question(index: int, question: Question, opening: Opening | None, one: Asked) -> ResultQuestion:
    texts = listed(question, opening.shuffle if opening else ())
    return ResultQuestion(
        index=index,
        kind=str(question.__struct_config__.tag),
        prompt=question.prompt,
        choices=UNSET if texts is None else [Listed(text=text) for text in texts],
        points=worth(question),
        opens_at=UNSET if opening is None else opening.opens_at,
        closes_at=UNSET if opening is None else opening.closes_at,
        correct=one.correct,
        counts=one.counts,
    )


def _answer(record: Record, line: Line, index: int) -> ResultAnswer | None:
    given = record.answers.get(index, {}).get(line.member.id)
    one = line.outcomes.get(index)
    if given is None or one is None:  # an answer whose opening is yet to be stored cannot be marked
        return None
    return ResultAnswer(
        question=index, answer=given.answer, correct=one.correct, points=one.points, received_at=given.received_at
    )
