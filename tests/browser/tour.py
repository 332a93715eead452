"""A walk through every page in every phase: `tour()` stops wherever there is something to look at."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import expect

from tests.client import Api, Game, Player
from tests.faults.proxy import Proxy
from tests.fix_pages import DESK, EVERY_KIND, QUIZ, WALL, Tab, Visit

NAMES = ["Ada", "Grace", "Noor", "Yusuf", "Mei", "Łukasz", "Zoë", "Ebru", "Tomás", "Chidi", "Ingrid", "Kaveh"]
NUMBERS = [88, 85, 90, 60, 100, 72, 64, 120, 88, 52, 97, 110]
TOWNS = ["Reykjavik", "Oslo", "Reykjavík", "Nuuk", "reykjavik", "Bergen"]
WORDS = ["sunny", "long", "fun", "sunny", "loud", "fun", "quick", "sunny", "new", "fun", "good", "tiring"]

Stop = tuple[str, Tab]


def bots_answer(question: dict[str, Any], place: int) -> Any:
    """What the one at this place says; not everybody is right."""
    match question["kind"]:
        case "single" | "poll":
            return (place * place + 1) % len(question["choices"])
        case "multiple":
            return [[1, 2], [1], [0, 1, 2], [3]][place % 4]
        case "true_false":
            return place % 3 > 0
        case "numeric":
            return NUMBERS[place % len(NUMBERS)]
        case "text":
            return TOWNS[place % len(TOWNS)]
        case "order":
            order = list(range(len(question["choices"])))
            return order[place % 4 :] + order[: place % 4]
        case _:
            return WORDS[place % len(WORDS)]


async def give(tab: Tab, kind: str) -> None:
    """Answer somehow, in whatever language the page is."""
    page = tab.page
    match kind:
        case "numeric":
            await page.locator("#number").fill("80")
        case "text" | "word_cloud":
            await page.locator("#text").fill("Reykjavik")
        case "single" | "poll" | "multiple" | "true_false":
            await page.locator("button.tile").nth(1).click()
        case _:
            pass
    if kind not in ("single", "poll", "true_false"):
        await page.locator("button.primary").click()
    await expect(page.locator('.verdict-chip[data-tone="good"]')).to_be_visible()


async def tour(
    api: Api, visit: Visit, line: Proxy, *, size: dict[str, Any] = DESK, **options: Any
) -> AsyncIterator[Stop]:
    """`(name, tab)` for every page in every phase; `options` are those of the browsers' contexts. About 60 stops."""
    everyone = await api.register("Ada")
    play = await visit(by=line, **size, **options)
    desk = await visit(**size, **options)
    wall = await visit(**(WALL | {key: value for key, value in options.items() if key not in size}))
    play.faulty = desk.faulty = True  # it is refused, and cut off

    async for stop in _doors(play, desk):
        yield stop
    await desk.log_in(everyone)
    await expect(desk.page.locator(".empty")).to_be_visible()
    yield "host-empty", desk
    game = await everyone.game(QUIZ)
    await desk.page.reload()
    await expect(desk.page.locator(".quiz-card")).to_be_visible()
    yield "host-quizzes", desk
    await desk.page.locator(".quiz-card button.primary").click()
    await expect(desk.page.locator("dialog")).to_be_visible()
    yield "host-start", desk
    await desk.page.keyboard.press("Escape")
    quiz = (await everyone.call("GET", "/quizzes")).json()["items"][0]["id"]
    await desk.open(f"/host/quizzes/{quiz}")
    await expect(desk.page.locator("#q-prompt")).to_be_visible()
    yield "editor", desk

    async for stop in _game(game, play, desk, wall):
        yield stop
    async for stop in _troubles(game, play, wall, line):
        yield stop


async def _doors(play: Tab, desk: Tab) -> AsyncIterator[Stop]:
    await play.open("/")
    await expect(play.page.locator("#pin")).to_be_focused()
    yield "play-pin", play
    await play.page.locator("#pin").fill("000000")
    await play.page.keyboard.press("Enter")
    await play.page.locator("#name").fill("Ada")
    yield "play-name", play
    await play.page.keyboard.press("Enter")
    await expect(play.page.locator("#pin-wrong")).to_be_visible()
    yield "play-pin-wrong", play
    await play.open("/nowhere")
    yield "nowhere", play
    await desk.open("/host/login")
    await expect(desk.page.locator("#login-email")).to_be_focused()
    yield "host-login", desk
    await desk.page.keyboard.press("Enter")
    await expect(desk.page.locator("#login-email-wrong")).to_be_visible()
    yield "host-login-wrong", desk
    await desk.open("/host/login?new=")
    await expect(desk.page.locator("#login-name")).to_be_visible()
    yield "host-signup", desk


