"""How a Postgres server is, for `quizcast doctor`; inside `store`."""

import asyncio
import math
import time

import msgspec
import psycopg
from psycopg import AsyncConnection

from quizcast.errors import MigrationFailed, PostgresUnavailable
from quizcast.ids import made_at
from quizcast.settings import Settings
from quizcast.store.db import Database, number, translated
from quizcast.store.months import parts
from quizcast.store.shipped import query

CONNECT_TIMEOUT_S = 5
LOOK_EVERY_S = 0.05


class PostgresFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself. `ahead_ms` is its clock minus ours, right to half of `round_trip_ms`."""

    version: int  # the major one
    max_connections: int  # without those that are reserved for superusers
    used: int
    read_only: bool
    ahead_ms: float
    round_trip_ms: float


async def probe(url: str) -> PostgresFacts:
    """Ask the server at `url`. Raises `PostgresUnavailable` with its reason."""
    try:
        async with await AsyncConnection.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as conn:
            asked = time.time() * 1000
            row = await (await conn.execute(query("probe_server"))).fetchone()
            heard = time.time() * 1000
    except (psycopg.Error, ValueError) as error:
        raise PostgresUnavailable((str(error).strip() or type(error).__name__).splitlines()[0]) from None
    if row is None:
        raise PostgresUnavailable("the server answers without a row")
    version, max_connections, used, read_only, now_ms = row
    return PostgresFacts(
        version=version // 10_000,
        max_connections=max_connections,
        used=used,
        read_only=read_only,
        ahead_ms=now_ms - (asked + heard) / 2,
        round_trip_ms=heard - asked,
    )


class Months(msgspec.Struct, frozen=True, kw_only=True):
    """How long the parts of `answers` last, and whether answers have come that belong to none of them."""

    days_ahead: float
    rest: bool


async def months(settings: Settings) -> Months:
    """How the answers' months are prepared. Raises `PostgresUnavailable`."""
    db = Database.of_one(settings)
    await db.open()
    try:
        async with db.write() as conn:
            until = made_at((await parts(conn))[-1].until)
            row = await (await conn.execute(query("rest_of_answers"))).fetchone()
        return Months(days_ahead=(until / 1000 - time.time()) / 86400, rest=bool(row and row[0]))
    finally:
        await db.close()


async def behind_s(primary_url: str, replica_url: str, most_s: float) -> float:
    """How long a replica takes to have what the primary has now: up to `most_s`, and inf when that is not enough.

    Raises `PostgresUnavailable`.
    """
    with translated():
        async with (
            await AsyncConnection.connect(primary_url, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True) as primary,
            await AsyncConnection.connect(replica_url, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True) as replica,
        ):
            began = time.monotonic()
            end = await number(primary, query("log_end"))
            while await number(replica, query("log_end")) < end:
                if time.monotonic() - began > most_s:
                    return math.inf
                await asyncio.sleep(LOOK_EVERY_S)
            return time.monotonic() - began


async def missing_migrations(settings: Settings) -> str:
    """What the schema lacks, in a sentence; empty when it is complete. Raises `PostgresUnavailable`."""
    db = Database(settings)
    await db.open()
    try:
        await db.check()
    except MigrationFailed as error:
        return str(error)
    finally:
        await db.close()
    return ""
