"""Every alert: when it is raised, what it means, what to do; inside `monitoring`.

`page` is for what breaks games now and will not mend itself; the rest can wait for the morning. The figures from which
on something is worrying are those of `quizcast.metrics`.
"""

from collections.abc import Iterator, Sequence

import msgspec

from quizcast.metrics import BELOW, SLO_TARGET, WORRY, WORRY_SHARE
from quizcast.monitoring.expressions import ASKED, IN_TIME, JOB, increase, p99

BUDGET = 1 - SLO_TARGET
BAD_MIN = 10  # requests: a single one at night is no incident, whatever share it is
# By how much faster than evenly the budget of 30 days burns, over a long window and a short one, which ends the alert
# soon after the trouble has ended: 2 % of it in an hour, 5 % in six; 10 % in a day, 10 % in three.
FAST = ((14.4, "1h", 3600, "5m"), (6.0, "6h", 6 * 3600, "30m"))
SLOW = ((3.0, "1d", 86_400, "2h"), (1.0, "3d", 3 * 86_400, "6h"))
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")

# Metrics with something to worry about and no alert of their own, and why.
UNALERTED = {
    "quizcast_intake_group_size": "that groups are full is normal in a burst; AnswersSlow tells when it hurts",
    "quizcast_queue_depth": "many rows are a busy evening; QueueOld tells when they do not move",
    "quizcast_dead_letters": "DeadLetters tells as long as any wait, which a counter cannot",
}


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert; `lasting` is for how long its expression has to hold."""

    name: str
    expression: str
    lasting: str
    page: bool = False
    means: str
    do: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that Prometheus keeps, since several alerts look at it."""

    name: str
    expression: str


def records() -> Iterator[Record]:
    """The service level over each window: requests a second, bad ones a second, their share."""
    for window in WINDOWS:
        asked = f"sum by (job) (rate(quizcast_http_seconds_count{{{ASKED}}}[{window}]))"
        good = f"sum by (job) (rate(quizcast_http_seconds_bucket{{{IN_TIME}}}[{window}]))"
        yield Record(name=f"quizcast:asked:rate{window}", expression=asked)
        # Where nothing was good there is no series of good ones.
        yield Record(
            name=f"quizcast:bad:rate{window}",
            expression=f"quizcast:asked:rate{window} - ({good} or quizcast:asked:rate{window} * 0)",
        )
        yield Record(
            name=f"quizcast:bad_share:rate{window}",
            expression=f"quizcast:bad:rate{window} / quizcast:asked:rate{window}",
        )


def _burning(pairs: Sequence[tuple[float, str, int, str]]) -> str:
    return " or ".join(
        f"(quizcast:bad_share:rate{long} > {factor * BUDGET:g} and quizcast:bad_share:rate{short} > {factor * BUDGET:g}"
        f" and quizcast:bad:rate{long} * {seconds} > {BAD_MIN})"
        for factor, long, seconds, short in pairs
    )


def _slow(name: str, *by: str, where: str = JOB) -> str:
    return f"{p99(name, '5m', *by, where=where)} > {WORRY[name]:g}"


def _beyond(name: str, how: str, where: str = JOB) -> str:
    return f"{how} ({name}{{{where}}}) {'<' if name in BELOW else '>'} {WORRY[name]:g}"


def _share(name: str, how: str) -> str:
    of, worry = WORRY_SHARE[name]
    return f"{how} ({name}{{{JOB}}}) / {how} ({of}{{{JOB}}}) {'<' if name in BELOW else '>'} {worry:g}"


