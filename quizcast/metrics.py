"""Every metric by name, and the text that Prometheus reads; floor 2.

With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported (the supervisor and the systemd units do), the
processes of a host write to files there and each of them shows the sum. Labels are few and bounded: never a game,
a participant or anything that a client chose.
"""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

__all__ = ["CONTENT_TYPE_LATEST", "exposition", "forget_process"]

FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

STREAMS = Gauge("quizcast_streams", "Event streams that are open", ["who"], multiprocess_mode="livesum")
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

HTTP_SECONDS = Histogram(
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
DB_SECONDS = Histogram("quizcast_db_seconds", "Postgres connections in use, from getting to giving back", ["pool"])
DB_POOL = Gauge("quizcast_db_pool", "Postgres connections", ["pool", "state"], multiprocess_mode="livesum")
REPLICA_LAG = Gauge(
    "quizcast_replica_lag_seconds",
    "How far a replica was behind when it was last asked",
    ["pool"],
    multiprocess_mode="mostrecent",
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
DEAD_LETTERS = Counter("quizcast_dead_letters", "Rows that Postgres refused")
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


def exposition() -> bytes:
    """All metrics of this host's processes as Prometheus text."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that has ended; its counters stay in the sums."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
