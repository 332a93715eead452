"""How a Postgres server is, for `quizcast doctor`; inside `store`."""

import time

import msgspec
import psycopg
from psycopg import AsyncConnection

from quizcast.errors import MigrationFailed, PostgresUnavailable
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.store.shipped import query

CONNECT_TIMEOUT_S = 5


class PostgresFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself. `ahead_ms` is its clock minus ours, right to half of `round_trip_ms`."""

    version: int  # the major one
    max_connections: int
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
