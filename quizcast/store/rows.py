"""The flush's half of the promise: rows from the answer streams into Postgres, in bulk; inside `store`.

Invariants: rows may come twice, and batches in any order, and count once; one transaction takes a batch or nothing of
it; only what Postgres can never take is refused, and it does not hold up the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import msgspec
import psycopg

from quizcast.domain.game import Phase
from quizcast.store.db import Connection, Database
from quizcast.store.shipped import query
from quizcast.wire.rows import AnswerRow, Entry, JoinRow, OpeningRow, PhaseRow, RemovedRow

# A key too long for an index page is reported as a limit of the program, yet it is the value that is at fault.
REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded, UnicodeError)
GAME_UNKNOWN = "game_unknown"

_encode = msgspec.json.Encoder().encode


async def store_or_bisect(db: Database, entries: Sequence[Entry]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Store a batch: what is in Postgres now, and what it can never take, each with a reason that names nobody.

    Raises `PostgresUnavailable` when it does not answer; nothing is refused then, and all may be tried again.
    """
    stored: list[Entry] = []
    refused: list[tuple[Entry, str]] = []
    waiting = [list(entries)]
    while waiting:
        batch = waiting.pop()
        try:
            async with db.write() as conn:
                try:
                    await store_rows(conn, batch)
                except REFUSALS as error:
                    raise _Refused from error  # out of the block, so that the transaction is undone
        except _Refused as refusal:
            if isinstance(refusal.__cause__, psycopg.errors.ForeignKeyViolation):
                # A deleted game may have thousands of rows here: look them up instead of cutting to each of them.
                batch, orphans = await _sorted_out(db, batch)
                refused += [(entry, GAME_UNKNOWN) for entry in orphans]
                if orphans:
                    waiting.append(batch)
                    continue
            if len(batch) == 1:
                refused.append((batch[0], _reason(refusal)))
                continue
            middle = len(batch) // 2
            waiting += [batch[middle:], batch[:middle]]
        else:
            stored += batch
    return stored, refused


class _Refused(Exception):
    """Postgres cannot take something in this batch."""


def _reason(refusal: _Refused) -> str:
    # The class and not the message, which quotes the value.
    return type(refusal.__cause__).__name__


async def _sorted_out(db: Database, batch: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    async with db.write() as conn:  # never a replica, which may not know of the game yet
        ids = list({entry.row.game_id for entry in batch})
        there = {row[0] for row in await (await conn.execute(query("games_there"), {"ids": ids})).fetchall()}
    return (
        [entry for entry in batch if entry.row.game_id in there],
        [entry for entry in batch if entry.row.game_id not in there],
    )


async def store_rows(conn: Connection, entries: Sequence[Entry]) -> int:
    """Store a batch in the connection's transaction; how many of its joins, openings and answers were new.

    Raises psycopg's errors: `store_or_bisect` knows what to make of them.
    """
    # One row for each key, since a statement that updates may touch a row only once.
    openings: dict[tuple[str, int], tuple[Any, ...]] = {}
    joins: dict[tuple[str, str], tuple[str, int, int]] = {}
    removals: dict[tuple[str, str], tuple[int]] = {}
    answers: list[tuple[str, int, str, int, str]] = []
    phases: dict[tuple[str], tuple[str, int]] = {}
    for entry in entries:
        match row := entry.row:
            case AnswerRow():  # the field's names, since positions cost a batch of answers as much as all the rest
                answers.append((row.game_id, row.question, row.participant_id, entry.at, row.answer))
            case JoinRow(game_id, participant_id, nickname):
                known = joins.get((game_id, participant_id))
                if known is None or known[1] < entry.number:
                    joins[game_id, participant_id] = (nickname, entry.number, entry.at)
            case RemovedRow(game_id, participant_id):
                removals[game_id, participant_id] = max((entry.at,), removals.get((game_id, participant_id), (0,)))
            case OpeningRow(game_id, opening):
                earlier = openings.get((game_id, opening.question))
                if earlier is None or earlier[1] < opening.closes_at:
                    shuffle = "{" + ",".join(map(str, opening.shuffle)) + "}"
                    openings[game_id, opening.question] = (opening.opens_at, opening.closes_at, shuffle)
            case PhaseRow(game_id, phase):
                last = phases.get((game_id,))
                if last is None or (last[0] != Phase.FINISHED and last[1] <= entry.at) or phase is Phase.FINISHED:
                    phases[(game_id,)] = (phase.value, entry.at)
            case _:
                assert_never(row)
    # In the order of the keys: two workers with the same rows wait for each other, and do not lock each other out.
    new = await _put(conn, "store_openings", _sorted(openings))
    new += await _put(conn, "store_joins", _sorted(joins))
    await _put(conn, "store_removals", _sorted(removals))
    new += await _put_answers(conn, sorted(answers))
    await _put(conn, "store_phases", _sorted(phases))
    return new


def _sorted(rows: Mapping[Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*key, *rows[key]) for key in sorted(rows)]


async def _put_answers(conn: Connection, answers: Sequence[tuple[Any, ...]]) -> int:
    """Nearly always all are new: COPY takes them at half the cost, and when one is not, costs just the attempt."""
    if not answers:
        return 0
    try:
        async with conn.transaction(), conn.cursor() as cursor:
            async with cursor.copy(query("copy_answers")) as copy:
                for answer in answers:
                    await copy.write_row(answer)
            return cursor.rowcount
    except psycopg.errors.UniqueViolation:
        return await _put(conn, "store_answers", answers)


async def _put(conn: Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Run a query over rows; the number of those that made a difference."""
    if not rows:
        return 0
    # One JSON text costs this process a seventh of what an array per column costs it.
    cursor = await conn.execute(query(name), {"rows": _encode(rows).decode()})
    return cursor.rowcount
