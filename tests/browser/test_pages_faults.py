"""The pages while the line, the server and the browsers come to harm: everybody is where they were."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.client import Api, Game
from tests.faults.proxy import Proxy
from tests.fix_pages import DESK, EVERY_KIND, PHONE, QUIZ, Tab, Visit
from tests.fix_tree import Tree, environment

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED = EVERY_KIND[0]["prompt"]
# A finger that was on its way when the button became another one.
PRESS_TOO_LATE = """() => {
  const button = document.querySelector(".next-bar .primary");
  window.pressed = new Promise((done) => {
    new MutationObserver((_, changes) => {
      changes.disconnect();
      setTimeout(() => (button.click(), done()), 100);
    }).observe(button, { characterData: true, childList: true, subtree: true });
  });
}"""


async def asked(phone: Tab) -> None:
    """The first question is on the phone."""
    await expect(phone.page.get_by_role("heading", name=ASKED)).to_be_visible(timeout=30_000)


async def answers(game: Game, nickname: str) -> list[Any]:
    """What somebody has answered so far, in the results."""
    found = await game.results_with(1)
    return [one and one["answer"] for row in found["ranking"] if row["nickname"] == nickname for one in row["answers"]]


async def test_a_phone_without_a_line_for_five_seconds_keeps_its_question_and_its_answer_counts_once(
    hall_api: Api, visit: Visit, line: Proxy
) -> None:
    game = await (await hall_api.host()).game(QUIZ)
    phone = await visit(by=line, **PHONE)
    phone.faulty = True
    await phone.join(game, "Ada")
    await game.open()
    await asked(phone)
    line.closed = True
    line.cut()
    await phone.shows("Your line is down.")
    await phone.button("B: Saturn").tap()
    await phone.shows("Sending …")
    await asyncio.sleep(5)
    await asked(phone)
    await expect(phone.text("Received")).to_have_count(0)  # nobody has received it
    line.heal()
    await phone.shows("Connected", timeout_s=20)
    await phone.shows("Received")
    await asked(phone)
    await game.close()
    await phone.shows("Right!")
    assert await answers(game, "Ada") == [1] + [None] * 7
    assert (await game.results())["questions"][0]["counts"] == [0, 1, 0, 0]


async def test_a_server_that_takes_connections_and_fails_is_not_blamed_on_the_line(
    hall_api: Api, visit: Visit, line: Proxy
) -> None:
    game = await (await hall_api.host()).game(QUIZ)
    phone = await visit(by=line, **PHONE)
    phone.faulty = True
    await phone.join(game, "Ada")
    await expect(phone.page.get_by_text("Connected", exact=True)).to_be_visible()  # by a stream, which can be cut
    await phone.page.route("**/api/v1/**", lambda route: route.fulfill(status=503, body=""))
    line.cut()
    await phone.shows("The server does not answer.", timeout_s=20)
    await phone.page.unroute_all()
    await phone.shows("Connected", timeout_s=30)


async def test_a_phone_loaded_anew_is_where_it_was_in_every_phase(hall_api: Api, visit: Visit) -> None:
    game = await (await hall_api.host()).game({"title": "Two", "questions": QUIZ["questions"][:2]})
    phone = await visit(**PHONE)
    await phone.join(game, "Ada")

    async def again(*says: str) -> None:
        for words in says:
            await phone.shows(words)
        await phone.page.reload()
        for words in says:
            await phone.shows(words)

    await again("You are in, Ada!")
    await game.open()
    await again(ASKED, "Venus")
    await phone.button("B: Saturn").tap()
    await again(ASKED, "Received", "Saturn")
    await game.close()
    await again(ASKED, "Right!", "Place 1", EVERY_KIND[0]["explanation"])
    await game.command("leaderboard")
    await again("Leaderboard", "Ada")
    await game.command("finish")
    await again("That was it!", "You came in place 1 of 1")
    # Another tab of the same browser finds the way back too.
    other = await phone.page.context.new_page()
    await other.goto(f"{phone.url}/join/{game.pin}")
    await expect(other.get_by_text("That was it!")).to_be_visible()


async def test_a_host_goes_on_with_another_device_and_two_show_the_same(hall_api: Api, visit: Visit) -> None:
    host = await hall_api.register()
    game = await host.game({"title": "Two", "questions": QUIZ["questions"][:2]})
    ada = await game.join("Ada")
    first = await visit(**DESK)
    await first.log_in(host, f"/host/games/{game.id}")
    await first.button("Ask question 1").click()
    await first.button("Close now").wait_for()
    await first.page.close()

    await ada.answered(0, 1)  # the game goes on without a host
    second, third = await visit(**PHONE), await visit(**DESK)
    for device in (second, third):
        await device.log_in(host)
        await device.page.get_by_role("link", name="Continue: Two").click()
        await device.shows(ASKED)
        await device.shows("1 of 1 have answered")
    await second.button("Close now").tap()
    await third.button("Show the leaderboard").click()
    await expect(second.page.locator(".board")).to_contain_text("Ada")
    await second.button("Ask question 2").tap()
    await third.shows(QUIZ["questions"][1]["prompt"])
    for device in (second, third):
        await expect(device.button("Close now")).to_be_visible()


@pytest.mark.parametrize("who", ["two devices", "a double click"])
async def test_a_press_that_was_meant_for_the_step_before_does_nothing(hall_api: Api, visit: Visit, who: str) -> None:
    host = await hall_api.register()
    game = await host.game(QUIZ)
    devices = [await visit(**DESK) for _ in range(2)]
    for device in devices:
        device.faulty = True  # the second may be told that it was too late
        await device.log_in(host, f"/host/games/{game.id}")
        await expect(device.button("Ask question 1")).to_be_enabled()
    late = devices[1] if who == "two devices" else devices[0]
    await late.page.evaluate(PRESS_TOO_LATE)
    await devices[0].button("Ask question 1").click()
    await late.page.evaluate("pressed")
    for device in devices:
        await expect(device.button("Close now")).to_be_enabled()
        await device.shows(ASKED)
    state = (await game.call("GET", "")).json()
    assert (state["phase"], state["question_index"]) == ("question", 0)


async def test_pages_come_back_by_themselves_when_the_web_processes_are_killed(
    hall: Tree, hall_api: Api, visit: Visit
) -> None:
    host = await hall_api.register()
    game = await host.game(QUIZ)
    phone, control = await visit(**PHONE), await visit(**DESK)
    phone.faulty = control.faulty = True
    await phone.join(game, "Ada")
    await control.log_in(host, f"/host/games/{game.id}")
    await control.button("Ask question 1").click()
    await asked(phone)
    for pid in hall.pids("quizcast: web"):
        os.kill(pid, signal.SIGKILL)
    await phone.button("B: Saturn").tap()
    await phone.shows("Received", timeout_s=30)
    await phone.shows("Connected", timeout_s=30)
    await asked(phone)
    await control.shows("Connected", timeout_s=30)
    await control.button("Close now").click()
    await phone.shows("Right!", timeout_s=30)
    assert await answers(game, "Ada") == [1] + [None] * 7


async def test_pages_come_back_by_themselves_when_serve_was_stopped_and_started(
    start_tree: Callable[..., Tree], visit: Visit
) -> None:
    env = environment(heartbeat_s="1", drain_s="1")
    tree = start_tree("--web", "1", env=env)
    async with Api(tree.url) as api:
        game = await (await api.host()).game(QUIZ)
        with Proxy(("127.0.0.1", tree.port)) as line:  # so that the address stays
            phone = await visit(by=line, **PHONE)
            phone.faulty = True
            await phone.join(game, "Ada")
            await game.open()
            await asked(phone)
            assert tree.terminate() == 0
            await expect(phone.page.locator('.connection[data-state="lost"]')).to_be_visible(timeout=20_000)
            await phone.button("B: Saturn").tap()
            await phone.shows("Sending …")
            again = start_tree("--web", "1", env=env)
            line.lead_to(("127.0.0.1", again.port))
            await phone.shows("Received", timeout_s=30)
            await phone.shows("Connected", timeout_s=30)
            await asked(phone)
            async with Api(again.url) as anew:
                game.host.api = anew
                await game.close()
                await phone.shows("Right!", timeout_s=30)
                assert await answers(game, "Ada") == [1] + [None] * 7
