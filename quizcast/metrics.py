"""Every metric by name, and the text that Prometheus reads; floor 2.

With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported (the supervisor and the systemd units do), the
processes of a host write to files there and each of them shows the sum. Labels are few and bounded: never a game,
a participant or anything that a client chose.
"""

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    multiprocess,
)

__all__ = [
    "BELOW",
    "CONTENT_TYPE_LATEST",
    "SLO_IN_TIME_S",
    "SLO_ROUTES",
    "SLO_TARGET",
    "WORRY",
    "WORRY_SHARE",
    "collected",
    "exposition",
    "forget_process",
]


class Timings(Histogram):
    """A histogram of what comes by the thousand."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """As `observe` of each of them, at the cost of a few."""
        self._sum.inc(sum(amounts))
        for place, count in Counts([bisect_left(self._upper_bounds, one) for one in amounts]).items():
            self._buckets[place].inc(count)


FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

STREAMS = Gauge("quizcast_streams", "Event streams that are open", ["who"], multiprocess_mode="livesum")
STREAMS_MAX = Gauge("quizcast_streams_max", "Event streams that there is room for", multiprocess_mode="livesum")
STREAMS_CLOSED = Counter("quizcast_streams_closed", "Event streams that ended", ["reason"])
STREAMS_REFUSED = Counter("quizcast_streams_refused", "Event streams that were not opened", ["reason"])
RESUMES = Counter("quizcast_resumes", "Streams that came back", ["how"])  # memory, log or reset
EVENTS = Counter("quizcast_events", "Events published to this process's streams", ["event"])
DELIVERIES = Counter("quizcast_deliveries", "Frames handed to the sockets of streams")
PUSH_SECONDS = Histogram(
    "quizcast_push_seconds", "From an event's stamp to its last local stream", ["event"], buckets=FAST
)
FANOUT_SECONDS = Histogram("quizcast_fanout_seconds", "Handing one event to every local stream", buckets=FAST)
HOLES = Counter("quizcast_log_holes", "Times that pub/sub had missed something and the log was read")

TASKS = Gauge("quizcast_tasks", "asyncio tasks of each web process", multiprocess_mode="liveall")
LOOP_LATE_SECONDS = Histogram("quizcast_loop_late_seconds", "How late an event loop came to a timer", buckets=FAST)

# What a process lives on; prometheus_client's own collector has no such thing for several processes.
PROCESS_MEMORY = Gauge(
    "quizcast_process_memory_bytes", "Resident memory of each process", ["process"], multiprocess_mode="liveall"
)
PROCESS_CPU = Counter("quizcast_process_cpu_seconds", "Processor time of all processes of a kind", ["kind"])
PROCESS_FILES_LEFT = Gauge(
    "quizcast_process_files_left", "Files that each process may still open", ["process"], multiprocess_mode="liveall"
)
MACHINE_MEMORY = Gauge("quizcast_machine_memory_bytes", "Memory of the machine", multiprocess_mode="mostrecent")
MACHINE_MEMORY_LEFT = Gauge(
    "quizcast_machine_memory_left_bytes", "Memory that new work may have", multiprocess_mode="mostrecent"
)

HTTP_SECONDS = Timings(
    "quizcast_http_seconds", "Requests, by route and status", ["method", "route", "status"], buckets=FAST
)
INTAKE_SECONDS = Histogram(
    "quizcast_intake_seconds",
    "From arrival to verdict, of the one in each group that waited longest",
    ["kind"],
    buckets=FAST,
)
INTAKE = Counter("quizcast_intake", "Answers and joins by outcome", ["kind", "code"])
WRONG_PINS = Counter("quizcast_wrong_pins", "Joins that were not let in for their PIN", ["code"])
INTAKE_GROUP = Histogram(
    "quizcast_intake_group_size",
    "Answers and joins that shared a round trip",
    ["kind"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
INTAKE_PENDING = Gauge(
    "quizcast_intake_pending", "Answers and joins waiting for a round trip", ["kind"], multiprocess_mode="livesum"
)

REDIS_SECONDS = Histogram("quizcast_redis_seconds", "Redis round trips", ["call"], buckets=FAST)
REDIS_ERRORS = Counter("quizcast_redis_errors", "Redis calls that failed", ["error"])
REDIS_MEMORY = Gauge("quizcast_redis_memory_bytes", "Memory that Redis uses", multiprocess_mode="mostrecent")
REDIS_MEMORY_MAX = Gauge("quizcast_redis_memory_max_bytes", "Memory that Redis may use", multiprocess_mode="mostrecent")
DB_SECONDS = Histogram("quizcast_db_seconds", "Postgres connections in use, from getting to giving back", ["pool"])
DB_POOL = Gauge("quizcast_db_pool", "Postgres connections", ["pool", "state"], multiprocess_mode="livesum")
REPLICA_LAG = Gauge(
    "quizcast_replica_lag_seconds",
    "How far a replica was behind when it was last asked",
    ["pool"],
    multiprocess_mode="mostrecent",
)
DB_CONNECTIONS = Gauge(
    "quizcast_db_connections", "Connections that clients have to Postgres, all of them", multiprocess_mode="mostrecent"
)
DB_CONNECTIONS_MAX = Gauge(
    "quizcast_db_connections_max", "Connections that Postgres takes", multiprocess_mode="mostrecent"
)
DB_ERRORS = Counter("quizcast_db_errors", "Postgres calls that failed", ["error"])

FLUSH_ROWS = Counter("quizcast_flush_rows", "Rows committed to Postgres")
FLUSH_BATCH = Histogram(
    "quizcast_flush_batch_size", "Rows in one transaction", buckets=(1, 10, 100, 500, 1000, 2000, 5000)
)
FLUSH_SECONDS = Histogram("quizcast_flush_seconds", "One batch, from stream to commit", buckets=FAST)
FLUSH_LAG = Histogram(
    "quizcast_flush_lag_seconds", "Age of a batch's oldest row at its commit", buckets=(*FAST, 10.0, 30.0, 60.0)
)
DEAD_LETTERS = Counter("quizcast_dead_letters", "Rows put aside: refused by Postgres, or unreadable")
QUEUE_DEPTH = Gauge("quizcast_queue_depth", "Rows not yet in Postgres", ["shard"], multiprocess_mode="mostrecent")
QUEUE_AGE = Gauge(
    "quizcast_queue_age_seconds", "Age of the oldest row not yet in Postgres", ["shard"], multiprocess_mode="mostrecent"
)
DEAD_DEPTH = Gauge(
    "quizcast_dead_letters_waiting", "Refused rows that await a decision", ["shard"], multiprocess_mode="mostrecent"
)
SERVER_RESTARTS = Counter("quizcast_server_restarts", "Times that an embedded server had stopped", ["server"])
DISK_FREE = Gauge("quizcast_disk_free_bytes", "Room on the data directory's disk", multiprocess_mode="mostrecent")
CLOCK_STEPS = Counter("quizcast_clock_steps", "Steps of Redis's clock that a process noticed")
CONNECTIONS_REFUSED = Counter("quizcast_connections_refused", "Connections beyond the limit to open files")
CLOSE_LATE_SECONDS = Histogram("quizcast_close_late_seconds", "Deadline to the `closed` event", buckets=FAST)

# From where on somebody should look: the 99th percentile of a histogram, the value of a gauge. Alerts, dashboard and
# `/ops` take it from here, and docs/metrics.md says what to think of it.
WORRY: Mapping[str, float] = {
    "quizcast_push_seconds": 0.2,
    "quizcast_fanout_seconds": 0.1,
    "quizcast_intake_seconds": 0.1,
    "quizcast_intake_pending": 3000,
    "quizcast_close_late_seconds": 0.5,
    "quizcast_loop_late_seconds": 0.1,
    "quizcast_tasks": 1000,
    "quizcast_redis_seconds": 0.05,
    "quizcast_db_seconds": 1,
    "quizcast_queue_age_seconds": 10,
    "quizcast_flush_seconds": 1,
    "quizcast_flush_lag_seconds": 2,
    "quizcast_dead_letters_waiting": 0,
    "quizcast_disk_free_bytes": 1e9,
    "quizcast_process_files_left": 500,
}

# The same for gauges that are to be seen as a share of another one.
WORRY_SHARE: Mapping[str, tuple[str, float]] = {
    "quizcast_streams": ("quizcast_streams_max", 0.85),
    "quizcast_db_connections": ("quizcast_db_connections_max", 0.9),
    "quizcast_redis_memory_bytes": ("quizcast_redis_memory_max_bytes", 0.85),
    "quizcast_machine_memory_left_bytes": ("quizcast_machine_memory_bytes", 0.1),
}
BELOW = frozenset({"quizcast_disk_free_bytes", "quizcast_process_files_left", "quizcast_machine_memory_left_bytes"})

# The service level: of the requests of games, this share is not refused for our fault and has its reply in time.
SLO_ROUTES = ("/games/{game_id}/answers", "/join", "/games/{game_id}/events")
SLO_IN_TIME_S = 0.1  # a bucket's bound
SLO_TARGET = 0.999


def collected() -> Iterable[Metric]:
    """All metrics of this host's processes, added up."""
    return _registry().collect()


def exposition() -> bytes:
    """The same as Prometheus text."""
    return generate_latest(_registry())


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that has ended; its counters stay in the sums."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
