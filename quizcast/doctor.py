"""`quizcast doctor`: looks at everything that a game depends on, and says what to do; floor 8. Changes nothing."""

import asyncio
import os
import resource
import stat
from collections.abc import Awaitable, Iterator
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from quizcast.embedded import find_postgres, find_redis
from quizcast.errors import QuizcastError
from quizcast.settings import PREFIX, Settings, masked

if TYPE_CHECKING:
    from quizcast.live.probe import RedisFacts
    from quizcast.store.probe import PostgresFacts

FILES_SPARE = 1000  # beside the streams: answers' connections, Redis, Postgres, logs
SKEW_MS = 100.0  # a third of `lead_ms`: beyond it the fair start suffers
MONTHS_AHEAD_DAYS = 31  # `retention` prepares three times as much
REDIS_FLOOR = (7, 0)
POSTGRES_FLOOR = 15


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `advice` says what to do, where something should be done."""

    level: Level
    what: str
    seen: str
    advice: str = ""


def examine(settings: Settings, console: Console, *, web: int, workers: int) -> int:
    """Print the settings and every finding; 1 when something fails, else 0. `web` and `workers` count all machines'."""
    console.print(_settings_table(settings))
    findings = [*_files(settings), *_folder(settings), *asyncio.run(_servers(settings, web, workers))]
    for finding in findings:
        line = Text.assemble((f"{finding.level.value:<5}", COLOURS[finding.level]), f"{finding.what}: {finding.seen}")
        console.print(line, soft_wrap=True)
        if finding.advice:
            console.print(Text(f"     → {finding.advice}", style="dim"), soft_wrap=True)
    return int(any(finding.level is Level.FAIL for finding in findings))


def _settings_table(settings: Settings) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    defaults = Settings()
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        shown = masked(name, value)
        text = ",".join(map(str, shown)) if isinstance(shown, tuple | list) else str("" if shown is None else shown)
        table.add_row(PREFIX + name.upper(), Text(text, style="" if value != getattr(defaults, name) else "dim"))
    return table


def _files(settings: Settings) -> Iterator[Finding]:
    needed = settings.max_streams + FILES_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reach = max(soft, hard) if resource.RLIM_INFINITY not in (soft, hard) else needed
    if reach >= needed:
        yield Finding(level=Level.OK, what="open files", seen=f"{reach} allowed, {needed} needed by a full process")
        return
    yield Finding(
        level=Level.WARN,
        what="open files",
        seen=f"{reach} allowed, and a process that is full needs {needed}",
        advice=f"raise the limit (LimitNOFILE={2 * needed} in the service, or `ulimit -n`), or set "
        f"QUIZCAST_MAX_STREAMS to {max(1, reach - FILES_SPARE)}",
    )


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.exists():
        yield Finding(level=Level.OK, what="data directory", seen=f"{folder} is not there yet; it is made when needed")
        return
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        yield Finding(
            level=Level.FAIL,
            what="data directory",
            seen=f"{folder} cannot be used by this user",
            advice="give it to the user that runs quizcast, or choose another by QUIZCAST_DATA_DIR",
        )
        return
    for path in (folder, folder / "keys"):
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        if mode & 0o077:
            yield Finding(
                level=Level.WARN,
                what="data directory",
                seen=f"others may look into {path} ({mode:o})",
                advice=f"chmod go= {path}",
            )
            return
    yield Finding(level=Level.OK, what="data directory", seen=f"{folder}, private")


async def _servers(settings: Settings, web: int, workers: int) -> list[Finding]:
    if not settings.embedded:
        return [*await _redis(settings), *await _postgres(settings, web, workers)]
    findings = []
    for what, find, chosen in (
        ("embedded Redis", find_redis, settings.redis_bin),
        ("embedded Postgres", find_postgres, settings.pg_bin),
    ):
        try:
            findings.append(Finding(level=Level.OK, what=what, seen=str(find(chosen))))
        except QuizcastError as error:
            findings.append(Finding(level=Level.FAIL, what=what, seen="not found", advice=str(error)))
    return findings


