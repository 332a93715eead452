"""What people write stays text and keeps the layout: script, long words, another direction, letters twice as large."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.looks import misfits, still
from tests.client import Api, Game
from tests.fix_pages import DESK, PHONE, QUIZ, RIGHT, WALL, Tab, Visit, shown, tap

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
ARABIC = "ما هو أكبر كوكب في المجموعة الشمسية؟"
PLANETS = ["المشتري", "زحل", "الأرض", "المريخ"]
WORDS = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz "
LONG = {
    "eight choices of 300 characters": ("W" * 1000, [(WORDS * 5)[:298] + f" {n}" for n in range(8)]),
    "sentences": ("Which of these is it? " * 20, [f"{n}: " + "it is what it was " * 12 for n in range(8)]),
    "another direction": (ARABIC, PLANETS),
}


def asks(prompt: str, choices: list[str], **more: Any) -> dict[str, Any]:
    """One question, of which the first choice is right."""
    texts = [{"text": text, "correct": place == 0} for place, text in enumerate(choices)]
    return {"kind": "single", "prompt": prompt, "choices": texts, "time_limit_ms": 60_000, **more}


async def fits(*tabs: Tab) -> None:
    """Nothing is wider than its page, cut off, or upon another."""
    for tab in tabs:
        await still(tab.page)
        found = await misfits(tab.page)
        assert not found, f"{tab.page.url}: {shown(found)}"


async def watched(api: Api, visit: Visit, content: dict[str, Any], nickname: str) -> tuple[Game, list[Tab]]:
    """A game with its phone, screen and control."""
    host = await api.register()
    game = await host.game(content)
    phone, wall, desk = await visit(**PHONE), await visit(**WALL), await visit(**DESK)
    await wall.screen(game)
    await desk.log_in(host, f"/host/games/{game.id}")
    await phone.join(game, nickname)
    return game, [phone, wall, desk]


@pytest.mark.parametrize("what", LONG)
async def test_long_and_foreign_texts_keep_the_layout(hall_api: Api, visit: Visit, what: str) -> None:
    prompt, choices = LONG[what]
    explanation = "Because it is so. " * 50
    content = {"title": prompt[:200], "questions": [asks(prompt, choices, explanation=explanation)]}
    game, tabs = await watched(hall_api, visit, content, "Wolfeschlegelsteinha")
    phone, wall, _ = tabs
    await fits(*tabs)
    await game.open()
    for tab in (phone, wall):
        await expect(tab.page.locator(".tile").last).to_be_visible()
    await fits(*tabs)
    await phone.page.locator(".tile").first.tap()
    await phone.shows("Received")
    await game.close()
    for tab in tabs:
        await expect(tab.page.locator(".bar").first).to_be_visible()
    await fits(*tabs)
    direction = "rtl" if what == "another direction" else "ltr"
    assert await wall.page.locator(".bar [dir]").first.evaluate("(one) => getComputedStyle(one).direction") == direction
    await game.command("leaderboard")
    await expect(wall.page.locator(".board")).to_be_visible()
    await fits(*tabs)


async def test_what_people_write_is_never_run(hall_api: Api, visit: Visit) -> None:
    name = SCRIPT[:20]
    content = {
        "title": SCRIPT,
        "questions": [
            asks(SCRIPT, [SCRIPT, "plain"], explanation=SCRIPT, media_url="https://127.0.0.1:9/%22onerror=%22alert(1)"),
            {"kind": "text", "prompt": SCRIPT, "accepted": [SCRIPT], "time_limit_ms": 60_000},
        ],
    }
    host = await hall_api.register()
    for address in ("javascript:alert(1)", 'https://127.0.0.1:9/"onerror="alert(1)', "data:text/html,<script>"):
        refused = await host.call(
            "POST", "/quizzes", json={"title": "x", "questions": [asks("?", ["a", "b"], media_url=address)]}
        )
        assert refused.status_code == 422, address
    game, tabs = await watched(hall_api, visit, content, name)
    for tab in tabs:
        tab.faulty = True
        await tab.page.route("https://127.0.0.1:9/**", lambda route: route.abort())
        tab.elsewhere = {"127.0.0.1:9"}  # where the picture is said to be
    phone, wall, desk = tabs
    await expect(wall.page.locator(".names")).to_contain_text(name)
    await game.open()
    for tab in tabs:
        await expect(tab.page.get_by_text(SCRIPT).first).to_be_visible()
    await phone.page.locator(".tile").first.tap()
    await phone.shows("Received")
    await game.close()
    await phone.shows("Right!")
    await game.open()
    await phone.page.locator("#text").fill(SCRIPT)
    await phone.page.keyboard.press("Enter")
    await phone.shows("Received")
    await game.close()
    for tab in tabs:
        await expect(tab.page.locator(".bar")).to_contain_text(["onerror"])
    await game.command("finish")
    await expect(wall.page.locator(".podium")).to_contain_text(name)
    await desk.button("See the report").click()
    await expect(desk.page.locator(".scroll tbody")).to_contain_text(name)
    for tab in tabs:
        assert await tab.page.locator("[onerror], body script, img[src=x]").count() == 0
        assert await tab.page.title() != "run"


async def test_a_quiz_of_200_questions_can_be_led_written_and_reported(hall_api: Api, visit: Visit) -> None:
    host = await hall_api.register()
    questions = [asks(f"Question number {n}, with some words to make it longer?", ["yes", "no"]) for n in range(200)]
    game = await host.game({"title": "Two hundred", "questions": questions})
    desk = await visit(**DESK)
    await desk.log_in(host, f"/host/games/{game.id}")
    next_thing = desk.page.locator(".next-bar .primary")
    await expect(next_thing).to_have_text("Ask question 1")
    await desk.page.locator("summary").filter(has_text="Questions").click()
    await expect(desk.page.locator(".asked li")).to_have_count(200)
    await fits(desk)
    # The list scrolls in itself: what to do next stays where it is.
    await expect(next_thing).to_be_in_viewport()
    await desk.page.locator(".asked li").nth(150).get_by_role("button").click()
    await expect(next_thing).to_have_text("Close now")  # the words of the question are in the list from the start
    await game.close()
    await game.command("finish")
    await desk.button("See the report").click()
    await expect(desk.page.locator("article")).to_have_count(200)
    await fits(desk)
    await desk.open(f"/host/quizzes/{game.view['quiz_id']}")
    await expect(desk.page.locator(".question-list li")).to_have_count(200)
    await fits(desk)


async def test_letters_twice_as_large_lose_nothing_on_a_phone(hall_api: Api, visit: Visit) -> None:
    game = await (await hall_api.host()).game(QUIZ)
    phone = await visit(**PHONE)
    large = "document.documentElement.style.fontSize = '200%'"
    await phone.open("/")
    await phone.page.evaluate(large)
    await fits(phone)
    await phone.join(game, "Wolfeschlegelsteinha")
    await phone.page.evaluate(large)
    await fits(phone)
    for index, question in enumerate(QUIZ["questions"]):
        await game.open()
        await expect(phone.page.get_by_role("heading", name=question["prompt"])).to_be_visible()
        await fits(phone)
        await tap(phone.page, question["kind"], RIGHT[index])
        await phone.shows("Received")
        await fits(phone)
        await game.close()
        await expect(phone.page.locator(".verdict-card strong")).to_be_visible()
        await fits(phone)
    await game.command("leaderboard")
    await expect(phone.page.locator(".board")).to_be_visible()
    await fits(phone)
    await game.command("finish")
    await phone.shows("That was it!")
    await fits(phone)


async def test_nothing_moves_for_those_who_do_not_want_it(hall_api: Api, visit: Visit) -> None:
    host = await hall_api.register()
    game = await host.game(QUIZ)
    phone, wall = await visit(**PHONE, reduced_motion="reduce"), await visit(**WALL, reduced_motion="reduce")
    moving = """() => document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime > 10).length"""
    frames = """() => new Promise((done) => {
      const real = window.requestAnimationFrame;
      let asked = 0;
      window.requestAnimationFrame = (call) => (asked += 1, real(call));
      setTimeout(() => (window.requestAnimationFrame = real, done(asked)), 500);
    })"""
    await wall.screen(game)
    await phone.join(game, "Ada")
    assert [await tab.page.evaluate(moving) for tab in (phone, wall)] == [0, 0]
    await game.open()
    await expect(phone.page.locator(".countdown")).to_be_visible()
    await expect(wall.page.locator(".countdown")).to_be_visible()
    assert [await tab.page.evaluate(moving) for tab in (phone, wall)] == [0, 0]
    assert [await tab.page.evaluate(frames) < 10 for tab in (phone, wall)] == [True, True]  # the time goes by seconds
    await game.close()
    await expect(wall.page.locator(".bars")).to_be_visible()
    assert [await tab.page.evaluate(moving) for tab in (phone, wall)] == [0, 0]
