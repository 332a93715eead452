"""`quizcast.js` in a real browser while the line, the server and the page itself come to harm."""

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Request, Route

from tests.client import Api, Game
from tests.faults.proxy import Link, Proxy
from tests.fix_browser import Phone
from tests.fix_tree import Tree, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}


@pytest.fixture
def faulty(phone: Phone) -> Phone:
    """A tab whose requests will go wrong."""
    phone.faulty = True
    return phone


async def begin(phone: Phone, api: Api, **options: Any) -> Game:
    """A game in which the page takes part, with its first question open."""
    game = await (await api.host()).game(**options)
    await phone.join(game, "Ada")
    await phone.play()
    await game.open()
    await phone.until("game.view.phase === 'question'")
    return game


async def answers(game: Game, count: int) -> list[Any]:
    """Ada's answers, once as many have reached Postgres."""
    found = await game.results_with(count)
    return [one and one["answer"] for row in found["ranking"] if row["nickname"] == "Ada" for one in row["answers"]]


def is_stream(link: Link) -> bool:
    """Whether a link has carried the stream's request."""
    return link.streams


async def test_a_line_cut_for_five_seconds_loses_nothing_and_the_answer_counts_once(
    faulty: Phone, hall_api: Api, line: Proxy
) -> None:
    game = await begin(faulty, hall_api)
    line.closed = True
    line.cut()
    assert (await faulty.get("outbox.answer(0, 1)"))["state"] == "sending"
    await faulty.until("game.connection.state === 'lost'")
    assert await faulty.get("game.connection.fault") == "line"
    await asyncio.sleep(5)
    assert await faulty.get("outbox.get(0).state") == "sending"
    line.heal()
    await faulty.until("game.connection.state === 'live' && outbox.get(0).state === 'received'")
    assert await faulty.get("[game.view.index, game.view.phase, game.connection.fault]") == [0, "question", None]
    await game.close()
    await faulty.until("game.view.result !== null")
    assert await answers(game, 1) == [1, None]
    assert await faulty.get("[named('question').length, named('closed').length, named('result').length]") == [1, 1, 1]


async def test_a_reply_that_was_lost_is_asked_for_again_and_the_answer_counts_once(
    faulty: Phone, hall_api: Api
) -> None:
    game = await begin(faulty, hall_api)
    posts: list[str] = []

    async def lose_the_first(route: Route) -> None:
        posts.append(route.request.post_data or "")
        if len(posts) == 1:
            await route.fetch()  # it arrives, and is answered
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await faulty.page.route("**/answers", lose_the_first)
    await faulty.get("outbox.answer(0, 1)")
    await faulty.until("outbox.get(0).state === 'received'")
    assert len(posts) == 2
    assert await answers(game, 1) == [1, None]


