"""From the answer streams to Postgres: an rq job per shard, and the bell that asks for it; floor 6.

Invariants: an entry leaves its stream only after the commit that stored it; storing is idempotent, so that a batch may
come twice, or to two workers; a row that Postgres refuses is put aside and never holds up the others. A flush is asked
for when rows arrive, and every worker sweeps all shards each second besides, so that no lost job can leave any behind.
A Redis that is full takes no jobs, and only a flush makes room in it: then the sweep stores what waits itself, as it
does while the job queue is away or silent.
"""

import asyncio
import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker

from quizcast import notify, tracing
from quizcast.errors import QuizcastError
from quizcast.live.redis import Live
from quizcast.live.rows import HEAD, Backlog, Batch, Rows
from quizcast.live.servers import queue_client
from quizcast.metrics import (
    DEAD_DEPTH,
    FLUSH_BATCH,
    FLUSH_LAG,
    FLUSH_ROWS,
    FLUSH_SECONDS,
    QUEUE_AGE,
    QUEUE_DEPTH,
)
from quizcast.settings import Settings
from quizcast.store.db import Database
from quizcast.store.rows import store_or_bisect
from quizcast.vitals import Vitals
from quizcast.wire.rows import AnswerRow, Entry

JOB_TIMEOUT_S = 60
FAILED_KEPT_S = 3600
RUN_MAX_S = 1.0  # then the worker is another shard's turn
GATHER_S = 0.1  # between small batches: ten commits a second instead of a thousand
IDLE_MS = 100  # with nothing new for so long, the job ends
RUNG_MS = 3_000  # a ring that nobody answers is forgotten after this; a running flush renews it
RING_EVERY_S = 0.1
QUEUE_WAIT_S = 1.0  # for the queue's server, which answers in a millisecond; less than a ring lives
ASK_AGAIN_S = 1.0  # while the queue is away: one try for all shards, not one at every answer
SWEEP_EVERY_S = 1.0
WORK_AGAIN_S = 1.0
LISTEN_S = 5  # for a job, until the worker says that it lives and listens again
RQ_MARGIN_S = 15  # what rq takes off a worker's `ttl` for that
GC_THRESHOLDS = (50_000, 20, 1000)  # a batch is that many objects, and no cycle among them

log = logging.getLogger(__name__)


class Bell:
    """Asks for flushes, from within a web process or a worker's sweep; at most one per shard under way."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self._rows = Rows(live)
        self._connection = queue_client(settings, socket_timeout=QUEUE_WAIT_S, socket_connect_timeout=QUEUE_WAIT_S)
        self._queue = jobs(settings.key_prefix, self._connection)
        # Not the loop's threads: with a few shards waiting for a silent server in them, scoring would wait behind.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue")
        self._again_at = 0.0  # when to try the queue again, once it has failed
        self._wanted: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def ring(self, shard: int) -> None:
        """Rows have arrived on this shard. Costs next to nothing, however often it is called."""
        self._wanted.add(shard)
        if shard not in self._tasks:
            self._tasks[shard] = asyncio.get_running_loop().create_task(self._ring(shard))

    async def ask(self, shard: int) -> None:
        """Enqueue a flush of this shard, unless one is waiting or running.

        Raises `RedisUnavailable`, or redis-py's own errors when the queue takes no jobs.
        """
        if self._again_at:  # look first: a ring in hand looks to everybody else like a job on its way
            await self._in_thread(self._connection.ping)
        if await self._rows.ring(shard, RUNG_MS):
            try:
                await self._in_thread(partial(self._enqueue, shard))
            except RedisError:
                await self._rows.answer_ring(shard)  # nobody else will, and the sweep would take it for a job
                raise

    async def look(self, shard: int) -> Backlog:
        """What waits on this shard, and tell the metrics of it. Raises `RedisUnavailable`."""
        waiting = await self._rows.backlog(shard)
        QUEUE_DEPTH.labels(shard).set(waiting.rows)
        QUEUE_AGE.labels(shard).set(waiting.age_s)
        DEAD_DEPTH.labels(shard).set(waiting.dead)
        return waiting

    async def close(self) -> None:
        """Let what is under way come to its end."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._thread.shutdown()
        self._connection.close()

    async def _ring(self, shard: int) -> None:
        try:
            while shard in self._wanted:
                self._wanted.discard(shard)
                await self.ask(shard)
                await asyncio.sleep(RING_EVERY_S)
        except Exception as error:  # the workers' sweep finds what is waiting
            log.warning("a flush could not be asked for: %s", type(error).__name__)
            await asyncio.sleep(ASK_AGAIN_S)
        finally:
            del self._tasks[shard]

    async def _in_thread(self, command: Callable[[], object]) -> None:
        # rq is synchronous, and must not hold up the event loop.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._try, command)

    def _try(self, command: Callable[[], object]) -> None:
        if time.monotonic() < self._again_at:  # the other shards' asks need not wait in vain, one after the other
            raise RedisConnectionError("the queue has just failed")
        try:
            command()
        except RedisError:
            self._again_at = time.monotonic() + ASK_AGAIN_S
            raise
        self._again_at = 0.0

    def _enqueue(self, shard: int) -> None:
        # An id of its own for each: rq deletes a finished job by its id, and with a fixed one that would be the next
        # job's, asked for a moment before. That there is only one at a time is seen to by the ring.
        self._queue.enqueue(flush_shard, shard, job_timeout=JOB_TIMEOUT_S, result_ttl=0, failure_ttl=FAILED_KEPT_S)


