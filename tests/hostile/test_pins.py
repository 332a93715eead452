"""Who tries PIN after PIN gets nowhere, and shuts nobody out who has the right one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpx
import msgspec
import pytest

from quizcast.errors import PinUnknown, RedisUnavailable, TooManyPins
from quizcast.live.pins import PRESSED_MAX, PRESSED_MS, Pins
from quizcast.live.redis import Live
from quizcast.settings import DOCS, Settings
from quizcast.web.app import App
from quizcast.web.services import opened
from tests.client import PASSWORD, QUIZ, good, refused

ALONE, TOTAL = 5, 12
SCHOOL, HOME, THIEF = "192.0.2.1", "198.51.100.7", "203.0.113.9"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Small limits."""
    return msgspec.structs.replace(settings, wrong_pins_per_minute=ALONE, wrong_pins_per_minute_total=TOTAL)


@pytest.fixture
def pins(live: Live) -> Pins:
    """The judge of one process."""
    return Pins(live)


async def guess(pins: Pins, address: str, times: int = 1) -> None:
    """So many wrong PINs, each of which is told to be wrong."""
    for _ in range(times):
        with pytest.raises(PinUnknown):
            await pins.judge(address, None)


async def waits(pins: Pins, address: str, game_id: str | None) -> float:
    """Seconds that somebody is told to wait."""
    with pytest.raises(TooManyPins) as caught:
        await pins.judge(address, game_id)
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


# ── one address ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_right_pins_never_count(pins: Pins) -> None:
    for number in range(ALONE * 10):
        await pins.judge(SCHOOL, f"g{number}")
    await guess(pins, SCHOOL, ALONE)


async def test_who_guesses_on_is_told_nothing_any_more_whether_right_or_wrong(pins: Pins) -> None:
    await guess(pins, THIEF, ALONE)
    assert 0 < await waits(pins, THIEF, None) <= 60
    assert 0 < await waits(pins, THIEF, "g1") <= 60
    await pins.judge(HOME, "g1")  # others notice nothing


async def test_a_burst_of_guesses_gets_no_more_answers_than_guesses_in_turn(pins: Pins) -> None:
    told = await asyncio.gather(*(pins.judge(THIEF, None) for _ in range(200)), return_exceptions=True)
    assert sum(isinstance(one, PinUnknown) for one in told) == ALONE
    assert sum(isinstance(one, TooManyPins) for one in told) == 200 - ALONE
    await waits(pins, THIEF, "g1")


async def test_a_school_plays_on_in_its_game_whatever_somebody_there_guesses(pins: Pins, live: Live) -> None:
    await pins.judge(SCHOOL, "g1")
    await guess(pins, SCHOOL, ALONE)
    await waits(pins, SCHOOL, None)
    for process in (pins, Pins(live)):  # the second has never seen them
        for _ in range(300):
            assert await process.judge(SCHOOL, "g1") == "g1"
    await waits(pins, SCHOOL, "another game")


async def test_processes_count_together_and_wrong_pins_are_forgotten(pins: Pins, live: Live) -> None:
    await guess(pins, THIEF, ALONE)
    other = Pins(live)
    await waits(other, THIEF, None)
    async for key in live.client.scan_iter(match=f"{live.settings.key_prefix}{{pins}}*"):
        assert THIEF.encode() not in key
        assert 0 < await live.client.pttl(key) <= 60_000
        await live.client.delete(key)  # as they do after a minute
    await guess(other, THIEF, ALONE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::3", "2001:db8:1:ff:1:2:3:4", True),
        ("2001:db8:1:2::3", "2001:db8:2:2::3", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("local", "local", True),
        ("", "\ud800", False),
    ],
)
async def test_a_household_with_ipv6_is_one_address(pins: Pins, one: str, other: str, same: bool) -> None:
    await guess(pins, one, ALONE)
    if same:
        await waits(pins, other, None)
    else:
        await guess(pins, other)


# ── many addresses ────────────────────────────────────────────────────────────────────────────────────────────


async def press(pins: Pins) -> None:
    """Wrong PINs from all over the world, as many as are borne."""
    for number in range(TOTAL):
        await guess(pins, f"10.0.0.{number}")


async def test_while_the_world_guesses_each_address_has_three_slips_in_ten_minutes(pins: Pins) -> None:
    await press(pins)
    await guess(pins, THIEF, PRESSED_MAX)
    assert PRESSED_MS / 1000 - 5 < await waits(pins, THIEF, None) <= PRESSED_MS / 1000
    await waits(pins, THIEF, "g1")


