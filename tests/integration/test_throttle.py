"""Logins and registrations are counted over all processes, and nobody's address is in Redis."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from quizcast.errors import RedisUnavailable, TooMany
from quizcast.live.redis import new_client
from quizcast.live.throttle import ADDRESS_SHARE, Throttle
from quizcast.settings import Settings


@pytest.fixture
def settings(redis_url: str, redis_prefix: str) -> Settings:
    """Settings with small limits, and no database."""
    return Settings(redis_url=redis_url, key_prefix=redis_prefix, register_per_hour=3, login_per_minute=2)


@pytest.fixture
async def throttle(settings: Settings) -> AsyncIterator[Throttle]:
    """The throttle of one process."""
    made = Throttle(settings)
    yield made
    await made.close()


async def test_registrations_from_one_address_come_to_an_end_and_others_go_on(throttle: Throttle) -> None:
    for _ in range(3):
        await throttle.register("192.0.2.1")
    with pytest.raises(TooMany) as caught:
        await throttle.register("192.0.2.1")
    assert caught.value.retry_after_s is not None
    assert 1 <= caught.value.retry_after_s <= 3600
    await throttle.register("192.0.2.2")


async def test_an_account_is_guarded_from_many_addresses_in_any_case(throttle: Throttle) -> None:
    await throttle.login("ada@example.org", "192.0.2.1")
    await throttle.login("Ada@Example.org ", "192.0.2.2")
    with pytest.raises(TooMany) as caught:
        await throttle.login("ADA@example.org", "192.0.2.3")
    assert caught.value.retry_after_s is not None
    assert 1 <= caught.value.retry_after_s <= 60
    await throttle.login("eve@example.org", "192.0.2.3")


async def test_an_address_cannot_try_account_after_account_for_ever(throttle: Throttle) -> None:
    for number in range(2 * ADDRESS_SHARE):
        await throttle.login(f"host{number}@example.org", "192.0.2.1")
    with pytest.raises(TooMany):
        await throttle.login("another@example.org", "192.0.2.1")


async def test_processes_count_together(throttle: Throttle, settings: Settings) -> None:
    other = Throttle(settings)
    await throttle.login("ada@example.org", "192.0.2.1")
    await other.login("ada@example.org", "192.0.2.1")
    for one in (throttle, other):
        with pytest.raises(TooMany):
            await one.login("ada@example.org", "192.0.2.1")
    await other.close()


async def test_the_keys_name_nobody_keep_to_their_prefix_and_run_out(throttle: Throttle, settings: Settings) -> None:
    await throttle.login("ada@example.org", "192.0.2.1")
    await throttle.register("192.0.2.1")
    client = new_client(settings)
    keys = [key async for key in client.scan_iter(match=f"*{settings.key_prefix}throttle*")]
    assert len(keys) == 3
    for key in keys:
        assert b"ada" not in key
        assert b"192.0" not in key
        assert await client.ttl(key) > 0
    await client.aclose()


async def test_without_redis_nobody_is_let_through(settings: Settings) -> None:
    away = Throttle(msgspec.structs.replace(settings, redis_url="unix:///nonexistent/redis.sock"))
    with pytest.raises(RedisUnavailable):
        await away.login("ada@example.org", "192.0.2.1")
    with pytest.raises(RedisUnavailable):
        await away.register("192.0.2.1")
    await away.close()


@pytest.mark.parametrize("who", ["", "\ud800", "a" * 100_000, "a\0b", "é*?[]{}"])
async def test_any_text_can_be_counted(throttle: Throttle, who: str) -> None:
    await throttle.login(who, who)
