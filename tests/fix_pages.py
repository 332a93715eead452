"""quizcast's own pages in real Chromium, each tab of a browser of its own: a phone, a desk, a wall.

What goes wrong in a tab fails its test: errors, also of the Content-Security-Policy, and requests to anybody else.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from tests.client import PASSWORD, Game, Host
from tests.faults.proxy import Proxy
from tests.fix_browser import FAULT
from tests.fix_tree import Tree

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
WALL: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}}

EVERY_KIND: list[dict[str, Any]] = [
    {
        "kind": "single",
        "prompt": "Which planet has rings that you can see in a small telescope?",
        "choices": [{"text": "Mars"}, {"text": "Saturn", "correct": True}, {"text": "Venus"}, {"text": "Mercury"}],
        "explanation": "They are of ice and rock, and thinner than a hill is high.",
    },
    {
        "kind": "multiple",
        "prompt": "Which of these numbers are prime?",
        "choices": [{"text": "9"}, {"text": "11", "correct": True}, {"text": "13", "correct": True}, {"text": "15"}],
    },
    {"kind": "true_false", "prompt": "A violin has four strings.", "correct": True},
    {
        "kind": "numeric",
        "prompt": "How many keys has a grand piano?",
        "correct": 88,
        "tolerance": 20,
        "min": 0,
        "max": 200,
    },
    {"kind": "text", "prompt": "What is the capital of Iceland?", "accepted": ["Reykjavík", "Reykjavik"]},
    {
        "kind": "order",
        "prompt": "From the smallest to the largest!",
        "items": ["Mercury", "Mars", "Earth", "Jupiter"],
    },
    {
        "kind": "poll",
        "prompt": "Where should the class trip go?",
        "choices": [{"text": "To the museum"}, {"text": "To the zoo"}, {"text": "To the theatre"}],
    },
    {"kind": "word_cloud", "prompt": "One word: how was today?"},
]
QUIZ: dict[str, Any] = {
    "title": "A bit of everything",
    "questions": [{"time_limit_ms": 60_000, **one} for one in EVERY_KIND],
}
RIGHT: list[Any] = [1, [1, 2], True, 88, "Reykjavík", ["Mercury", "Mars", "Earth", "Jupiter"], 1, "sunny"]


class Tab:
    """One of quizcast's pages in somebody's browser."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faulty = False  # the test breaks requests or lets them be refused, which the browser reports
        self.elsewhere: set[str] = set()  # where pictures come from, too
        self.troubles: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (self.faulty and message.text.startswith(FAULT)):
            self.troubles.append(message.text)

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https") and url.netloc not in {urlsplit(self.url).netloc, *self.elsewhere}:
            self.troubles.append(f"a request to {url.netloc}")

    async def open(self, path: str) -> None:
        """Load an address."""
        await self.page.goto(self.url + path)

    def button(self, name: str) -> Locator:
        """The button with this name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def text(self, words: str) -> Locator:
        """What says this."""
        return self.page.get_by_text(words).first

    async def shows(self, words: str, timeout_s: float = 15.0) -> None:
        """Wait until this can be read."""
        await expect(self.text(words)).to_be_visible(timeout=timeout_s * 1000)

    async def join(self, game: Game, nickname: str) -> None:
        """Join a game by its link, in English."""
        await self.open(f"/join/{game.pin}")
        await self.page.locator("#name").fill(nickname)
        await self.page.locator("#name").press("Enter")
        await self.shows(nickname)
        await expect(self.page.locator("#name")).to_have_count(0)

    async def log_in(self, host: Host, path: str = "/host") -> None:
        """Log in, in whatever language, and open this address."""
        await self.open(f"/host/login?next={path}")
        await self.page.locator("#login-email").fill(host.email)
        await self.page.locator("#login-password").fill(PASSWORD)
        await self.page.locator("#login-password").press("Enter")
        await self.page.wait_for_url(f"**{path}")

    async def screen(self, game: Game) -> None:
        """Show the game's screen."""
        await self.open(f"/screen/{game.id}?token={await game.screen()}")
        await expect(self.page.locator(".screen")).to_be_visible()


Visit = Callable[..., Awaitable[Tab]]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, hall: Tree) -> AsyncIterator[Visit]:
    """Opens tabs in browsers of their own: `visit(**options of the browser's context)`, or with `by` over a line."""
    tabs: list[Tab] = []

    async def opened(by: Proxy | None = None, url: str = hall.url, **options: Any) -> Tab:
        context = await browser.new_context(**({"locale": "en-US"} | options))
        tabs.append(Tab(await context.new_page(), f"http://127.0.0.1:{by.port}" if by else url))
        return tabs[-1]

    yield opened
    for tab in tabs:
        await tab.page.context.close()
    assert [trouble for tab in tabs for trouble in tab.troubles] == []


async def place_of(page: Page, words: str) -> int:
    """Where an item stands in the list that is put in order, from 0."""
    items = await page.locator(".order li > span[dir]").all_inner_texts()
    return [one.strip() for one in items].index(words)


async def tap(page: Page, kind: str, answer: Any) -> None:
    """Give an answer by hand; items are put in order by dragging, a choice is its place."""
    match kind:
        case "single" | "poll":
            await page.locator(".tile").nth(answer).tap()
        case "multiple":
            for choice in answer:
                await page.locator(".tile").nth(choice).tap()
        case "true_false":
            await page.locator(".tile").nth(0 if answer else 1).tap()
        case "numeric":
            await page.locator("#number").fill(str(answer))
        case "text" | "word_cloud":
            await page.locator("#text").fill(answer)
        case "order":
            for to, words in enumerate(answer):
                await drag(page, await place_of(page, words), to)
    send = page.get_by_role("button", name="Send", exact=True)
    if kind == "order":
        await send.click()  # after a drag that is made of its touches, Chromium makes no click of the driver's taps
    elif kind in ("multiple", "numeric", "text", "word_cloud"):
        await send.tap()


async def drag(page: Page, start: int, to: int) -> None:
    """Move a line of the list to another's place, as a finger does."""
    if start == to:
        return
    items = page.locator(".order li")
    first, last = await items.nth(start).bounding_box(), await items.nth(to).bounding_box()
    assert first
    assert last
    x, y = first["x"] + 30, first["y"] + first["height"] / 2
    goal = last["y"] + last["height"] / 2 + (12 if to > start else -12)
    finger = await page.context.new_cdp_session(page)

    async def touch(kind: str, at: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x, "y": at}]
        await finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    await touch("touchStart", y)
    for step in range(1, 9):
        await touch("touchMove", y + (goal - y) * step / 8)
    await touch("touchEnd", goal)
    await finger.detach()


def shown(value: object) -> str:
    """For messages of failures."""
    return json.dumps(value, ensure_ascii=False, indent=1)
