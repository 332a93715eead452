"""The way to Postgres: pools, transactions, errors in quizcast's words; inside `store`.

Reads go to a replica that answers and is not too far behind, else to the primary. Nothing here keeps state on a
server's session, so a transaction-mode pooler may stand in between. Invariant: outside of `store` nobody sees psycopg's
errors.
"""

import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Self, TypeAlias, TypeVar

import msgspec
import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from quizcast.errors import InvalidInput, MigrationFailed, PostgresUnavailable
from quizcast.metrics import DB_CONNECTIONS, DB_CONNECTIONS_MAX, DB_ERRORS, DB_POOL, DB_SECONDS
from quizcast.settings import Settings
from quizcast.store.replicas import Log
from quizcast.store.shipped import migrations, query

RETRY_AFTER_S = 1.0
REPLICA_WAIT_S = 0.5  # a replica that takes longer is passed over, and the primary asked
REPLICA_REST_S = 10.0
LIFETIME_S = 1800.0  # psycopg_pool jitters it; so connections move to a new server within half an hour
DEAD_PEER_MS = 20_000
WORKER_CONNECTIONS = 2  # a job's, and the sweep's when it has to flush itself
SPARE_CONNECTIONS = 5  # `migrate` takes two and `doctor` up to two; one for who looks what is the matter

Connection: TypeAlias = AsyncConnection[TupleRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]
T = TypeVar("T")

log = logging.getLogger(__name__)


class Database:
    """The pools of one process: one for the primary, one for each replica. `open()` before use, `close()` after."""

    def __init__(self, settings: Settings) -> None:
        self._primary = _pool("primary", settings.database_url, settings)
        self._log = Log(settings.replica_lag_max_s, self._ask_primary)
        self._replicas = [
            _pool(f"replica{place}", url, settings) for place, url in enumerate(settings.replica_urls, start=1)
        ]
        self._resting: dict[str, float] = {}  # name of a replica's pool → when to try it again
        self._turn = 0

    @classmethod
    def of_one(cls, settings: Settings) -> Self:
        """One connection to the primary, for a flush, which takes one batch after the other and reads nothing."""
        return cls(msgspec.structs.replace(settings, replica_urls=(), db_pool_max=1))

    async def open(self) -> None:
        """Begin to connect. Does not wait: a process starts without Postgres, and answers 503 until it is there."""
        for pool in self._all():
            await pool.open(wait=False)

    async def close(self) -> None:
        """Give the connections back."""
        for pool in self._all():
            await pool.close()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """A transaction on the primary, committed at the end. Raises `PostgresUnavailable`; then nothing is known.

        Raises `InvalidInput` for a value that Postgres cannot hold.
        """
        with translated():
            async with _lent(self._primary) as conn:
                await conn.set_read_only(False)
                await conn.set_isolation_level(None)
                async with conn.transaction():
                    yield conn

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A read-only transaction that sees one moment. Raises `PostgresUnavailable`, `InvalidInput`."""
        with translated():
            async with contextlib.AsyncExitStack() as stack:
                pool, conn = await self._reader(stack)
                try:
                    await conn.set_read_only(True)
                    await conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
                    async with conn.transaction():
                        yield conn
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    self._rest(pool)
                    raise

    async def check(self) -> None:
        """Raises `PostgresUnavailable` when the primary does not answer, `MigrationFailed` when it lacks migrations."""
        try:
            async with self.write() as conn:
                rows = await (await conn.execute(query("migration_names"))).fetchall()
        except psycopg.errors.UndefinedTable:
            rows = []
        known = {name for (name,) in rows}
        if missing := [step.name for step in migrations() if step.name not in known]:
            raise MigrationFailed(f"run `quizcast migrate`; not applied: {', '.join(missing)}")

    async def look(self) -> None:
        """Tell the metrics how many connections the primary has, whoever's they are. Raises `PostgresUnavailable`."""
        async with self.write() as conn:
            if row := await (await conn.execute(query("connections"))).fetchone():
                DB_CONNECTIONS.set(row[0])
                DB_CONNECTIONS_MAX.set(row[1])

    async def _reader(self, stack: contextlib.AsyncExitStack) -> tuple[Pool, Connection]:
        self._turn += 1
        for step in range(len(self._replicas)):
            pool = self._replicas[(self._turn + step) % len(self._replicas)]
            if self._resting.get(pool.name, 0.0) > time.monotonic():
                continue
            async with contextlib.AsyncExitStack() as trial:
                try:
                    conn = await trial.enter_async_context(_lent(pool, REPLICA_WAIT_S))
                    if await self._log.is_fresh(pool.name, functools.partial(number, conn)):
                        stack.push_async_exit(trial.pop_all())
                        return pool, conn
                except psycopg.OperationalError as error:  # psycopg_pool's are of this kind too
                    DB_ERRORS.labels(type(error).__name__).inc()
                    self._rest(pool)
        return self._primary, await stack.enter_async_context(_lent(self._primary))

    async def _ask_primary(self, question: bytes) -> int:
        async with _lent(self._primary, REPLICA_WAIT_S) as conn:
            return await number(conn, question)

    def _rest(self, pool: Pool) -> None:
        if pool is not self._primary:
            log.warning("%s does not answer; reading elsewhere for %.0f s", pool.name, REPLICA_REST_S)
            self._resting[pool.name] = time.monotonic() + REPLICA_REST_S

    def _all(self) -> list[Pool]:
        return [self._primary, *self._replicas]