async def test_while_the_world_guesses_the_right_pin_lets_in_at_once_and_after_a_slip(pins: Pins) -> None:
    await press(pins)
    assert await pins.judge(HOME, "g1") == "g1"
    await guess(pins, SCHOOL, PRESSED_MAX - 1)
    for _ in range(300):
        assert await pins.judge(SCHOOL, "g1") == "g1"


def test_guessing_is_hopeless_by_the_reckoning_that_the_page_makes() -> None:
    defaults, space = Settings(), 900_000
    one_hour = 60
    alone = defaults.wrong_pins_per_minute * one_hour / space
    everybody = defaults.wrong_pins_per_minute_total * one_hour / space
    thousand_machines = everybody + 1000 * PRESSED_MAX * one_hour / (PRESSED_MS / 60_000) / space
    assert alone <= 0.002
    assert everybody <= 0.02
    assert thousand_machines <= 0.04
    assert "three in ten minutes" in DOCS["wrong_pins_per_minute_total"]


async def test_without_redis_nobody_is_told_anything(settings: Settings) -> None:
    away = Live(msgspec.structs.replace(settings, redis_url="unix:///nonexistent/redis.sock"))
    for game_id in ("g1", None):
        with pytest.raises(RedisUnavailable):
            await Pins(away).judge(HOME, game_id)
    await away.close()


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────

From = Callable[[str], contextlib.AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def client_at(settings: Settings) -> AsyncIterator[From]:
    """The application, called from an address."""
    app = App(settings)

    @contextlib.asynccontextmanager
    async def client(address: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://quiz.example/api/v1") as made:
            yield made

    async with opened(settings) as services:
        app.services = services
        yield client


async def new_game(client: httpx.AsyncClient) -> str:
    """The PIN of a new game."""
    account = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}
    token = good(await client.post("/auth/register", json=account), 201)["access_token"]
    host = {"Authorization": f"Bearer {token}"}
    quiz = good(await client.post("/quizzes", json=QUIZ, headers=host), 201)
    pin: str = good(await client.post("/games", json={"quiz_id": quiz["id"]}, headers=host), 201)["pin"]
    return pin


async def join(client: httpx.AsyncClient, pin: str, nickname: str = "Ben", **more: str) -> httpx.Response:
    """Try to join."""
    client.cookies.clear()
    return await client.post("/join", json={"pin": pin, "nickname": nickname, **more})


async def test_a_guesser_is_told_when_to_come_back_and_a_school_joins_at_once(client_at: From) -> None:
    async with client_at(HOME) as host, client_at(THIEF) as thief, client_at(SCHOOL) as school:
        pin = await new_game(host)
        wrong = "111111" if pin != "111111" else "222222"
        joins = await asyncio.gather(*(join(school, pin, f"Pupil {number}") for number in range(300)))
        assert {one.status_code for one in joins} == {201}
        for _ in range(ALONE):
            assert refused(await join(thief, wrong)) == (404, "pin_unknown")
        for tried in (wrong, pin, "999999"):
            reply = await join(thief, tried, "Eve")
            assert refused(reply) == (429, "too_many_pins")
            assert 1 <= int(reply.headers["retry-after"]) <= 60
        for _ in range(ALONE):
            await join(school, wrong)
        assert refused(await join(school, wrong))[0] == 429
        assert (await join(school, pin, "Late pupil")).status_code == 201


async def test_who_plays_already_comes_back_from_an_address_that_has_to_wait(client_at: From) -> None:
    async with client_at(HOME) as home, client_at(THIEF) as cafe:
        pin = await new_game(home)
        joined = good(await join(home, pin), 201)
        for _ in range(ALONE + 1):
            await join(cafe, "111111" if pin != "111111" else "222222")
        assert refused(await join(cafe, pin, "Eve"))[0] == 429
        back = good(await join(cafe, pin, participant_token=joined["token"]), 201)
        assert back["participant_id"] == joined["participant_id"]
        # A made-up token is none that gets anybody past the judge.
        assert refused(await join(cafe, pin, participant_token=joined["token"][:-3]))[0] == 429


async def test_no_refusal_tells_a_right_pin_from_a_wrong_one(client_at: From) -> None:
    async with client_at(HOME) as home, client_at(THIEF) as thief:
        pin = await new_game(home)
        wrong = "111111" if pin != "111111" else "222222"
        for _ in range(ALONE):
            await join(thief, wrong)
        told = [await join(thief, tried, nickname) for tried in (pin, wrong) for nickname in ("Eve", "\u202eevil")]
        assert len({(one.status_code, one.content) for one in told}) == 1
