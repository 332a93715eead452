"""The servers behind `QUIZCAST_REDIS_URL`, each with its pool of connections; inside `live`.

`Server` is one, or whichever the Sentinels name. Both it and `Cluster` take redis-py's commands and pipelines. Of two
things here redis-py's own cluster client knows nothing: waiting for a connection where others are refused, and keeping
a script and the WAIT for it on one connection, wherever their slot has moved to.
"""

from typing import Any, cast

import redis
import redis.asyncio as aioredis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ConstantBackoff, NoBackoff
from redis.connection import HiredisRespSerializer
from redis.retry import Retry as PlainRetry
from redis.sentinel import Sentinel as PlainSentinel

from quizcast.redisurl import Kind, RedisUrl
from quizcast.settings import Settings

PROTOCOL = 2  # fixed here and nowhere else: RESP3 nests replies differently
SENTINEL_ANSWERS_S = 1.0  # then the next one is asked


class Server(aioredis.Redis):
    """One server; after a failover its connections lead to the one that the Sentinels have made master."""

    sentinels: Sentinel | None = None

    async def at(self, key: str) -> "Server":
        """The server that has a key: this one."""
        return self

    async def masters(self) -> dict[str, "Server"]:
        """Every server that has keys, by its place: this one, which needs no name."""
        return {"": self}

    def line_of(self, shard: int) -> int:
        """Which of the lines for subscriptions a shard is on: there is one."""
        return 0

    def doubt(self) -> None:
        """Something says that keys are elsewhere now; each new connection finds out by itself."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Give the connections back."""
        await super().aclose(True)  # the pool is its own
        if self.sentinels is not None:
            await self.sentinels.aclose()


class _Packing:
    """Commands become bytes in C, as redis-py has it for its synchronous connections alone."""

    pack_command = staticmethod(HiredisRespSerializer().pack)


class _SentinelPool(SentinelConnectionPool, aioredis.BlockingConnectionPool):
    """Where the Sentinels say, and with waiting for a connection."""


def server_at(address: str, settings: Settings, retries: int) -> Server:
    """One server by its address."""
    # Blocking: when a thousand streams arrive at once they wait for a connection, where others would be refused.
    pool = aioredis.BlockingConnectionPool.from_url(address, **_options(settings, retries))
    return Server(connection_pool=_packing(pool))


def master_of(url: RedisUrl, settings: Settings, retries: int) -> Server:
    """The server that the Sentinels name, asked anew for each connection."""
    sentinels = Sentinel(url.places, sentinel_kwargs=_sentinel_options(url, Retry(NoBackoff(), 0)))  # type: ignore[no-untyped-call]
    pool = _SentinelPool(url.service, sentinels, **_own_options(url), **_options(settings, retries))  # type: ignore[no-untyped-call]
    server = Server(connection_pool=_packing(pool))
    server.sentinels = sentinels
    return server


def _packing(pool: aioredis.ConnectionPool) -> aioredis.ConnectionPool:
    pool.connection_class = type("PackingConnection", (_Packing, pool.connection_class), {})
    return pool


def queue_client(settings: Settings, **options: Any) -> redis.Redis:
    """A client for rq, which is synchronous and stays off clusters."""
    url = RedisUrl.parse(settings.queue_url or settings.redis_url)
    if url.kind is not Kind.SENTINEL:
        return redis.Redis.from_url(url.url, **options)
    plain = {name: value for name, value in _own_options(url).items() if name != "ssl"}
    sentinels = PlainSentinel(url.places, sentinel_kwargs=_sentinel_options(url, PlainRetry(NoBackoff(), 0)))  # type: ignore[no-untyped-call]
    secure = url.url.startswith("rediss")
    return cast("redis.Redis", sentinels.master_for(url.service, ssl=secure, **plain, **options))  # type: ignore[no-untyped-call]


def _options(settings: Settings, retries: int) -> dict[str, Any]:
    # No socket timeout, for which redis-py uses `asyncio.wait_for`: up to Python 3.11 that swallows a cancellation
    # now and then, and a process that stops would wait for ever. `guarded` bounds the time instead.
    return {
        "protocol": PROTOCOL,
        "max_connections": settings.redis_connections,
        "timeout": settings.redis_timeout_s,
        "socket_timeout": None,
        "socket_connect_timeout": settings.redis_timeout_s,
        "retry": Retry(ConstantBackoff(0.05), retries),
        "health_check_interval": 0,
    }


def _own_options(url: RedisUrl) -> dict[str, Any]:
    """What an address with Sentinels says of the server itself: user, password, database, encryption."""
    own = dict(parse_url(url.at(url.places[0])))
    own["ssl"] = own.pop("connection_class", None) is SSLConnection
    return {name: value for name, value in own.items() if name not in ("host", "port")}


def _sentinel_options(url: RedisUrl, none: Retry | PlainRetry) -> dict[str, Any]:
    # No retries: they would take longer than callers wait, and the next Sentinel knows as much.
    waits = {"socket_timeout": SENTINEL_ANSWERS_S, "socket_connect_timeout": SENTINEL_ANSWERS_S}
    return {**url.sentinel_login, **waits, "retry": none}
