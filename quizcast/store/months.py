"""Answers by month: the coming months' parts made ahead of time, old ones exported and dropped; inside `store`.

A part holds the answers of the games that were created in its month (UTC), however late those are played. The parts
follow each other without a gap; what comes after the last one goes into the rest until `prepare` sorts it out.
Invariant: a part is dropped only after its export is whole and on disk, and from when it leaves the table nobody takes
its games for unanswered.
"""

import gzip
import logging
import os
import re
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from psycopg import sql

from quizcast.errors import ExportFailed
from quizcast.ids import first_id, made_at
from quizcast.store.db import Connection, fetch
from quizcast.store.schema import alone, patiently
from quizcast.store.shipped import query

AHEAD = 3  # months beside the present one: whoever forgets `retention` and `migrate` for so long is told by `doctor`
REST = "answers_rest"
BOUNDS = re.compile(r"FROM \((?:MINVALUE|'(\w+)')\) TO \('(\w+)'\)")

log = logging.getLogger(__name__)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One month's answers: ids of games from `since` (None: from the first) up to `until`; rows as Postgres guesses."""

    name: str
    since: str | None
    until: str
    rows: int
    bytes: int

    @property
    def last_month(self) -> str:
        """The month that it ends with, such as 2026-01."""
        return _at(made_at(self.until) - 1).strftime("%Y-%m")


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is gone: its name, how many rows were in it, and the file they are in; empty without an export."""

    name: str
    rows: int
    export: str


class _Leaf(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    bounds: str
    rows: int
    bytes: int


async def prepare(database_url: str) -> list[str]:
    """Make the parts of the coming months; the names of what was made. Raises as `migrate` does."""
    return await alone(database_url, _prepare)


async def retire(
    database_url: str, months: int, folder: Path | None, *, dry_run: bool = False
) -> tuple[list[Part], list[Dropped]]:
    """Drop all parts but those of the present month and the `months` before it, each exported into `folder` first.

    Which have expired, and what was dropped of them (with `dry_run` nothing), a part of a run that broke off included.
    Raises `ExportFailed`, and as `migrate` does.
    """

    async def work(conn: Connection) -> tuple[list[Part], list[Dropped]]:
        expired = [part for part in await parts(conn) if part.until <= _first_kept(months)]
        if dry_run:
            return expired, []
        for part in expired:
            await _detach(conn, part)
        waiting = await (await conn.execute(query("parts_detached"))).fetchall()
        return expired, [await _drop(conn, name, folder) for (name,) in waiting]

    if folder is not None and not dry_run:
        # Now, and not on the night, a year later, in which the first month is old enough and has left the table.
        _writable(folder)
    return await alone(database_url, work)


async def parts(conn: Connection) -> list[Part]:
    """The parts that are there, in their order; without the rest."""
    found = []
    for leaf in await fetch(conn, _Leaf, "parts", {}):
        if bounds := BOUNDS.search(leaf.bounds):
            since, until = bounds.groups()
            found.append(Part(name=leaf.name, since=since, until=until, rows=max(0, leaf.rows), bytes=leaf.bytes))
    return sorted(found, key=lambda part: part.until)


async def _prepare(conn: Connection) -> list[str]:
    made = []
    month = _at(made_at((await parts(conn))[-1].until))
    last = _this_month()
    for _ in range(AHEAD):
        last = _next(last)
    while month <= last:
        name = month.strftime("answers_%Y_%m")
        await _make(conn, name, first_id(_ms(month)), first_id(_ms(_next(month))))
        made.append(name)
        month = _next(month)
    return made


async def _make(conn: Connection, name: str, since: str, until: str) -> None:
    async def change() -> None:
        # What is in the rest and belongs here comes along; as a rule that is nothing, and the lock lasts for a moment.
        await conn.execute(query("lock_rest"))
        await conn.execute(sql.SQL("CREATE TABLE {} (LIKE answers INCLUDING ALL)").format(sql.Identifier(name)))
        move = sql.SQL(
            "WITH moved AS (DELETE FROM answers_rest WHERE game_id >= {since} AND game_id < {until} RETURNING *)"
            " INSERT INTO {part} SELECT * FROM moved"
        )
        bounds = {"part": sql.Identifier(name), "since": sql.Literal(since), "until": sql.Literal(until)}
        await conn.execute(move.format(**bounds))
        attach = sql.SQL("ALTER TABLE answers ATTACH PARTITION {part} FOR VALUES FROM ({since}) TO ({until})")
        await conn.execute(attach.format(**bounds))

    await patiently(conn, f"the part {name}", change)


async def _detach(conn: Connection, part: Part) -> None:
    # Not CONCURRENTLY, which Postgres refuses where there is a rest; it takes a moment once it has its locks.
    async def change() -> None:
        await conn.execute(sql.SQL("ALTER TABLE answers DETACH PARTITION {}").format(sql.Identifier(part.name)))
        await conn.execute(query("insert_dropped"), msgspec.structs.asdict(part))

    await patiently(conn, f"the part {part.name}", change)


async def _drop(conn: Connection, name: str, folder: Path | None) -> Dropped:
    if folder is None:
        rows, export = await _count(conn, name), ""
    else:
        export = str(folder / f"{name}.csv.gz")
        rows = await _export(conn, name, Path(export))

    async def change() -> None:
        await conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        await conn.execute(query("update_dropped"), {"part": name, "rows": rows, "export": export})

    await patiently(conn, f"the part {name}", change)
    return Dropped(name=name, rows=rows, export=export)


async def _count(conn: Connection, name: str) -> int:
    row = await (await conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))).fetchone()
    return int(row[0]) if row else 0


async def _export(conn: Connection, name: str, path: Path) -> int:
    half_done = path.with_name(path.name + ".part")
    try:
        with half_done.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="") as archive:
            os.fchmod(file.fileno(), 0o600)  # who answered what is personal
            lines = 0
            async for piece in _copied(conn, name):
                lines += piece.count(b"\n")  # answers are JSON: there is none within a row
                archive.write(piece)
            archive.close()
            file.flush()
            os.fsync(file.fileno())
        rows = await _count(conn, name)
        if lines != rows + 1:
            raise ExportFailed(f"{half_done} has {lines - 1} rows of {rows}; nothing was dropped")
        half_done.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ExportFailed(f"{path}: {error.strerror or error}; nothing was dropped") from error
    return rows


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ExportFailed(f"{folder}: {error.strerror or error}; nothing was dropped") from error


async def _copied(conn: Connection, name: str) -> AsyncIterator[bytes]:
    copy_out = sql.SQL("COPY {} TO STDOUT (FORMAT csv, HEADER)").format(sql.Identifier(name))
    async with conn.cursor() as cursor, cursor.copy(copy_out) as copy:
        async for piece in copy:
            yield bytes(piece)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_kept(months: int) -> str:
    month = _this_month()
    for _ in range(months):
        month = _at(_ms(month) - 1).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first_id(_ms(month))


def _this_month() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