ALERTS: Sequence[Alert] = (
    Alert(
        name="Down",
        expression=f"up{{{JOB}}} == 0 or absent(up{{{JOB}}})",
        lasting="1m",
        page=True,
        means="Prometheus gets no metrics from a machine: its web processes are gone, or something keeps it from them.",
        do="`systemctl status 'quizcast-*'` there; `journalctl -u 'quizcast-web@*' -n 50` says why one does not start. "
        "If they run, look at nginx, the network, and `QUIZCAST_METRICS_TOKEN` in Prometheus's settings.",
    ),
    Alert(
        name="NoWorker",
        expression=f'absent(quizcast_process_memory_bytes{{{JOB},process=~"worker.*"}})',
        lasting="2m",
        page=True,
        means="No flush worker lives on any machine. Games go on, and nothing of them reaches Postgres.",
        do="Start one: `systemctl start quizcast-worker@0`. The rows wait in Redis; see QueueOld.",
    ),
    Alert(
        name="BudgetBurnsFast",
        expression=_burning(FAST),
        lasting="2m",
        page=True,
        means="So many answers, joins and streams were refused for our fault, or came late, that the month's error "
        "budget would be gone within days.",
        do="The dashboard's first row says which route. Statuses of 503: Redis, Postgres or too few web processes; of "
        "500: a fault, which the log has; neither: they are late, so look at AnswersSlow, RedisSlow and LoopLate.",
    ),
    Alert(
        name="BudgetBurnsSlowly",
        expression=_burning(SLOW),
        lasting="15m",
        means="The error budget of the month does not last at this pace, though nobody has to get up for it.",
        do="Find the route and the hour in the dashboard's first row. If it was a deployment or a failover, put off "
        "the "
        "next one; if it is the evening's peak, add web processes.",
    ),
    Alert(
        name="Faults",
        expression=f'sum by (route) (increase(quizcast_http_seconds_count{{{JOB},status="500"}}[10m])) > 0',
        lasting="0m",
        means="A request ended in a fault of quizcast's own.",
        do="The log has its traceback, with a `request_id` that the client got, too. Report it with both.",
    ),
    Alert(
        name="AnswersRefused",
        expression=increase(
            "quizcast_intake",
            "5m",
            "code",
            where='code=~"overloaded|too_many_joins|redis_unavailable"',
        )
        + f" > {BAD_MIN}",
        lasting="0m",
        page=True,
        means="Answers or joins are refused: more come than can be taken (`overloaded`, `too_many_joins`), or Redis "
        "does "
        "not take them (`redis_unavailable`).",
        do="Add web processes for the first two. For the last: is Redis up, is its disk or its memory full, is it "
        "failing "
        "over? Clients try again by themselves.",
    ),
    Alert(
        name="AnswersSlow",
        expression=_slow("quizcast_intake_seconds", "kind"),
        lasting="2m",
        means="The slowest hundredth of answers or joins waits for longer than it should.",
        do="RedisSlow at the same time: its disk. LoopLate: too few cores. Neither: the round trip from web to Redis.",
    ),
    Alert(
        name="IntakeFills",
        expression=_beyond("quizcast_intake_pending", "sum by (instance, kind)"),
        lasting="30s",
        means="Answers or joins pile up in the web processes of a machine; soon the next are refused.",
        do="As with AnswersSlow. Before a large event, add web processes.",
    ),
    Alert(
        name="PinsGuessed",
        expression=increase("quizcast_wrong_pins", "15m", where='code="too_many_pins"') + " > 100",
        lasting="0m",
        means="Somebody tries PIN after PIN and is being held back.",
        do="Nothing breaks. nginx's log has the address; block it there if it goes on.",
    ),
    Alert(
        name="PushSlow",
        expression=_slow("quizcast_push_seconds", "event"),
        lasting="2m",
        page=True,
        means="Participants get an event so late that they no longer see it together.",
        do="FanoutSlow: too many streams in a process, add some. LoopLate: too few cores. Neither: pub/sub, so look at "
        "the network to Redis, and at LogHoles.",
    ),
    Alert(
        name="FanoutSlow",
        expression=_slow("quizcast_fanout_seconds"),
        lasting="5m",
        means="Handing an event to a process's streams takes too long.",
        do="Add web processes; new streams go to them, and old ones when their people reload.",
    ),
    Alert(
        name="LoopLate",
        expression=_slow("quizcast_loop_late_seconds"),
        lasting="5m",
        means="Web processes get their turn late: the machine has too little processor for what it does.",
        do="What else runs there? `top`. Workers give way by themselves (they are nice); a neighbour may not.",
    ),
    Alert(
        name="StreamsNearlyFull",
        expression=_share("quizcast_streams", "sum by (instance)"),
        lasting="2m",
        means="A machine has hardly room for more event streams.",
        do="Add web processes (`systemctl start quizcast-web@N` and a line in nginx's upstream), or raise "
        "`QUIZCAST_MAX_STREAMS` if memory and processor have room.",
    ),
    Alert(
        name="StreamsRefused",
        expression=increase("quizcast_streams_refused", "5m", where='reason="full"') + " > 0",
        lasting="0m",
        page=True,
        means="Event streams are refused since web processes are full. Who is refused tries again every few seconds.",
        do="As with StreamsNearlyFull, at once.",
    ),
    Alert(
        name="StreamsLost",
        expression=increase("quizcast_streams_closed", "5m", "reason", where='reason=~"slow|lost"')
        + f" > {BAD_MIN} + 0.02 * scalar(sum(quizcast_streams{{{JOB}}}))",
        lasting="0m",
        means="More than one stream in fifty was ended by us: its reader did not keep up (`slow`), or the connection "
        "to "
        "Redis's channels broke (`lost`). They resume, and miss nothing.",
        do="`slow`: the network between nginx and people, or a proxy that buffers. `lost`: Redis, and RedisErrors.",
    ),
    Alert(
        name="ResumesReset",
        expression=increase("quizcast_resumes", "15m", where='how="reset"') + f" > {BAD_MIN}",
        lasting="0m",
        means="Clients came back for events that are no longer kept, and begin anew with a snapshot.",
        do="Did Redis lose its data? Else games have more events than `QUIZCAST_LOG_EVENTS_MAX`: raise it.",
    ),
    Alert(
        name="LogHoles",
        expression=increase("quizcast_log_holes", "15m") + " > 30",
        lasting="0m",
        means="Pub/sub keeps missing messages, which web processes then read from the log.",
        do="Look at the network between web and Redis, and at `client-output-buffer-limit pubsub` there.",
    ),
    Alert(
        name="QuestionsCloseLate",
        expression=_slow("quizcast_close_late_seconds"),
        lasting="2m",
        means="Questions close long after their deadline.",
        do="Web processes are starved: see LoopLate and RedisSlow.",
    ),
    Alert(
        name="ConnectionsRefused",
        expression=increase("quizcast_connections_refused", "5m") + " > 0",
        lasting="0m",
        page=True,
        means="Connections are refused at the limit to open files.",
        do="Raise `LimitNOFILE` in quizcast-web@.service and restart its instances one by one, or add some.",
    ),
    Alert(
        name="FilesNearlyOut",
        expression=_beyond("quizcast_process_files_left", "min by (instance, process)"),
        lasting="1m",
        means="A process may soon open no more files, and each connection is one.",
        do="As with ConnectionsRefused.",
    ),
    Alert(
        name="TasksGrow",
        expression=_beyond("quizcast_tasks", "max by (instance, pid)"),
        lasting="30m",
        means="A web process has tasks that do not end; streams and answers have none of their own.",
        do="Restart it (its people resume elsewhere), and report it with the log.",
    ),
    Alert(
        name="MemoryLow",
        expression=_share("quizcast_machine_memory_left_bytes", "min by (instance)"),
        lasting="2m",
        page=True,
        means="A machine is about to run out of memory; the kernel then kills somebody.",
        do="The dashboard has the memory of each process. A web process takes about 8 KB for a stream: if one has far "
        "more, restart it. Else it is Redis or a neighbour.",
    ),
    Alert(
        name="RedisMemoryLow",
        expression=_share("quizcast_redis_memory_bytes", "max by (job)"),
        lasting="2m",
        page=True,
        means="Redis is nearly full. Once it is, it takes no answers and no joins.",
        do="QueueOld at the same time: the rows wait there, so mend that first. Else raise `maxmemory`, or lower "
        "`QUIZCAST_GAME_TTL_S`, by which games are forgotten.",
    ),
    Alert(
        name="RedisErrors",
        expression=increase("quizcast_redis_errors", "5m", "error") + " > 5",
        lasting="0m",
        page=True,
        means="Calls to Redis fail. Play stops with 503s as long as they do.",
        do="`redis-cli ping`, its log, its disk. Once it is back, games go on by themselves: nothing needs a restart.",
    ),
    Alert(
        name="RedisSlow",
        expression=_slow("quizcast_redis_seconds", "call", where=f'{JOB},call!="read_rows"'),
        lasting="5m",
        means="Round trips to Redis take long. (`read_rows` waits for rows on purpose and does not count.)",
        do="`answers` and `joins`: the disk, which has to sync. All calls: a slow command (`SLOWLOG GET`) or the "
        "network.",
    ),
    Alert(
        name="ClockStepped",
        expression=increase("quizcast_clock_steps", "1h") + " > 0",
        lasting="0m",
        means="Somebody set the clock of Redis's machine by more than ten seconds. Open questions closed too soon or "
        "late.",
        do="Let chrony or systemd-timesyncd slew it, and set it while nobody plays.",
    ),
    Alert(
        name="PostgresErrors",
        expression=increase("quizcast_db_errors", "5m", "error") + " > 5",
        lasting="0m",
        means="Calls to Postgres fail. Games go on; logins and new games do not, and rows wait in Redis.",
        do="Is it up, is its disk full, has it been promoted elsewhere? `PoolTimeout`: see PoolWaits.",
    ),
    Alert(
        name="PostgresSlow",
        expression=_slow("quizcast_db_seconds", "pool"),
        lasting="5m",
        means="Connections to Postgres are in use for long.",
        do="`pg_stat_activity`: what waits, and for whom? An autovacuum or a large export on the primary?",
    ),
    Alert(
        name="PoolWaits",
        expression=f'sum by (instance) (quizcast_db_pool{{{JOB},state="requests_waiting"}}) > 10',
        lasting="2m",
        means="Requests wait for a connection to Postgres.",
        do="PostgresSlow at the same time: mend that. Else raise `QUIZCAST_DB_POOL_MAX`, within PostgresNearlyFull.",
    ),
    Alert(
        name="PostgresNearlyFull",
        expression=_share("quizcast_db_connections", "max by (job)"),
        lasting="5m",
        means="Postgres has hardly a connection left; the next process or backup gets none.",
        do="Lower `QUIZCAST_DB_POOL_MAX`, put pgbouncer in between, or raise `max_connections`. `quizcast doctor` "
        "reckons.",
    ),
    Alert(
        name="ReplicaBehind",
        expression=f"max by (pool) (quizcast_replica_lag_seconds{{{JOB}}}) > 9",
        lasting="5m",
        means="A replica of Postgres is so far behind that it is passed over, by the default of "
        "`QUIZCAST_REPLICA_LAG_MAX_S`: the primary has its reads as well.",
        do="`pg_stat_replication` on the primary: is it connected, does the network or its disk not keep up?",
    ),
    Alert(
        name="ServerRestarted",
        expression=increase("quizcast_server_restarts", "1h", "server") + " > 0",
        lasting="0m",
        means="A server that `quizcast serve` brings along had stopped, and was started again.",
        do="`log/` in the data directory says why. Often: the disk, or the memory.",
    ),
    Alert(
        name="DiskLow",
        expression=_beyond("quizcast_disk_free_bytes", "min by (instance)"),
        lasting="1m",
        page=True,
        means="The data directory's disk is nearly full. Once it is, Redis takes no answers.",
        do="Make room: old logs, backups, results. Redis's append-only file shrinks with `redis-cli bgrewriteaof`, "
        "which "
        "needs as much room as the data for a moment.",
    ),
    Alert(
        name="QueueOld",
        expression=_beyond("quizcast_queue_age_seconds", "max by (shard)"),
        lasting="2m",
        page=True,
        means="Answers wait in Redis for Postgres and do not move. They are safe, but fill Redis, and results lack "
        "them.",
        do="Do workers run (NoWorker)? Does Postgres answer (PostgresErrors)? Their log says which. Once both do, the "
        "rows "
        "flow by themselves.",
    ),
    Alert(
        name="FlushSlow",
        expression=_slow("quizcast_flush_seconds"),
        lasting="10m",
        means="Storing a batch takes long.",
        do="See PostgresSlow. A replica that has to confirm each commit counts, too.",
    ),
    Alert(
        name="FlushLate",
        expression=_slow("quizcast_flush_lag_seconds"),
        lasting="10m",
        means="Answers reach Postgres late, and results follow late.",
        do="FlushSlow at the same time: mend that. Else add a worker.",
    ),
    Alert(
        name="DeadLetters",
        expression=_beyond("quizcast_dead_letters_waiting", "max by (shard)"),
        lasting="0m",
        means="Rows that Postgres refused, or that cannot be read, wait for a decision.",
        do="`quizcast deadletter list` says what and why. `retry` once the cause is mended, or `drop`.",
    ),
)
