"""The pools, the migrations, the named queries, and Postgres's failures in quizcast's words; floor 5.

Every statement of quizcast stands in `sql/*.sql` under a name. Works behind pgbouncer in transaction mode: nothing is
prepared and no session state is relied on, save for the migrations' advisory lock, which is one transaction's.
"""

import contextlib
import hashlib
import logging
import random
import re
from collections.abc import AsyncIterator
from importlib import resources
from typing import LiteralString, cast

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from quizcast.errors import MigrationFailed, PostgresUnavailable
from quizcast.metrics import DB_ERRORS, DB_POOL, DB_SECONDS
from quizcast.settings import Settings

RETRY_AFTER_S = 1.0
LIFETIME_S = 1800  # of a pooled connection, so that one to a former primary does not live for ever
MIGRATION_LOCK = 7_160_533  # any number, as long as nobody else uses it

Connection = AsyncConnection[TupleRow]
# What says that Postgres is away or busy, and not that the statement was wrong.
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.InternalError_, PoolTimeout, TooManyRequests)

log = logging.getLogger(__name__)


class Database:
    """A process's pools: the primary, and each replica. `open` it, `close` it."""

    def __init__(self, settings: Settings) -> None:
        self._primary = _pool("primary", settings.database_url, settings)
        self._replicas = [_pool(f"replica-{place}", url, settings) for place, url in enumerate(settings.replica_urls)]

    async def open(self) -> None:
        """Begin to connect. Does not wait: a game in play needs no Postgres, nor does the start of a process."""
        for pool in (self._primary, *self._replicas):
            await pool.open(wait=False)

    async def close(self) -> None:
        """Give the connections back."""
        for pool in (self._primary, *self._replicas):
            await pool.close()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """A transaction on the primary, committed at the end. Raises `PostgresUnavailable`."""
        async with _translated(), _connected(self._primary) as conn, conn.transaction():
            yield conn

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for reading what may be a moment old: to a replica, or to the primary when none answers."""
        async with _translated(), contextlib.AsyncExitStack() as stack:
            yield await self._reader(stack)

    async def _reader(self, stack: contextlib.AsyncExitStack) -> Connection:
        for pool in random.sample(self._replicas, len(self._replicas)):
            try:
                return await stack.enter_async_context(_connected(pool))
            except _AWAY as error:
                DB_ERRORS.labels(type(error).__name__).inc()
                log.warning("%s does not answer; the primary reads", pool.name)
        return await stack.enter_async_context(_connected(self._primary))

    async def check(self) -> None:
        """Raises `PostgresUnavailable`, or `MigrationFailed` when the schema is not this version's."""
        async with self.read() as conn:
            known = {row[0] for row in await (await conn.execute(QUERIES["migrations_known"])).fetchall()}
        missing = [name for name, _ in _migrations() if name not in known]
        if missing:
            raise MigrationFailed(f"run `quizcast migrate`: {', '.join(missing)} not applied")


def _pool(name: str, url: str, settings: Settings) -> AsyncConnectionPool[Connection]:
    return AsyncConnectionPool(
        url,
        name=name,
        min_size=1,
        max_size=settings.db_pool_max,
        max_waiting=settings.db_pool_waiting_max,
        timeout=settings.db_timeout_s,
        max_lifetime=LIFETIME_S,
        open=False,
        kwargs={"prepare_threshold": None, "autocommit": True, "application_name": "quizcast", "connect_timeout": 5},
        check=AsyncConnectionPool.check_connection,
    )


@contextlib.asynccontextmanager
async def _connected(pool: AsyncConnectionPool[Connection]) -> AsyncIterator[Connection]:
    with DB_SECONDS.labels(pool.name).time():
        async with pool.connection() as conn:
            stats = pool.get_stats()
            DB_POOL.labels(pool.name, "open").set(stats.get("pool_size", 0))
            DB_POOL.labels(pool.name, "free").set(stats.get("pool_available", 0))
            DB_POOL.labels(pool.name, "waiting").set(stats.get("requests_waiting", 0))
            yield conn


@contextlib.asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except _AWAY as error:
        DB_ERRORS.labels(type(error).__name__).inc()
        raise PostgresUnavailable(retry_after_s=RETRY_AFTER_S) from error


# ── queries ───────────────────────────────────────────────────────────────────────────────────────────────────


def _load_queries() -> dict[str, LiteralString]:
    queries: dict[str, LiteralString] = {}
    for file in sorted(resources.files("quizcast.store").joinpath("sql").iterdir(), key=lambda file: file.name):
        # `-- name: get_quiz`, then comments, then the statement up to the next name.
        parts = re.split(r"^-- name: (\w+)$", file.read_text("utf-8"), flags=re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            queries[name] = cast("LiteralString", text.strip())
    return queries


QUERIES = _load_queries()


# ── migrations ────────────────────────────────────────────────────────────────────────────────────────────────


def _migrations() -> list[tuple[str, str]]:
    folder = resources.files("quizcast.store").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in files]


async def migrate(database_url: str) -> list[str]:
    """Bring the schema up to date; the names of the migrations applied, none the second time.

    Whoever comes second waits for the first. All or nothing. Raises `MigrationFailed` when a migration that was
    applied reads differently now, `PostgresUnavailable` when there is no connection.
    """
    try:
        conn = await AsyncConnection.connect(database_url, autocommit=True)
    except psycopg.OperationalError as error:
        raise PostgresUnavailable(str(error).splitlines()[0]) from None
    async with conn, conn.transaction():
        await conn.execute(QUERIES["migrations_lock"], {"key": MIGRATION_LOCK})
        await conn.execute(QUERIES["migrations_table"])
        known: dict[str, str] = dict(await (await conn.execute(QUERIES["migrations_applied"])).fetchall())
        applied = []
        for name, text in _migrations():
            checksum = hashlib.sha256(text.encode()).hexdigest()
            if name in known and known[name] != checksum:
                raise MigrationFailed(f"{name} was applied in another version; a migration is never edited")
            if name in known:
                continue
            try:
                await conn.execute(text.encode())
            except psycopg.Error as error:
                raise MigrationFailed(f"{name}: {str(error).splitlines()[0]}") from error
            await conn.execute(QUERIES["migrations_insert"], {"name": name, "checksum": checksum})
            applied.append(name)
    return applied
