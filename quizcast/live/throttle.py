"""How often somebody may try: logins and registrations, counted in Redis for all processes together; floor 5.

Who is counted shows in no key: addresses and accounts are hashed. Without Redis nobody gets in: a throttle that stops
counting when it is attacked is none.
"""

import hashlib
import ipaddress
import time
from typing import Any, cast

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from quizcast.errors import TooMany
from quizcast.live.redis import guarded, new_client
from quizcast.settings import Settings

ADDRESS_SHARE = 20  # a school is one address
IPV6_BITS = 56  # what a provider gives a household, who may then choose among the addresses


class _Storage(RedisStorage):
    """Counts where quizcast's client leads to, be that one server or a cluster."""

    def __init__(self, client: Any, key_prefix: str) -> None:
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix=key_prefix)

    def configure_bridge(self) -> None:
        """Use the client as it is."""
        bridge = cast("RedispyBridge", self.bridge)
        bridge.storage = self._client
        bridge.connection_getter = lambda _readonly: self._client


class Throttle:
    """The counters. One per process; `close()` at the end."""

    def __init__(self, settings: Settings) -> None:
        self._client = new_client(settings)
        self._timeout_s = settings.redis_timeout_s
        storage = _Storage(self._client, f"{settings.key_prefix}throttle")
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._register = RateLimitItemPerHour(settings.register_per_hour)
        self._login = RateLimitItemPerMinute(settings.login_per_minute)
        self._login_address = RateLimitItemPerMinute(settings.login_per_minute * ADDRESS_SHARE)

    async def register(self, address: str) -> None:
        """Count a registration from an address. Raises `TooMany`, `RedisUnavailable`."""
        await self._hit(self._register, "register", neighbourhood(address))

    async def login(self, account: str, address: str) -> None:
        """Count a login to an account (an e-mail address, in whatever case) from an address.

        Raises `TooMany`, `RedisUnavailable`.
        """
        await self._hit(self._login_address, "login-from", neighbourhood(address))
        await self._hit(self._login, "login", account.strip().lower())

    async def _hit(self, limit: RateLimitItem, what: str, who: str) -> None:
        key = hidden(who)
        if await guarded("throttle", self._limiter.hit(limit, what, key), self._timeout_s):
            return
        window = await guarded("throttle", self._limiter.get_window_stats(limit, what, key), self._timeout_s)
        raise TooMany(retry_after_s=max(1.0, window.reset_time - time.time()))

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()


def hidden(text: str) -> str:
    """What stands for an address or an account in a key."""
    return hashlib.blake2s(text.encode(errors="replace"), digest_size=16).hexdigest()


def neighbourhood(address: str) -> str:
    """Whom to count an address as: itself, or of IPv6 the part that a household cannot choose."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a unix socket's peer has none
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), IPV6_BITS), strict=False))
