"""Games as they last: created, filled by the flush, read as results; floor 5.

Invariants: storing rows is idempotent, in any order and any number of times; a row that Postgres refuses is named and
holds up no other. Points are not stored: results are the stored answers, marked by the same code as in the game.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg

from quizcast.domain.game import Game, Phase
from quizcast.domain.quiz import QuizContent, Shuffle
from quizcast.domain.scoring import Given, Opening
from quizcast.errors import GameUnknown
from quizcast.store.db import QUERIES, Connection, Database
from quizcast.store.library import make_cursor, read_cursor
from quizcast.wire.api import Page
from quizcast.wire.rows import AnswerRow, Entry, JoinRow, OpeningRow, PhaseRow, RemovedRow

_encode = msgspec.json.Encoder().encode
_decode_game = msgspec.json.Decoder(Game).decode
_decode_quiz = msgspec.json.Decoder(QuizContent).decode
_decode_answer = msgspec.json.Decoder(bool | int | float | str | Shuffle).decode

# The statement or the row is at fault, and not the server.
_REFUSED = (psycopg.DataError, psycopg.IntegrityError)


class StoredGame(NamedTuple):
    """A game as the database knows it, and how many take part."""

    game: Game
    participants: int


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """All that results are made of. `people` are (id, nickname) in the order of joining."""

    quiz: QuizContent
    openings: list[Opening]
    people: list[tuple[str, str]]
    answers: dict[tuple[int, str], Given]


async def create_game(conn: Connection, game: Game, quiz: QuizContent, key: str = "") -> str:
    """Store a new game with its copy of the quiz; its id, or that of the game made for the same `key` before."""
    params = {
        "id": game.id,
        "host_id": game.host_id,
        "quiz_id": game.quiz_id,
        "quiz": _encode(quiz).decode(),
        "game": _encode(game).decode(),
        "phase": game.phase.value,
        "phase_at": game.created_at,
        "key": key or None,
    }
    if await (await conn.execute(QUERIES["create_game"], params)).fetchone() is not None:
        return game.id
    found = await game_by_key(conn, game.host_id, key)
    return found or game.id


async def game_by_key(conn: Connection, host_id: str, key: str) -> str | None:
    """The game that a request with this Idempotency-Key made."""
    row = await (await conn.execute(QUERIES["game_by_key"], {"host_id": host_id, "key": key})).fetchone()
    return row[0] if row else None


async def delete_game(conn: Connection, game_id: str) -> None:
    """Take back a game that could not be opened."""
    await conn.execute(QUERIES["delete_game"], {"id": game_id})


async def get_game(conn: Connection, host_id: str, game_id: str) -> StoredGame:
    """One of a host's games. Raises `GameUnknown`, for another host's too."""
    row = await (await conn.execute(QUERIES["get_game"], {"host_id": host_id, "id": game_id})).fetchone()
    if row is None:
        raise GameUnknown()
    return _stored(row)


async def list_games(conn: Connection, host_id: str, limit: int, cursor: str | None) -> Page[StoredGame]:
    """A host's games, newest first. Raises `CursorInvalid`."""
    params = {"host_id": host_id, "before": read_cursor(cursor), "limit": limit + 1}
    rows = await (await conn.execute(QUERIES["list_games"], params)).fetchall()
    items = [_stored(row) for row in rows[:limit]]
    return Page(items=items, next_cursor=make_cursor(items[-1].game.id) if len(rows) > limit else None)


def _stored(row: Sequence[Any]) -> StoredGame:
    text, phase, phase_at, participants, question = row
    game = _decode_game(text)
    last = None if question is None else Opening(question=question, opens_at=0, closes_at=0)
    finished_at = phase_at if phase == Phase.FINISHED else None
    changed = {"phase": Phase(phase), "opening": last, "finished_at": finished_at}
    return StoredGame(msgspec.structs.replace(game, **changed), participants)


async def load_played(conn: Connection, host_id: str, game_id: str) -> Played:
    """Everything stored of a game. Raises `GameUnknown`."""
    row = await (await conn.execute(QUERIES["game_quiz"], {"host_id": host_id, "id": game_id})).fetchone()
    if row is None:
        raise GameUnknown()
    params = {"id": game_id}
    openings = await (await conn.execute(QUERIES["game_openings"], params)).fetchall()
    people = await (await conn.execute(QUERIES["game_participants"], params)).fetchall()
    answers = await (await conn.execute(QUERIES["game_answers"], params)).fetchall()
    return Played(
        quiz=_decode_quiz(row[0]),
        openings=[
            Opening(question=question, opens_at=opens_at, closes_at=closes_at, shuffle=tuple(shuffle))
            for question, opens_at, closes_at, shuffle in openings
        ],
        people=[(pid, nickname) for pid, nickname in people],
        answers={(question, pid): Given(_decode_answer(text), at) for question, pid, text, at in answers},
    )


# ── the flush ─────────────────────────────────────────────────────────────────────────────────────────────────


async def store_or_bisect(db: Database, entries: Sequence[Entry]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Store rows: those that are stored (committed), and those that Postgres refuses, each with its reason.

    A batch that is refused is halved until the culprits stand alone. Raises `PostgresUnavailable`; halves that were
    committed before that are simply stored again next time.
    """
    try:
        async with db.write() as conn:
            await store_rows(conn, entries)
        return list(entries), []
    except _REFUSED as error:
        if len(entries) == 1:
            # The class says what is wrong; the message would quote what somebody wrote.
            return [], [(entries[0], type(error).__name__)]
    middle = len(entries) // 2
    stored, refused = await store_or_bisect(db, entries[:middle])
    more_stored, more_refused = await store_or_bisect(db, entries[middle:])
    return stored + more_stored, refused + more_refused


async def store_rows(conn: Connection, entries: Sequence[Entry]) -> None:
    """Store rows in a handful of statements, within the caller's transaction. Raises psycopg's errors."""
    joins: list[tuple[Any, ...]] = []
    answers: list[tuple[Any, ...]] = []
    removals: list[tuple[Any, ...]] = []
    openings: list[dict[str, Any]] = []
    phases: list[dict[str, Any]] = []
    for entry in entries:
        match entry.row:
            case AnswerRow(game_id, question, pid, answer):
                answers.append((game_id, question, pid, answer, entry.at))
            case JoinRow(game_id, pid, nickname):
                joins.append((game_id, pid, nickname, entry.number, entry.at))
            case RemovedRow(game_id, pid):
                removals.append((game_id, pid, entry.at))
            case OpeningRow(game_id, opening):
                fields = msgspec.structs.asdict(opening)
                openings.append({"game_id": game_id, **fields, "shuffle": list(opening.shuffle)})
            case PhaseRow(game_id, phase):
                phases.append({"game_id": game_id, "phase": phase.value, "at": entry.at})
    await _insert(conn, "store_joins", ("game_ids", "ids", "nicknames", "numbers", "joined_ats"), joins)
    await _insert(conn, "store_removals", ("game_ids", "ids", "removed_ats"), removals)
    for opening_params in openings:
        await conn.execute(QUERIES["store_openings"], opening_params)
    for phase_params in phases:
        await conn.execute(QUERIES["store_phase"], phase_params)
    columns = ("game_ids", "questions", "participant_ids", "answers", "received_ats")
    await _insert(conn, "store_answers", columns, answers)


async def _insert(conn: Connection, query: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        arrays = zip(*rows, strict=True)
        await conn.execute(QUERIES[query], {name: list(values) for name, values in zip(columns, arrays, strict=True)})