async def test_a_lost_reply_to_a_join_is_no_taken_nickname(faulty: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    keys: list[str | None] = []

    async def lose_the_first(route: Route) -> None:
        keys.append(await route.request.header_value("Idempotency-Key"))
        if len(keys) == 1:
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await faulty.page.route("**/join", lose_the_first)
    await faulty.join(game, "Ada")
    assert keys[0] == keys[1]
    assert (await game.call("GET", "")).json()["participants"] == 1


async def test_an_answer_that_was_not_sent_outlives_a_reload(faulty: Phone, hall_api: Api, line: Proxy) -> None:
    game = await begin(faulty, hall_api)
    line.closed = True
    line.cut()
    await faulty.get("outbox.answer(0, 1)")
    await faulty.open()
    await faulty.page.evaluate("(options) => play(options)", faulty.options)
    assert (await faulty.get("outbox.get(0)"))["state"] == "sending"
    line.heal()
    await faulty.until("outbox.get(0).state === 'received' && game.view.me?.answered")
    assert await answers(game, 1) == [1, None]
    await faulty.open()
    await faulty.play()
    assert (await faulty.get("outbox.get(0)"))["state"] == "received"


async def test_an_answer_that_could_not_be_sent_in_time_is_refused_and_never_shown_as_received(
    faulty: Phone, hall_api: Api, line: Proxy
) -> None:
    game = await begin(faulty, hall_api)
    line.closed = True
    line.cut()
    await faulty.get("outbox.answer(0, 1)")
    await game.close()
    line.heal()
    await faulty.until("outbox.get(0).state === 'refused' && game.view.result !== null")
    assert await faulty.get("[outbox.get(0).code, game.view.result.answer]") == ["question_closed", None]
    assert "received" not in await faulty.get("answers.map((one) => one.state)")


async def test_an_answer_left_over_from_an_earlier_question_ends_when_another_is_open(
    faulty: Phone, hall_api: Api, line: Proxy
) -> None:
    game = await begin(faulty, hall_api)
    line.closed = True
    line.cut()
    await faulty.get("outbox.answer(0, 1)")
    await game.close()
    await game.open()
    line.heal()
    await faulty.until("game.view.index === 1 && outbox.get(0).state === 'refused'")
    await faulty.get("outbox.answer(1, true)")
    await faulty.until("outbox.get(1).state === 'received'")
    await game.close()
    assert await answers(game, 1) == [None, True]


async def test_a_black_hole_is_noticed_by_missing_heartbeats(faulty: Phone, hall_api: Api, line: Proxy) -> None:
    game = await begin(faulty, hall_api)
    await faulty.until("named('heartbeat').length >= 4")  # how often they come is learnt: every second here
    assert line.silence(is_stream) == 1
    began = time.monotonic()
    await game.close()
    await faulty.until("game.view.phase === 'closed'", 10)
    assert 1 < time.monotonic() - began < 8
    assert await faulty.get("named('snapshot').length") == 1


@pytest.mark.parametrize("event", ["visibilitychange", "pageshow", "online"])
async def test_a_page_that_is_looked_at_again_comes_back_at_once(
    faulty: Phone, hall_api: Api, line: Proxy, event: str
) -> None:
    game = await begin(faulty, hall_api)
    # Here the heartbeats are as rare as they are in earnest: the watchdog would take most of a minute.
    assert line.silence(is_stream) == 1
    await game.close()
    await asyncio.sleep(2.2)
    assert await faulty.get("game.view.phase") == "question"
    await faulty.get(
        {
            "visibilitychange": "document.dispatchEvent(new Event('visibilitychange'))",
            "pageshow": "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
            "online": "dispatchEvent(new Event('online'))",
        }[event]
    )
    await faulty.until("game.view.phase === 'closed' && game.view.result !== null", 2)


async def test_a_browser_that_is_offline_says_whose_fault_it_is_and_comes_back_by_itself(
    faulty: Phone, hall_api: Api, context: BrowserContext, line: Proxy
) -> None:
    game = await begin(faulty, hall_api)
    await context.set_offline(True)
    line.cut()
    await faulty.until("game.connection.state === 'lost' && game.connection.fault === 'line'")
    await game.close()
    await context.set_offline(False)
    await faulty.until("game.connection.state === 'live' && game.view.phase === 'closed'", 3)


async def test_a_hole_in_the_stream_is_seen_by_the_heartbeat_and_filled(
    faulty: Phone, hall_api: Api, line: Proxy
) -> None:
    game = await begin(faulty, hall_api)
    line.lost = b"event: closed"
    await game.close()
    await asyncio.sleep(0.5)
    line.lost = b""
    await faulty.until("game.view.phase === 'closed'")
    assert await faulty.get("[named('closed').length, named('snapshot').length]") == [1, 1]


async def test_a_stream_that_stays_silent_is_replaced_by_polling_until_it_flows(
    faulty: Phone, hall_api: Api, line: Proxy
) -> None:
    game = await (await hall_api.host()).game()
    await faulty.join(game, "Ada")
    line.holding = True
    await faulty.page.evaluate("(options) => play(options)", faulty.options)
    await faulty.until("game.connection.state === 'polling'")
    assert await faulty.get("lines.map((one) => one.state)") == ["silent", "polling"]
    assert await faulty.get("game.connection.fault") == "line"
    await game.open()
    await faulty.until("game.view.phase === 'question'", 5)
    await faulty.get("outbox.answer(0, 1)")
    await faulty.until("outbox.get(0).state === 'received'")
    await game.close()
    await faulty.until("game.view.result !== null", 5)
    line.heal()
    await faulty.until("game.connection.state === 'live'")
    await game.command("leaderboard")
    await faulty.until("game.view.leaderboard !== null")


async def test_streams_that_cannot_be_opened_are_replaced_by_polling(faulty: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await faulty.join(game, "Ada")
    await faulty.page.route("**/events", lambda route: route.fulfill(status=502, headers=CORS, body="bad gateway"))
    await faulty.page.evaluate("(options) => play(options)", faulty.options)
    await faulty.until("game.connection.state === 'polling'")
    await game.open()
    await faulty.until("game.view.phase === 'question'", 5)
    await faulty.page.unroute("**/events")
    await faulty.until("game.connection.state === 'live'")


async def test_retry_after_is_honoured_and_the_server_is_at_fault(faulty: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await faulty.join(game, "Ada")
    asked: list[float] = []

    async def full(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            await route.continue_()
            return
        problem = '{"type": "x", "title": "x", "status": 503, "code": "streams_full", "detail": "x"}'
        headers = CORS | {"Retry-After": "2", "Content-Type": "application/problem+json"}
        await route.fulfill(status=503, headers=headers, body=problem)

    await faulty.page.route("**/events", full)
    await faulty.page.evaluate("(options) => play(options)", faulty.options)
    await faulty.until("game.connection.state === 'lost'")
    assert await faulty.get("game.connection.fault") == "server"
    assert await faulty.get("game.connection.retryAt > game.now()")
    await faulty.until("game.connection.state === 'live'")
    assert asked[1] - asked[0] >= 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_no_error_of_the_server_ends_the_tries(faulty: Phone, hall_api: Api, status: int) -> None:
    game = await begin(faulty, hall_api)
    for kind in ("events", "answers", "state"):
        await faulty.page.route(f"**/{kind}", lambda route: route.fulfill(status=status, headers=CORS, body="{}"))
    await faulty.get("outbox.answer(0, 1)")
    await faulty.get("(game.stop(), game.start())")
    await faulty.until("game.connection.attempt >= 4")
    await faulty.page.unroute_all()
    await faulty.until("game.connection.state === 'live' && outbox.get(0).state === 'received'")
    assert await answers(game, 1) == [1, None]


async def test_killed_servers_cost_no_event_and_no_answer(faulty: Phone, hall_api: Api, hall: Tree) -> None:
    game = await begin(faulty, hall_api)
    for pid in hall.pids("web"):
        os.kill(pid, signal.SIGKILL)
    await faulty.get("outbox.answer(0, 1)")
    await asyncio.to_thread(wait_until, lambda: len(hall.pids("web")) == 2 and hall.ready())
    await faulty.until("game.connection.state === 'live' && outbox.get(0).state === 'received'", 30)
    await game.close()
    await faulty.until("game.view.result !== null")
    assert await answers(game, 1) == [1, None]
    assert await faulty.get("[named('question').length, named('closed').length]") == [1, 1]


async def test_a_drain_goes_by_unnoticed(faulty: Phone, hall_api: Api, hall: Tree) -> None:
    game = await begin(faulty, hall_api)
    old = hall.pids("web")
    for pid in old:
        os.kill(pid, signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: len(hall.pids("web")) == 2 and hall.ready())
    await faulty.until("named('drain').length >= 1")
    await faulty.until("game.connection.state === 'live'")
    await game.close()
    await faulty.until("game.view.result !== null")
    assert await faulty.get("[named('question').length, named('closed').length, named('snapshot').length]") == [1, 1, 1]
    # Nobody is told of a fault. On a busy machine a starting process may let a line wait until it counts as silent.
    assert "lost" not in await faulty.get("lines.map((one) => one.state)")


async def test_the_end_comes_by_204_after_a_line_that_broke_just_then(
    faulty: Phone, hall_api: Api, line: Proxy
) -> None:
    game = await begin(faulty, hall_api)
    await game.close()
    await faulty.until("game.view.phase === 'closed'")
    line.closed = True
    line.cut()
    await game.command("finish")
    await asyncio.sleep(1.5)
    line.heal()
    await faulty.until("game.connection.state === 'over'")
    assert await faulty.get("game.view.finished.top[0].nickname") == "Ada"
    asked: list[Request] = []
    faulty.page.on("request", lambda request: asked.append(request))
    await asyncio.sleep(2)
    assert asked == []
