"""`migrate`: the schema brought up to date beside those who use it; inside `store`.

Invariant: a change waits for a lock no longer than `LOCK_WAIT_MS`, since all who come after it wait with it. Behind a
long transaction it gives up, lets everybody pass and tries again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection

from quizcast.errors import MigrationFailed
from quizcast.store.db import Connection, number, translated
from quizcast.store.shipped import Migration, migrations, query

SERVER_MIN = 15
LOCK_WAIT_MS = 500
LOOK_EVERY_S = 0.2
LOCK_PAUSE_S = 2.0  # four times as long as others have just waited
PATIENCE_S = 600.0  # a backup of a small database holds its locks for minutes

T = TypeVar("T")

log = logging.getLogger(__name__)


async def migrate(database_url: str, steps: Sequence[Migration] | None = None) -> list[str]:
    """Bring the schema up to date; the names of what was applied now. Waits while another process migrates.

    A database that knows more than this code is left as it is: a migration never takes away what the version before
    it uses. `steps` are this version's unless given. Raises `MigrationFailed`, `PostgresUnavailable`.
    """

    async def apply(conn: Connection) -> list[str]:
        await conn.execute(query("create_schema_migrations"))
        return [step.name for step in steps or migrations() if await _apply(conn, step)]

    return await alone(database_url, apply)


async def alone(database_url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something to the schema while nobody else does; waits for who is at it. Raises `PostgresUnavailable`."""
    with translated():
        # Two connections: a lock of the session would stay behind in a pooler, and that of a transaction must outlast
        # those of the work. A transaction that idles like this one sees nothing, and holds up no vacuum and no index.
        async with (
            await _connected(database_url) as keeper,
            keeper.transaction(),
            await _connected(database_url) as conn,
        ):
            if conn.info.server_version < SERVER_MIN * 10_000:
                raise MigrationFailed(f"Postgres {SERVER_MIN} or later is needed")
            # Asked again and again: a statement that waits has a snapshot, for whose end an index that is built
            # concurrently would wait, and its builder is whom the statement waits for.
            while not await number(keeper, query("lock_schema")):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)
            return await work(conn)


async def _connected(database_url: str) -> Connection:
    return await AsyncConnection.connect(database_url, autocommit=True, prepare_threshold=None)


async def patiently(conn: Connection, what: str, change: Callable[[], Awaitable[T]]) -> T:
    """Make a change in a transaction of its own, again and again until it gets its locks at once.

    Raises `MigrationFailed` naming `what` when that has not come about in `PATIENCE_S`.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            async with conn.transaction():
                await conn.execute(query("limit_lock_wait"), {"wait": f"{LOCK_WAIT_MS}ms"})
                return await change()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() > until:
                raise MigrationFailed(f"{what}: a transaction that does not end holds its locks") from error
        log.warning("%s: another transaction holds its locks; trying again in %.0f s", what, LOCK_PAUSE_S)
        await asyncio.sleep(LOCK_PAUSE_S)


async def _apply(conn: Connection, step: Migration) -> bool:
    found = await (await conn.execute(query("migration_checksum"), {"name": step.name})).fetchone()
    if found is not None:
        if found[0] != step.checksum:
            raise MigrationFailed(f"migration {step.name} was changed after this database had applied it")
        return False

    async def change() -> None:
        if not step.alone:
            await conn.execute(step.script)
        await conn.execute(query("insert_migration"), {"name": step.name, "checksum": step.checksum})

    try:
        for statement in step.alone:  # these wait for others without being in anybody's way
            await conn.execute(statement)
        await patiently(conn, f"migration {step.name}", change)
    except (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError) as error:
        raise MigrationFailed(f"migration {step.name}: {error.diag.message_primary or error}") from error
    return True