async def _game(game: Game, play: Tab, desk: Tab, wall: Tab) -> AsyncIterator[Stop]:
    await wall.screen(game)
    yield "screen-lobby-empty", wall
    await desk.open(f"/host/games/{game.id}")
    await expect(desk.page.locator(".next-bar .primary")).to_be_visible()
    yield "control-lobby-empty", desk
    bots = [await game.join(name) for name in NAMES]
    await play.join(game, "Margaret")
    await expect(wall.page.locator(".names li")).to_have_count(len(NAMES) + 1)
    yield "play-lobby", play
    yield "screen-lobby", wall
    await desk.page.locator(".control-side summary").last.click()
    await expect(desk.page.locator(".people li")).to_have_count(len(NAMES) + 1)
    yield "control-lobby", desk
    for index, one in enumerate(EVERY_KIND):
        async for stop in _question(game, bots, index, one["kind"], play, desk, wall):
            yield stop
    await game.command("finish")
    await expect(play.page.locator(".podium")).to_be_visible()
    await expect(wall.page.locator(".podium")).to_be_visible()
    await expect(desk.page.locator(".podium")).to_be_visible()
    yield "play-end", play
    yield "screen-end", wall
    yield "control-end", desk
    await desk.page.locator(".next-bar .primary").click()
    await expect(desk.page.locator("tbody tr").first).to_be_attached()
    await expect(desk.page.locator(".report canvas").first).to_be_visible()
    await desk.page.wait_for_timeout(600)  # the bars have grown
    yield "report", desk


async def _question(
    game: Game, bots: list[Player], index: int, kind: str, play: Tab, desk: Tab, wall: Tab
) -> AsyncIterator[Stop]:
    if index == 0:
        game.view = await game.open()
    else:
        await game.open()
    name = f"{index + 1}-{kind}"
    await expect(play.page.locator(".countdown")).to_be_visible()
    await expect(wall.page.locator(".countdown")).to_be_visible()
    yield f"play-{name}", play
    question = (await bots[0].state()).json()["question"]
    await asyncio.gather(*(bot.answered(index, bots_answer(question, place)) for place, bot in enumerate(bots)))
    await expect(wall.page.locator(".row .push")).to_contain_text(str(len(bots)))
    yield f"screen-{name}", wall
    if index == 0:
        await expect(desk.page.locator(".answered")).to_contain_text(str(len(bots)))
        yield "control-question", desk
    await give(play, kind)
    yield f"play-{name}-received", play
    await game.close()
    await expect(play.page.locator(".verdict-card strong")).to_be_visible()
    await expect(wall.page.locator(".bars, .cloud")).to_be_visible()
    yield f"play-{name}-result", play
    yield f"screen-{name}-result", wall
    await expect(desk.page.locator(".bars, .cloud")).to_be_visible()
    if kind in ("single", "numeric", "word_cloud"):
        yield f"control-{name}-result", desk
    if index in (0, 4):
        await game.command("leaderboard")
        for tab in (play, wall, desk):
            await expect(tab.page.locator(".board")).to_be_visible()
        yield f"play-{name}-leaderboard", play
        yield f"screen-{name}-leaderboard", wall
        if index == 0:
            yield "control-leaderboard", desk


async def _troubles(game: Game, play: Tab, wall: Tab, line: Proxy) -> AsyncIterator[Stop]:
    other = await game.host.game(QUIZ)
    await play.join(other, "Ada")
    line.closed = True
    line.cut()
    await expect(play.page.locator('.connection[data-state="lost"]')).to_be_visible()
    yield "play-lost", play
    line.heal()
    await expect(play.page.locator('.connection[data-state="live"]')).to_be_visible(timeout=20_000)
    kicked = (await other.call("GET", "/participants")).json()["items"][0]["participant_id"]
    await other.call("DELETE", f"/participants/{kicked}")
    await expect(play.page.locator("#pin-wrong")).to_be_visible()
    yield "play-kicked", play
    wall.faulty = True
    await wall.open(f"/screen/{other.id}?token=none")
    await expect(wall.page.locator("h1")).to_be_visible()
    yield "screen-refused", wall
