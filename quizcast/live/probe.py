"""How a Redis server is, for `quizcast doctor`; inside `live`."""

import time
from collections.abc import Mapping

import msgspec

from quizcast.errors import RedisUnavailable
from quizcast.live.redis import Live
from quizcast.settings import Settings


class RedisFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself; a `config` value that it keeps to itself is missing.

    `ahead_ms` is its clock minus ours, right to half of `round_trip_ms`.
    """

    version: str
    config: Mapping[str, str]
    ahead_ms: float
    round_trip_ms: float


async def probe(settings: Settings) -> RedisFacts:
    """Ask the live server. Raises `RedisUnavailable`."""
    live = Live(settings)
    try:
        info = await live.do("info", live.client.info("server"))
        asked = time.time() * 1000
        seconds, micros = await live.do("time", live.client.time())
        heard = time.time() * 1000
        config: dict[str, str] = {}
        for name in ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory"):
            try:
                config |= await live.do("config", live.client.config_get(name))
            except RedisUnavailable:  # hosted servers forbid the command, and say in their own pages what is set
                break
    finally:
        await live.close()
    return RedisFacts(
        version=str(info.get("redis_version", "")),
        config={_text(name): _text(value) for name, value in config.items()},
        ahead_ms=seconds * 1000 + micros / 1000 - (asked + heard) / 2,
        round_trip_ms=heard - asked,
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