async def _redis(settings: Settings) -> list[Finding]:
    from quizcast.live.probe import probe, probe_queue  # not needed, and half a second, where the servers are embedded

    shown = masked("redis_url", settings.redis_url)
    try:
        servers = await probe(settings)
    except QuizcastError as error:
        advice = "start it, or correct QUIZCAST_REDIS_URL"
        return [Finding(level=Level.FAIL, what="Redis", seen=f"{shown}: {_why(error)}", advice=advice)]
    findings = [finding for facts in servers for finding in _redis_server(settings, facts, shown)]
    if settings.queue_url:
        seen, level, advice = masked("queue_url", settings.queue_url), Level.OK, ""
        try:
            await probe_queue(settings)
        except QuizcastError as error:
            seen, level, advice = f"{seen}: {_why(error)}", Level.FAIL, "start it, or correct QUIZCAST_QUEUE_URL"
        findings.append(Finding(level=level, what="Redis of the job queue", seen=seen, advice=advice))
    return findings


def _why(error: QuizcastError) -> str:
    """What went wrong, and the driver's own words, which no participant gets: a refusal, a file that is missing."""
    return f"{error}. {error.__cause__}" if str(error.__cause__ or "") else str(error)


def _redis_server(settings: Settings, facts: "RedisFacts", shown: str) -> Iterator[Finding]:
    name = f"Redis {facts.place}".rstrip()
    old = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit()) < REDIS_FLOOR
    yield Finding(
        level=Level.FAIL if old else Level.OK,
        what=name,
        seen=f"{facts.place or shown}, version {facts.version}, answers in {facts.round_trip_ms:.1f} ms",
        advice="quizcast needs Redis 7.0 or Valkey 7.2 or later" if old else "",
    )
    yield from _redis_config(facts, name)
    if needed := settings.replicas_waited_for:
        advice, level = "", Level.OK
        if facts.replicas < needed:
            level = Level.FAIL
            advice = "answers are refused: give it a replica, or set QUIZCAST_REDIS_WAIT_REPLICAS=0 and risk them"
        elif facts.replicas == needed:
            level = Level.WARN
            advice = "while one is away, as after a failover, answers are refused: give it one more"
        seen = f"{facts.replicas} connected, {needed} must have an answer before it is acknowledged"
        yield Finding(level=level, what=f"{name} replicas", seen=seen, advice=advice)
    yield _clock(name, facts.ahead_ms, facts.round_trip_ms)


def _redis_config(facts: "RedisFacts", name: str) -> Iterator[Finding]:
    if not facts.config:
        yield Finding(
            level=Level.WARN,
            what=f"{name} on disk",
            seen="the server does not tell its configuration",
            advice="see in its console that appendonly is yes, appendfsync always, maxmemory-policy noeviction",
        )
        return
    if facts.config.get("appendonly") != "yes":
        disk, level = "appendonly is off", Level.FAIL
        advice = "a restart of Redis loses answers that were accepted: CONFIG SET appendonly yes, appendfsync always"
    elif (fsync := facts.config.get("appendfsync")) != "always":
        disk, level = f"appendfsync is {fsync}", Level.WARN
        advice = "a power cut may lose a second of accepted answers: CONFIG SET appendfsync always"
    else:
        disk, level, advice = "every write is synced before its answer", Level.OK, ""
    yield Finding(level=level, what=f"{name} on disk", seen=disk, advice=advice)
    policy = facts.config.get("maxmemory-policy", "")
    limited = facts.config.get("maxmemory", "0") != "0"
    evicts = limited and policy != "noeviction"
    yield Finding(
        level=Level.FAIL if evicts else Level.OK,
        what=f"{name} memory",
        seen=f"maxmemory-policy is {policy}" + ("" if limited else ", and there is no limit"),
        advice="a full server would drop live games: CONFIG SET maxmemory-policy noeviction" if evicts else "",
    )
    if facts.place and facts.config.get("cluster-require-full-coverage") == "yes":
        yield Finding(
            level=Level.WARN,
            what=f"{name} in the cluster",
            seen="cluster-require-full-coverage is yes",
            advice="one master that is away stops the games of all: CONFIG SET cluster-require-full-coverage no",
        )