def flush_shard(shard: int) -> int:
    """The rq job: store what waits on a shard, for about a second; how many rows that was."""
    try:
        return asyncio.run(_flush_once(Settings.from_env(), shard))
    finally:
        gc.collect(1)  # loop, pools and connections hold each other; young as they are, it takes next to no time


async def _flush_once(settings: Settings, shard: int) -> int:
    live, db = Live(settings), Database.of_one(settings)
    rows, bell = Rows(live), Bell(settings, live)
    try:
        await db.open()
        stored = await flush(rows, db, shard, settings.flush_batch_max)
        # What came while nobody could ring, or did not fit into this turn.
        if (await rows.backlog(shard)).rows:
            await bell.ask(shard)
        return stored
    finally:
        await bell.close()
        await db.close()
        await live.close()


async def flush(rows: Rows, db: Database, shard: int, batch_max: int, run_max_s: float = RUN_MAX_S) -> int:
    """Store what waits on a shard until nothing does, or for `run_max_s`; how many rows that was.

    Raises `PostgresUnavailable` or `RedisUnavailable`; what was not committed stays in the stream.
    """
    until = time.monotonic() + run_max_s
    stored = 0
    batch = await rows.read(shard, HEAD, batch_max, IDLE_MS)
    while batch and time.monotonic() < until:
        await rows.renew_ring(shard, RUNG_MS)
        # While Postgres stores a batch, the next one is read.
        count, batch = await asyncio.gather(_store(rows, db, shard, batch), _following(rows, shard, batch, batch_max))
        stored += count
    await rows.answer_ring(shard)
    return stored


async def _following(rows: Rows, shard: int, batch: Batch, batch_max: int) -> Batch | None:
    if len(batch.entries) < batch_max // 4:
        await asyncio.sleep(GATHER_S)
    return await rows.read(shard, batch.last, batch_max, IDLE_MS)


async def _store(rows: Rows, db: Database, shard: int, batch: Batch) -> int:
    began, began_ns = time.perf_counter(), time.time_ns()
    stored, refused = await store_or_bisect(db, batch.entries)
    now = time.time()
    lag_s = now - min((entry.at / 1000 for entry in batch.entries), default=now)
    if refused:
        await rows.put_aside(shard, [(entry.id, reason) for entry, reason in refused])
    if tracing.on():
        for entry, reason in [*((entry, "") for entry in stored), *refused]:
            _trace(entry, began_ns, len(batch.entries), reason)
    # A turn begins at the stream's head and goes on without a gap: whatever is up to here has been dealt with.
    await rows.let_go(shard, batch.last)
    FLUSH_ROWS.inc(len(stored))
    FLUSH_BATCH.observe(len(batch.entries))
    FLUSH_SECONDS.observe(time.perf_counter() - began)
    FLUSH_LAG.observe(max(0.0, lag_s))
    return len(stored)


