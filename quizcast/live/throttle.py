"""How often somebody may try: logins and registrations, counted in Redis for all processes together; floor 5.

Who is counted shows in no key: addresses and accounts are hashed. Without Redis nobody gets in: a throttle that stops
counting when it is attacked is none.
"""

import hashlib
import time
from typing import cast

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from quizcast.errors import TooMany
from quizcast.live.redis import guarded, new_client
from quizcast.settings import Settings

ADDRESS_SHARE = 20  # a school is one address


class Throttle:
    """The counters. One per process; `close()` at the end."""

    def __init__(self, settings: Settings) -> None:
        self._client = new_client(settings)
        self._timeout_s = settings.redis_timeout_s
        storage = RedisStorage(
            # The address in use is the pool's; of this one only the scheme is read, and it knows no `unix://`.
            "async+redis://",
            implementation="redispy",
            key_prefix=f"{settings.key_prefix}throttle",
            connection_pool=cast("str", self._client.connection_pool),  # passed on as it is, whatever the hint says
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._register = RateLimitItemPerHour(settings.register_per_hour)
        self._login = RateLimitItemPerMinute(settings.login_per_minute)
        self._login_address = RateLimitItemPerMinute(settings.login_per_minute * ADDRESS_SHARE)

    async def register(self, address: str) -> None:
        """Count a registration from an address. Raises `TooMany`, `RedisUnavailable`."""
        await self._hit(self._register, "register", address)

    async def login(self, account: str, address: str) -> None:
        """Count a login to an account (an e-mail address, in whatever case) from an address.

        Raises `TooMany`, `RedisUnavailable`.
        """
        await self._hit(self._login_address, "login-from", address)
        await self._hit(self._login, "login", account.strip().lower())

    async def _hit(self, limit: RateLimitItem, what: str, who: str) -> None:
        hidden = hashlib.blake2s(who.encode(errors="replace"), digest_size=16).hexdigest()
        if await guarded("throttle", self._limiter.hit(limit, what, hidden), self._timeout_s):
            return
        window = await guarded("throttle", self._limiter.get_window_stats(limit, what, hidden), self._timeout_s)
        raise TooMany(retry_after_s=max(1.0, window.reset_time - time.time()))

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()
