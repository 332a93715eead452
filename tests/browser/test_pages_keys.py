"""Without a mouse: everything can be done, the focus can be seen, and no change of the page loses it."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.client import Api
from tests.fix_pages import DESK, EVERY_KIND, QUIZ, RIGHT, Tab, Visit, place_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

# An outline. The main part takes the focus only to keep it, and has none.
SEEN = """() => {
  const one = document.activeElement;
  if (one.matches("main, body, dialog")) return true;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const inView = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
  return inView && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
}"""


class Keys:
    """A keyboard at a page. After each press the focus has to be somewhere, and to be seen."""

    def __init__(self, tab: Tab) -> None:
        self.page: Page = tab.page

    async def press(self, *keys: str) -> None:
        """Press one after the other."""
        for key in keys:
            await self.page.keyboard.press(key)
            assert await self.page.evaluate(SEEN), await self.page.evaluate("document.activeElement.outerHTML")

    async def go_to(self, name: str) -> None:
        """Tab until what has the focus is called this."""
        for _ in range(40):
            await self.press("Tab")
            found = await self.page.evaluate(
                "(document.activeElement.ariaLabel || document.activeElement.labels?.[0]?.innerText || "
                "document.activeElement.innerText || '').trim()"
            )
            if found == name:
                return
        pytest.fail(f"the tab key does not lead to {name}")

    async def keeps(self) -> None:
        """The focus has not been lost."""
        await expect(self.page.locator(":focus")).to_have_count(1)


async def answer(keys: Keys, kind: str, value: Any) -> None:
    """Give the answer by keys alone."""
    choices = {"single": ["Saturn"], "multiple": ["11", "13"], "poll": ["To the zoo"]}.get(kind, [])
    letters = {"Saturn": "B", "11": "B", "13": "C", "To the zoo": "B"}
    match kind:
        case "single" | "multiple" | "poll":
            for choice in choices:
                await keys.go_to(f"{letters[choice]}: {choice}")
                await keys.press("Space")
        case "true_false":
            await keys.go_to("True")
            await keys.press("Enter")
        case "numeric":
            await keys.go_to("Your number")
            await keys.page.keyboard.type(str(value))
        case "text" | "word_cloud":
            await keys.go_to("Your answer" if kind == "text" else "A word, or a few")
            await keys.page.keyboard.type(value)
        case "order":
            for to, words in enumerate(value):
                steps = await place_of(keys.page, words) - to
                if steps:
                    await keys.go_to(f"Move up: {words}")
                    await keys.press(*["Enter"] * steps)
                assert await place_of(keys.page, words) == to
    if kind in ("multiple", "order"):
        await keys.go_to("Send")
    if kind in ("multiple", "order", "numeric", "text", "word_cloud"):
        await keys.press("Enter")


async def test_somebody_joins_and_answers_every_kind_without_a_mouse(hall_api: Api, visit: Visit) -> None:
    game = await (await hall_api.host()).game(QUIZ)
    phone = await visit(**DESK)
    keys = Keys(phone)
    await phone.open("/")
    await expect(phone.page.get_by_label("Game PIN")).to_be_focused()
    await phone.page.keyboard.type(game.pin)
    await keys.press("Enter")
    await expect(phone.page.get_by_label("Your name")).to_be_focused()
    await keys.go_to("Suggest one for me")
    await keys.press("Space")
    await keys.go_to("Join")
    await keys.press("Enter")
    await phone.shows("You are in")
    await keys.keeps()
    for index, question in enumerate(EVERY_KIND):
        await game.open()
        await expect(phone.page.get_by_role("heading", name=question["prompt"])).to_be_visible()
        await keys.keeps()
        await answer(keys, question["kind"], RIGHT[index])
        await phone.shows("Received")
        await keys.keeps()
        await game.close()
        await expect(phone.page.locator(".verdict-card strong")).to_have_text("Right!" if index < 6 else "Thank you")
        await keys.keeps()
    await game.command("leaderboard")
    await expect(phone.page.locator(".board")).to_be_visible()
    await keys.keeps()
    await game.command("finish")
    await phone.shows("That was it!")
    await keys.keeps()
    await keys.go_to("Join another game")
    await keys.press("Enter")
    await expect(phone.page.get_by_label("Game PIN")).to_be_focused()


async def test_a_host_leads_a_game_without_a_mouse(hall_api: Api, visit: Visit) -> None:
    host = await hall_api.register()
    await host.quiz({"title": "Two", "questions": QUIZ["questions"][:2]})
    desk = await visit(**DESK)
    keys = Keys(desk)
    await desk.log_in(host)
    await desk.button("Start: Two").wait_for()
    await keys.go_to("Start: Two")
    await keys.press("Enter")
    await expect(desk.button("Start the game")).to_be_focused()
    await keys.press("Enter")
    await desk.button("Ask question 1").wait_for()
    await keys.keeps()
    next_thing = desk.page.locator(".next-bar .primary")
    # The button keeps the focus while it becomes the next thing to do, and Enter does it.
    await keys.go_to("Ask question 1")
    for says in ("Close now", "Show the leaderboard", "Ask question 2", "Close now", "Show the leaderboard"):
        await expect(next_thing).to_be_enabled()
        await keys.press("Enter")
        await expect(desk.button(says)).to_be_focused()
    await expect(next_thing).to_be_enabled()
    await keys.press("Enter")
    await expect(desk.button("Show the podium")).to_be_focused()
    await expect(next_thing).to_be_enabled()
    await keys.press("Space")
    await expect(desk.button("See the report")).to_be_focused()
    await keys.press("Enter")
    await desk.shows("The best")
    await keys.keeps()