def _trace(entry: Entry, began_ns: int, rows: int, refused: str) -> None:
    """The end of a sampled answer's trace: it waited in the stream, and was stored together with others."""
    if isinstance(entry.row, AnswerRow) and entry.row.trace:
        waited_ms = max(0, began_ns // 1_000_000 - entry.at)
        about = {"quizcast.waited_ms": waited_ms, "messaging.batch.message_count": rows}
        tracing.went_on(entry.row.trace, "store", began_ns, about, failed=refused)


class _Worker(SimpleWorker):
    """In this process, not in a fork per job: a flush is idempotent, and a fork is most of a short one's cost."""

    @property
    def told_to_stop(self) -> bool:
        """Whether there was a signal."""
        return self._shutdown_requested_date is not None

    def heartbeat(self, *arguments: Any, **named: Any) -> None:
        """Between two jobs, and while there are none; Redis is told besides, if it is there."""
        notify.tell(notify.ALIVE)
        super().heartbeat(*arguments, **named)

    def procline(self, message: str) -> None:
        """Leave the process its title: rq would write its own over what `ps` is to show."""


def run_worker(settings: Settings) -> None:
    """Work off flushes until SIGTERM, which lets the job at hand come to its end."""
    tracing.start("worker")
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    threading.Thread(target=_sweep_for_ever, args=(settings,), name="sweep", daemon=True).start()
    connection = queue_client(settings)
    while not _work(jobs(settings.key_prefix, connection)):
        time.sleep(WORK_AGAIN_S)


def jobs(key_prefix: str, connection: Redis) -> Queue:
    """The queue of an installation's flushes. Two that share a Redis must not take each other's: they would be lost."""
    return Queue(f"{key_prefix}flush", connection=connection)


def _work(queue: Queue) -> bool:
    """Work off flushes until SIGTERM; False when Redis has put an end to it before: it is away, or full."""
    notify.tell(notify.ALIVE)
    worker = _Worker([queue], connection=queue.connection, worker_ttl=LISTEN_S + RQ_MARGIN_S)
    try:
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("flushes cannot be worked off: %s", error)
    if worker.told_to_stop:
        return True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # the worker's own would tell Redis of it
    return False


def _sweep_for_ever(settings: Settings) -> None:
    vitals = Vitals("worker")
    while True:
        try:
            asyncio.run(_sweep(settings, vitals))
        except Exception as error:  # Redis is away: the sweep has to outlive that
            log.warning("the sweep failed and begins again: %s", type(error).__name__)
            time.sleep(SWEEP_EVERY_S)


async def _sweep(settings: Settings, vitals: Vitals) -> None:
    live = Live(settings)
    bell = Bell(settings, live)
    try:
        while True:
            vitals.look()
            if left := [shard for shard in range(settings.shards) if not await _asked(bell, shard)]:
                await _flush_at_once(settings, live, left)
            await asyncio.sleep(SWEEP_EVERY_S)
    finally:
        await bell.close()
        await live.close()


async def _asked(bell: Bell, shard: int) -> bool:
    """Ask for a flush of this shard, if rows wait there; False when they do, and the queue takes no job."""
    try:
        waiting = (await bell.look(shard)).rows
    except QuizcastError as error:
        log.warning("shard %d could not be swept: %s", shard, error.code)
        return True
    try:
        if waiting:
            await bell.ask(shard)
    except (QuizcastError, RedisError) as error:
        log.warning("a flush of shard %d could not be asked for, and is made at once: %s", shard, error)
        return False
    return True


async def _flush_at_once(settings: Settings, live: Live, shards: Sequence[int]) -> None:
    """Side by side, for each waits a while to see that no more comes; together they hold as many rows as one job."""
    db = Database.of_one(settings)
    batch_max = max(1, settings.flush_batch_max // len(shards))
    try:
        await db.open()
        flushes = [flush(Rows(live), db, shard, batch_max) for shard in shards]
        for shard, outcome in zip(shards, await asyncio.gather(*flushes, return_exceptions=True), strict=True):
            if isinstance(outcome, BaseException):
                log.warning("shard %d could not be flushed: %s", shard, type(outcome).__name__)
    finally:
        await db.close()