async def _postgres(settings: Settings, web: int, workers: int) -> list[Finding]:
    from quizcast.store.probe import behind_s, missing_migrations, probe

    findings = []
    for place, url in enumerate((settings.database_url, *settings.replica_urls)):
        what = "Postgres" if place == 0 else f"Postgres replica {place}"
        shown = masked("database_url", url)
        try:
            facts = await probe(url)
        except QuizcastError as error:
            level = Level.FAIL if place == 0 else Level.WARN
            advice = f"start it, or correct QUIZCAST_{'DATABASE_URL' if place == 0 else 'REPLICA_URLS'}"
            findings.append(Finding(level=level, what=what, seen=f"{shown}: {error}", advice=advice))
            continue
        wrong = ""
        if facts.version < POSTGRES_FLOOR:
            wrong = f"quizcast needs Postgres {POSTGRES_FLOOR} or later"
        elif facts.read_only and place == 0:
            wrong = "this is a replica: name the primary in QUIZCAST_DATABASE_URL"
        findings.append(
            Finding(
                level=Level.FAIL if wrong else Level.OK,
                what=what,
                seen=f"{shown}, version {facts.version}, answers in {facts.round_trip_ms:.1f} ms",
                advice=wrong,
            )
        )
        findings.append(_connections(what, settings, facts, web, 0 if place else workers))
        findings.append(_clock(what, facts.ahead_ms, facts.round_trip_ms))
        if place > 0:
            findings.append(
                await _lag(what, behind_s(settings.database_url, url, settings.replica_lag_max_s), settings)
            )
        if place == 0:
            missing = await missing_migrations(settings)
            findings.append(
                Finding(
                    level=Level.FAIL if missing else Level.OK,
                    what="Postgres schema",
                    seen="is not up to date" if missing else "up to date",
                    advice=missing,
                )
            )
            if not missing:
                findings.append(await _months(settings))
    return findings


def _connections(what: str, settings: Settings, facts: "PostgresFacts", web: int, workers: int) -> Finding:
    from quizcast.store.db import SPARE_CONNECTIONS, WORKER_CONNECTIONS, connections

    primary, replica = connections(settings, web, workers)
    needed = primary if workers else replica
    others = f" + {workers} workers × {WORKER_CONNECTIONS} + {SPARE_CONNECTIONS} for commands" if workers else ""
    lacking = needed - facts.max_connections
    fitting = settings.db_pool_max - -(-lacking // web)
    return Finding(
        level=Level.WARN if lacking > 0 else Level.OK,
        what=f"{what} connections",
        seen=f"{web} web processes × {settings.db_pool_max}{others} = {needed} of {facts.max_connections}, "
        f"{facts.used} in use",
        advice=f"raise max_connections by {lacking} or more, "
        + (f"lower QUIZCAST_DB_POOL_MAX to {fitting}, " if fitting > 0 else "")
        + "or put pgbouncer before it (where one stands already, its own limits count)"
        if lacking > 0
        else "",
    )


async def _lag(what: str, measured: Awaitable[float], settings: Settings) -> Finding:
    try:
        behind = await measured
    except QuizcastError as error:
        return Finding(level=Level.WARN, what=f"{what} lag", seen=f"cannot be told: {error}")
    late = behind == float("inf")
    return Finding(
        level=Level.WARN if late else Level.OK,
        what=f"{what} lag",
        seen=f"more than {settings.replica_lag_max_s:g} s" if late else f"had everything after {behind:.1f} s",
        advice="until it is not, all reads go to the primary: see pg_stat_replication there" if late else "",
    )


async def _months(settings: Settings) -> Finding:
    from quizcast.store.probe import months

    seen = await months(settings)
    late = seen.rest or seen.days_ahead < MONTHS_AHEAD_DAYS
    return Finding(
        level=Level.WARN if late else Level.OK,
        what="months of answers",
        seen="some answers belong to no month that is prepared"
        if seen.rest
        else f"prepared for {max(0.0, seen.days_ahead):.0f} days",
        advice="run `quizcast retention`, and once a day from now on" if late else "",
    )


def _clock(what: str, ahead_ms: float, round_trip_ms: float) -> Finding:
    off = abs(ahead_ms) - round_trip_ms / 2 > SKEW_MS
    return Finding(
        level=Level.WARN if off else Level.OK,
        what=f"clock of {what}",
        seen=f"{abs(ahead_ms):.0f} ms {'ahead of' if ahead_ms > 0 else 'behind'} this machine's",
        advice="keep both machines' clocks right with NTP (chrony, systemd-timesyncd)" if off else "",
    )
