"""A flush worker's life: work until SIGTERM, then leave nothing behind; part of floor 8."""

import asyncio
import logging
import os
import time

from quizcast import notify
from quizcast.errors import QuizcastError
from quizcast.flush import flush, run_worker
from quizcast.live.redis import Live
from quizcast.live.rows import Rows
from quizcast.settings import Settings
from quizcast.store.db import Database

LAST_FLUSH_S = 12  # a Postgres that is restarted meanwhile is back by then
LOOK_EVERY_S = 0.2
NICE = 10  # on a core that it shares with a web process: a row can wait, a push cannot

log = logging.getLogger(__name__)


def work(settings: Settings) -> None:
    """Flush until SIGTERM; then until nothing waits, at most `LAST_FLUSH_S`. What stays waits in Redis, safely."""
    os.nice(NICE)
    notify.tell(notify.READY)
    run_worker(settings)
    notify.tell(notify.STOPPING)
    try:
        left = asyncio.run(_empty(settings, time.monotonic() + LAST_FLUSH_S))
    except QuizcastError as error:
        log.warning("no last flush: %s", error)
    else:
        if left:
            log.warning("%d rows stay in Redis; they are flushed after the next start", left)


async def _empty(settings: Settings, until: float) -> int:
    live, db = Live(settings), Database.of_one(settings)
    rows = Rows(live)
    try:
        await db.open()
        while True:
            left = 0
            for shard in range(settings.shards):
                if (await rows.backlog(shard)).rows:
                    await flush(rows, db, shard, settings.flush_batch_max)
                    left += (await rows.backlog(shard)).rows
            if not left or time.monotonic() > until:
                return left
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await db.close()
        await live.close()
