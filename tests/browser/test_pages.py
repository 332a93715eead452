"""A game on quizcast's own pages, by hand: the host's control, the screen, a phone, and thirty more who take part."""

import pytest
from playwright.async_api import expect

from quizcast.simulate import Address, Crowd
from tests.client import Api
from tests.fix_pages import DESK, EVERY_KIND, PHONE, QUIZ, RIGHT, Tab, Visit, place_of, tap
from tests.fix_tree import Tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROWD = 30


async def press(control: Tab, says: str) -> None:
    """Let the host do what is next, which has to be this."""
    button = control.page.locator(".next-bar .primary")
    await expect(button).to_have_text(says)
    await expect(button).to_be_enabled()
    await control.page.keyboard.press("Space")


async def test_a_whole_game_on_three_pages_with_thirty_more(hall: Tree, hall_api: Api, visit: Visit) -> None:
    host = await hall_api.register()
    await host.quiz(QUIZ)
    control, phone = await visit(**DESK), await visit(**PHONE)
    await control.log_in(host)
    await control.button(f"Start: {QUIZ['title']}").click()
    await control.button("Start the game").click()
    await control.shows("Show the screen, or tell people the PIN.")
    pin = await control.page.locator(".small-pin").inner_text()
    async with control.page.context.expect_page() as opening:
        await control.button("Open the screen").click()
    screen = Tab(await opening.value, hall.url)
    wall = screen.page
    await wall.wait_for_url("**/screen/*")
    await wall.set_viewport_size({"width": 1280, "height": 720})
    await expect(wall.get_by_label(f"The PIN is {pin}")).to_be_visible()
    assert "token" not in wall.url  # everybody can read it

    await phone.open("/")
    await phone.page.get_by_label("Game PIN").fill(pin)
    await phone.button("Go").tap()
    await phone.button("Suggest one for me").tap()
    nickname = await phone.page.get_by_label("Your name").input_value()
    await phone.button("Join").tap()
    await phone.shows(f"You are in, {nickname}!")
    await expect(wall.get_by_text(nickname)).to_be_visible()

    crowd = Crowd(await Address.resolve(hall.url), CROWD, quiz=QUIZ, answer_window_ms=300)
    try:
        await crowd.join(pin)
        await phone.shows(f"{CROWD + 1} participants")
        await expect(wall.get_by_text(f"{CROWD + 1} participants")).to_be_visible()
        await control.shows(f"{CROWD + 1} participants")
        await control.page.locator("h1").click()  # the space bar is the page's where no control has the focus
        for index, question in enumerate(EVERY_KIND):
            await press(control, f"Ask question {index + 1}")
            await expect(phone.page.get_by_role("heading", name=question["prompt"])).to_be_visible()
            await expect(wall.get_by_role("heading", name=question["prompt"])).to_be_visible()
            await tap(phone.page, question["kind"], RIGHT[index])
            # All have answered, so it closes by itself.
            await expect(phone.page.locator(".verdict-card strong")).to_have_text(
                "Thank you" if question["kind"] in ("poll", "word_cloud") else "Right!"
            )
            await expect(wall.locator(".bars, .cloud")).to_be_visible()
            if question["kind"] not in ("poll", "word_cloud"):
                await press(control, "Show the leaderboard")
                await expect(phone.page.get_by_role("heading", name="Leaderboard")).to_be_visible()
                await expect(phone.page.locator('.board [data-mine="true"]')).to_contain_text(nickname)
                await expect(wall.locator(".board")).to_be_visible()
        await press(control, "Show the podium")
        await phone.shows("That was it!")
        await expect(wall.locator(".podium")).to_be_visible()
    finally:
        await crowd.leave()
    game_id = control.page.url.rpartition("/")[2]
    await control.button("See the report").click()
    await control.shows("The best")
    await expect(control.page.locator(".scroll tbody tr")).to_have_count(CROWD + 1)
    results = (await host.call("GET", f"/games/{game_id}/results")).json()
    assert len(results["ranking"]) == CROWD + 1
    mine = next(row for row in results["ranking"] if row["nickname"] == nickname)
    assert [one["correct"] for one in mine["answers"]] == [True] * 6 + [None] * 2
    assert all(None not in row["answers"] for row in results["ranking"])  # nobody's was lost
    line = control.page.locator(".scroll tbody tr").filter(has_text=nickname)
    await expect(line).to_contain_text(f"{mine['score']:,}")
    assert await line.locator('[data-state="right"]').count() == 6
    for kind in ("CSV", "Excel"):
        async with control.page.expect_download() as downloading:
            await control.page.get_by_role("link", name=kind).click()
        assert (await downloading.value).suggested_filename.endswith({"CSV": ".csv", "Excel": ".xlsx"}[kind])
    assert screen.troubles == []


@pytest.mark.parametrize("how", ["dragging", "buttons"])
async def test_items_are_put_in_order(hall_api: Api, visit: Visit, how: str) -> None:
    game = await (await hall_api.host()).game({"title": "Order", "questions": [EVERY_KIND[5]]})
    phone = await visit(**PHONE)
    await phone.join(game, "Ada")
    await game.open()
    await expect(phone.page.locator(".order")).to_be_visible()
    if how == "dragging":
        await tap(phone.page, "order", RIGHT[5])
    else:
        for to, words in enumerate(RIGHT[5]):
            for _ in range(await place_of(phone.page, words) - to):
                await phone.button(f"Move up: {words}").tap()
        await phone.button("Send").tap()
    await phone.shows("Received")
    await game.close()
    await phone.shows("Right!")
