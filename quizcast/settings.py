"""What an operator may choose, read once from the environment; floor 2.

`Settings.from_env(os.environ)` is the only reader; nothing is read at import and nothing is built here.
A field's docs are in `DOCS`, from which `quizcast doctor` and the table in docs/settings.md are made (a test
holds them together). Names carry their unit. Secrets never show in `repr`.
"""

import math
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import msgspec

from quizcast.errors import Problem, SettingsInvalid
from quizcast.redisurl import Kind, RedisUrl

PREFIX = "QUIZCAST_"
SECRETS = frozenset({"keys", "metrics_token"})
ZERO_MEANS_NONE = frozenset({"redis_wait_replicas"})
URLS = frozenset({"redis_url", "queue_url", "database_url", "replica_urls"})

# These go into headers and markup: nothing in them may end what they stand in.
_SITE_AND_PATH = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+(/[A-Za-z0-9._~\-/]*)?")
_FRAMING_SITE = re.compile(r"(https?://)?(\*\.)?[A-Za-z0-9.\-\[\]]+(:[0-9]+|:\*)?|https:|'self'|\*")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One process's settings; the variable for `redis_url` is `QUIZCAST_REDIS_URL`, and so on."""

    redis_url: str = ""
    queue_url: str = ""
    database_url: str = ""
    replica_urls: tuple[str, ...] = ()
    data_dir: Path = Path("var")
    pg_bin: str = ""
    redis_bin: str = ""
    keys: tuple[str, ...] = ()
    public_url: str = ""
    trusted_proxies: str = "127.0.0.1"
    cors_origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    static_url: str = ""
    static_dir: str = ""
    metrics_token: str = ""
    log_level: str = "info"
    log_format: str = "auto"

    shards: int = 4
    key_prefix: str = "qc:"
    redis_timeout_s: float = 5.0
    redis_wait_replicas: int | None = None
    redis_connections: int = 32
    db_pool_max: int = 4
    db_pool_waiting_max: int = 200
    db_timeout_s: float = 5.0
    replica_lag_max_s: float = 10.0

    access_ttl_s: int = 900
    refresh_ttl_s: int = 30 * 86400
    participant_ttl_s: int = 86400
    game_ttl_s: int = 86400

    max_streams: int = 12_000
    stream_max_age_s: int = 4 * 3600
    stream_buffer_bytes: int = 262_144
    io_uring: str = "auto"
    heartbeat_s: float = 15.0
    drain_s: float = 4.0
    log_events_max: int = 2_000

    intake_pending_max: int = 20_000
    intake_wait_s: float = 1.0
    intake_group_max: int = 512
    flush_batch_max: int = 5_000
    import_bytes_max: int = 8_388_608
    media_bytes_max: int = 2_097_152
    media_host_bytes_max: int = 104_857_600

    register_per_hour: int = 60
    login_per_minute: int = 10
    joins_per_second: int = 2_000
    answers_per_second: int = 5
    wrong_pins_per_minute: int = 30
    wrong_pins_per_minute_total: int = 300

    def __repr__(self) -> str:
        """Fields and values, with secrets masked and passwords cut out of addresses."""
        shown = ", ".join(f"{name}={masked(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"Settings({shown})"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read every `QUIZCAST_*` variable; one that is not set, from the file that `QUIZCAST_*_FILE` names.

        Raises `SettingsInvalid` naming all that are wrong, not just the first.
        """
        hints = typing.get_type_hints(cls)
        values: dict[str, Any] = {}
        problems = []
        for name in cls.__struct_fields__:
            variable = PREFIX + name.upper()
            try:
                text = env.get(variable, "").strip() or _content(env.get(f"{variable}_FILE", ""))
            except (OSError, UnicodeDecodeError):
                problems.append(Problem(path=f"{variable}_FILE", message="names a file that cannot be read"))
                continue
            if not text:
                continue
            try:
                values[name] = _parse(text, hints[name])
            except ValueError:
                kind = getattr(_one_of(hints[name]), "__name__", "list")
                # Never the value itself: it may be a secret in the wrong variable.
                problems.append(Problem(path=variable, message=f"expected a value of type {kind}"))
        if problems:
            raise SettingsInvalid("; ".join(f"{p.path}: {p.message}" for p in problems), problems=problems)
        settings = cls(**values)
        if problems := list(_out_of_range(settings)):
            raise SettingsInvalid("; ".join(f"{p.path}: {p.message}" for p in problems), problems=problems)
        return settings

    def to_env(self) -> dict[str, str]:
        """The variables that `from_env` reads back to an equal value; how the supervisor hands settings on."""
        out = {}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            text = "" if value is None else str(value)
            out[PREFIX + name.upper()] = ",".join(value) if isinstance(value, tuple) else text
        return out

    @property
    def static_folder(self) -> Path:
        """Where the static files lie with their compressed variants."""
        return Path(self.static_dir) if self.static_dir else self.data_dir / "static"

    @property
    def embedded(self) -> bool:
        """Whether `serve` has to bring its own Redis and Postgres."""
        return not (self.redis_url or self.database_url)

    @property
    def replicas_waited_for(self) -> int:
        """How many replicas have to have an answer before it is acknowledged."""
        if self.redis_wait_replicas is not None:
            return self.redis_wait_replicas
        return int(RedisUrl.parse(self.redis_url).kind is not Kind.SERVER)


def _content(path: str) -> str:
    return Path(path).read_text("utf-8").strip() if path else ""


def _parse(text: str, hint: Any) -> Any:
    if isinstance(hint, types.GenericAlias):
        return tuple(part.strip() for part in re.split(r"[,\n]", text) if part.strip())
    return _one_of(hint)(text)


def _one_of(hint: Any) -> Any:
    """Of a value that may be None, which stands for one that depends on others, what it is otherwise."""
    return hint.__args__[0] if isinstance(hint, types.UnionType) else hint


def _out_of_range(settings: Settings) -> list[Problem]:
    problems = [
        Problem(path=PREFIX + name.upper(), message="must be a number above zero")
        for name in settings.__struct_fields__
        if isinstance(value := getattr(settings, name), int | float)
        and not (0 < value < math.inf or (name in ZERO_MEANS_NONE and value == 0))
    ]
    problems += _of_redis(settings)
    if bool(settings.redis_url) != bool(settings.database_url):
        problems.append(
            Problem(
                path="QUIZCAST_REDIS_URL",
                message="set both QUIZCAST_REDIS_URL and QUIZCAST_DATABASE_URL, or neither",
            )
        )
    if settings.log_format not in ("auto", "json", "plain"):
        problems.append(Problem(path="QUIZCAST_LOG_FORMAT", message="must be auto, json or plain"))
    if settings.io_uring not in ("auto", "off"):
        problems.append(Problem(path="QUIZCAST_IO_URING", message="must be auto or off"))
    if settings.log_level not in ("debug", "info", "warning", "error"):
        problems.append(Problem(path="QUIZCAST_LOG_LEVEL", message="must be debug, info, warning or error"))
    if settings.static_url and not _SITE_AND_PATH.fullmatch(settings.static_url):
        problems.append(
            Problem(path="QUIZCAST_STATIC_URL", message="must be an address like https://cdn.example.org/q")
        )
    if not all(map(_FRAMING_SITE.fullmatch, settings.frame_ancestors)):
        problems.append(
            Problem(path="QUIZCAST_FRAME_ANCESTORS", message="must be sites like https://lms.example.org, by commas")
        )
    return problems


def _of_redis(settings: Settings) -> Iterator[Problem]:
    kinds = {}
    for name in ("redis_url", "queue_url"):
        try:
            kinds[name] = RedisUrl.parse(getattr(settings, name)).kind
        except ValueError as error:
            yield Problem(path=PREFIX + name.upper(), message=str(error))
    if kinds.get("queue_url") is Kind.CLUSTER:
        yield Problem(path="QUIZCAST_QUEUE_URL", message="the job queue cannot live on a cluster; name a single server")
    elif kinds.get("redis_url") is Kind.CLUSTER and not settings.queue_url:
        yield Problem(
            path="QUIZCAST_QUEUE_URL",
            message="the job queue cannot live on a cluster; with one, name a single server for it here",
        )


def masked(name: str, value: Any) -> Any:
    """A setting's value as logs and `doctor` may show it."""
    if name in SECRETS:
        return "***" if value else value
    if name in URLS:
        return tuple(map(without_password, value)) if isinstance(value, tuple) else without_password(value)
    return value


def without_password(url: str) -> str:
    """An address with its passwords starred out, wherever they stand: `redis://:***@host/0?sentinel_password=***`."""
    try:
        url = re.sub(r"(?i)([?&]\w*password=)[^&]+", r"\1***", url)
        parts = urlsplit(url)
    except ValueError:  # no address, and who knows what else
        return "***"
    if not parts.password:
        return url
    userinfo, _, place = parts.netloc.rpartition("@")
    user = userinfo.split(":", 1)[0]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{place}"))


DOCS: dict[str, str] = {
    "redis_url": "Redis 7.0 or Valkey with the live games: one, Sentinels or a cluster (below). Empty: embedded",
    "queue_url": "Redis of the job queue, no cluster; empty: the same as the live one",
    "database_url": "Postgres (15 or later), `postgresql://…`. Empty: embedded",
    "replica_urls": "read-only Postgres servers, by commas; the results of finished games are read there",
    "data_dir": "where the embedded servers, the key file and the metrics files live (0700)",
    "pg_bin": "folder with Postgres's programs, when the search should not find its own",
    "redis_bin": "Redis or Valkey server program, likewise",
    "keys": "`kid:secret` by commas; the first signs, all verify. Empty: a key file in the data directory",
    "public_url": "the address that people type, for links and QR codes; empty: taken from each request",
    "trusted_proxies": "whose `X-Forwarded-*` headers are believed: addresses by commas; a unix socket's always are",
    "cors_origins": "other sites whose pages may call the API, by commas; empty: none",
    "frame_ancestors": "sites that may show the pages in a frame, by commas: `https://lms.example.org`; empty: none",
    "static_url": "where browsers get static files: a CDN's address in the place of `/static`. Empty: from quizcast",
    "static_dir": "where `quizcast assets` puts static files for nginx and web processes; empty: in the data directory",
    "metrics_token": "bearer token that `/metrics` and `/ops` ask for; empty: open, so keep it behind the proxy",
    "log_level": "debug, info, warning or error",
    "log_format": "json, plain, or auto (plain on a terminal)",
    "shards": "over how many Redis slots games are spread; fixed for the life of a deployment",
    "key_prefix": "in front of every Redis key and channel",
    "redis_timeout_s": "how long one Redis call may take",
    "redis_wait_replicas": "replicas that must have an answer before its 202; empty: 1 with cluster or Sentinels, or 0",
    "redis_connections": "Redis connections that one process may open, to each server",
    "db_pool_max": "Postgres connections that one process may open, to the primary and to each replica",
    "db_pool_waiting_max": "requests that may wait for a Postgres connection before the next gets a 503",
    "db_timeout_s": "how long one request waits for a Postgres connection",
    "replica_lag_max_s": "a replica that is further behind is passed over, and the primary asked",
    "access_ttl_s": "life of a host's access token",
    "refresh_ttl_s": "life of a host's refresh token",
    "participant_ttl_s": "life of participants' and screens' tokens",
    "game_ttl_s": "how long a game stays in Redis after its last change",
    "max_streams": "event streams that one process may hold; the next gets a 503",
    "stream_max_age_s": "a stream ends after about so long and the client comes back (jittered)",
    "stream_buffer_bytes": "what may wait for one slow reader before its stream is closed",
    "io_uring": "`auto`: one system call sends an event to many streams, where Linux allows it; `off`: one each",
    "heartbeat_s": "between two heartbeats of a stream; below the proxy's read timeout",
    "drain_s": "over how long a stopping process spreads its clients' return",
    "log_events_max": "kept events per game, for clients that resume",
    "intake_pending_max": "answers, or joins, that may wait for one shard in a process before the next gets a 503",
    "intake_wait_s": "how long they may wait in a burst before the next gets a 503; 15 % of it where it is none",
    "intake_group_max": "answers and joins that ride in one Redis round trip",
    "flush_batch_max": "rows in one Postgres transaction of the flush",
    "import_bytes_max": "largest quiz file; no more than 8 MiB are read in any case",
    "media_bytes_max": "largest image",
    "media_host_bytes_max": "what one host's images may have together",
    "register_per_hour": "new accounts from one address",
    "login_per_minute": "login attempts for one account; twenty times as many from one address",
    "joins_per_second": "tries to join, over all games, that one process admits; the next gets a 429",
    "answers_per_second": "tries to answer by one participant that one process admits, counted over 4 s; then a 429",
    "wrong_pins_per_minute": "wrong PINs from one address before it has to wait, save for games that it is in already",
    "wrong_pins_per_minute_total": "wrong PINs from everybody before three in ten minutes are the most for one address",
}