def connections(settings: Settings, web: int, workers: int) -> tuple[int, int]:
    """How many connections so many processes open at most: to the primary, and to each replica."""
    return web * settings.db_pool_max + workers * WORKER_CONNECTIONS + SPARE_CONNECTIONS, web * settings.db_pool_max


def _pool(name: str, url: str, settings: Settings) -> Pool:
    return AsyncConnectionPool(
        url,
        name=name,
        open=False,
        min_size=1,
        max_size=settings.db_pool_max,
        max_waiting=settings.db_pool_waiting_max,
        timeout=settings.db_timeout_s,
        max_lifetime=LIFETIME_S,
        # Its back-off doubles up to this: longer, and a process would sleep on when Postgres is back.
        reconnect_timeout=settings.db_timeout_s,
        # A tenth of a millisecond, and no request meets a connection that died with a restarted server.
        check=AsyncConnectionPool.check_connection,
        kwargs={
            "autocommit": True,  # transactions are begun by `transaction()` alone
            "application_name": "quizcast",
            "prepare_threshold": None,  # a pooler may hand every transaction to another session
            "connect_timeout": max(2, round(settings.db_timeout_s)),
            "tcp_user_timeout": DEAD_PEER_MS,
        },
    )


async def number(conn: Connection, question: bytes) -> int:
    """What a query for one number returns."""
    row = await (await conn.execute(question)).fetchone()
    return int(row[0]) if row else 0


@contextlib.asynccontextmanager
async def _lent(pool: Pool, timeout_s: float | None = None) -> AsyncIterator[Connection]:
    try:
        with DB_SECONDS.labels(pool.name).time():
            async with pool.connection(timeout_s) as conn:
                yield conn
    finally:
        stats = pool.get_stats()
        for state in ("pool_size", "pool_available", "requests_waiting"):
            DB_POOL.labels(pool.name, state).set(stats.get(state, 0))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """psycopg's errors in quizcast's words: `PostgresUnavailable` when it may pass, `InvalidInput` for a bad value."""
    try:
        yield
    except (PoolTimeout, TooManyRequests, PoolClosed) as error:
        DB_ERRORS.labels(type(error).__name__).inc()
        raise PostgresUnavailable("no connection is free", retry_after_s=RETRY_AFTER_S) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        # Serialization failures and deadlocks are of this kind: the whole transaction may be tried again.
        DB_ERRORS.labels(type(error).__name__).inc()
        raise PostgresUnavailable(retry_after_s=RETRY_AFTER_S) from error
    except psycopg.DataError as error:
        DB_ERRORS.labels(type(error).__name__).inc()
        raise InvalidInput("a value holds characters or numbers that cannot be stored") from error


async def fetch(conn: Connection, kind: type[T], name: str, params: Mapping[str, Any]) -> list[T]:
    """A query's rows, each as a `kind` made from its columns by name."""
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(query(name), params)
        return await cursor.fetchall()


async def fetch_one(conn: Connection, kind: type[T], name: str, params: Mapping[str, Any]) -> T | None:
    """A query's only row, or None."""
    rows = await fetch(conn, kind, name, params)
    return rows[0] if rows else None
