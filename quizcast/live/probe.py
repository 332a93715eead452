"""How a Redis server is, for `quizcast doctor`; inside `live`."""

import asyncio
import time
from collections.abc import Mapping

import msgspec

from quizcast.errors import RedisUnavailable
from quizcast.live.redis import Live, guarded
from quizcast.live.servers import Server, queue_client
from quizcast.settings import Settings

CONFIG = ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "cluster-require-full-coverage")


class RedisFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself; a `config` value that it keeps to itself is missing.

    `ahead_ms` is its clock minus ours, right to half of `round_trip_ms`; `replicas` are those that keep up with it.
    """

    place: str
    version: str
    replicas: int
    config: Mapping[str, str]
    ahead_ms: float
    round_trip_ms: float


async def probe(settings: Settings) -> list[RedisFacts]:
    """Ask the live server, or of a cluster each that has games. Raises `RedisUnavailable`."""
    live = Live(settings)
    try:
        masters = await live.do("masters", live.client.masters())
        return [await _facts(live, place, server) for place, server in masters.items()]
    finally:
        await live.close()


async def probe_queue(settings: Settings) -> None:
    """See whether the job queue's server is there. Raises `RedisUnavailable`."""
    queue = queue_client(settings, socket_timeout=settings.redis_timeout_s)
    try:
        await guarded("queue", asyncio.to_thread(queue.ping), settings.redis_timeout_s)
    finally:
        queue.close()


async def _facts(live: Live, place: str, server: Server) -> RedisFacts:
    info = await live.do("info", server.info("server"))
    replicas = await live.do("info", server.info("replication"))
    asked = time.time() * 1000
    seconds, micros = await live.do("time", server.time())
    heard = time.time() * 1000
    config: dict[str, str] = {}
    for name in CONFIG:
        try:
            config |= await live.do("config", server.config_get(name))
        except RedisUnavailable:  # hosted servers forbid the command, and say in their own pages what is set
            break
    return RedisFacts(
        place=place,
        version=str(info.get("redis_version", "")),
        replicas=int(replicas.get("connected_slaves", 0)),
        config={_text(name): _text(value) for name, value in config.items()},
        ahead_ms=seconds * 1000 + micros / 1000 - (asked + heard) / 2,
        round_trip_ms=heard - asked,
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
