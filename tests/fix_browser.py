"""Real Chromium against a real `quizcast serve`: one of each for the session, and a page of its own for each test.

The page is of another site, so that everything a browser demands of such is demanded here too. It reaches quizcast by
a line that tests may cut. What goes wrong in a page fails its test: errors, and requests to anybody else.
"""

import http.server
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

from tests.client import Api, Game
from tests.faults.proxy import Proxy
from tests.fix_tree import Tree, environment

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_S = 20.0
# How a browser reports a request that had no good end; a matter of course where the line is cut or an answer refused.
FAULT = "Failed to load resource"
PAGE = b"""<!doctype html>
<html lang="en"><title>A page of another site</title>
<script type="module">
import * as quizcast from "/quizcast.js";
const EVENTS = ["snapshot", "question", "extended", "closed", "result", "leaderboard", "finished", "lobby", "progress",
  "heartbeat", "kicked", "reset", "drain"];
Object.assign(window, quizcast, {
  /** Take part in a game, and note what happens. */
  play(options) {
    Object.assign(window, { seen: [], lines: [], answers: [] });
    const game = window.game = new quizcast.Game(options);
    for (const name of EVENTS) game.addEventListener(name, ({ detail }) => seen.push({ name, data: detail }));
    game.addEventListener("connection", ({ detail }) => lines.push(detail));
    window.outbox = new quizcast.Outbox(game, options.outbox);
    outbox.addEventListener("change", ({ detail }) => answers.push(detail));
    game.start();
  },
  named: (name) => seen.filter((event) => event.name === name).map((event) => event.data),
});
</script>
"""
GUIDE = (Path(__file__).parents[1] / "docs" / "client.md").read_text("utf-8")
EXAMPLE = GUIDE.split("<!-- a page -->\n```html\n")[1].split("```\n<!-- end a page -->")[0]
PAGES = {"/": PAGE, "/player.html": EXAMPLE.encode(), "/favicon.ico": b""}


class Elsewhere(http.server.SimpleHTTPRequestHandler):
    """Another site: pages that know nothing of quizcast but `quizcast.js`, with the static files beside them."""

    # As the standard has it: what a machine thinks of `.js` differs.
    extensions_map: ClassVar = {".js": "text/javascript"}

    def do_GET(self) -> None:
        """The pages, and files beside them."""
        page = PAGES.get(urlsplit(self.path).path)
        if page is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Phone:
    """A page that takes part in one game: `play()` begins, `until` waits for what its scripts say."""

    def __init__(self, page: Page, site: str, server: str) -> None:
        self.page = page
        self.site = site
        self.server = server
        self.options: dict[str, Any] = {}
        self.faulty = False  # the test breaks requests, which the browser reports
        self.troubles: list[str] = []
        self._origins = {urlsplit(address).netloc for address in (site, server)}
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not (self.faulty and message.text.startswith(FAULT)):
            self.troubles.append(message.text)

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https") and url.netloc not in self._origins:
            self.troubles.append(f"a request to {url.netloc}")

    async def open(self) -> None:
        """Load the page, or load it again."""
        await self.page.goto(self.site)
        await self.page.wait_for_function("window.Game !== undefined")

    async def join(self, game: Game, nickname: str) -> None:
        """Become a participant, in the page."""
        who = {"pin": game.pin, "nickname": nickname}
        joined = await self.page.evaluate("([server, who]) => join(server, who)", [self.server, who])
        self.options = {"server": self.server, **joined}

    async def play(self, **options: Any) -> None:
        """Listen to the game, and wait for the first picture."""
        await self.page.evaluate("(options) => play(options)", self.options | options)
        await self.until("game.view.phase !== null")

    async def until(self, holds: str, timeout_s: float = WAIT_S) -> None:
        """Wait until this expression is true in the page."""
        try:
            await self.page.wait_for_function(holds, timeout=timeout_s * 1000, polling=20)
        except Exception as error:
            said = await self.page.evaluate("JSON.stringify([game.connection, game.view, answers, lines], null, 1)")
            raise AssertionError(f"not so in {timeout_s:g} s: {holds}\n{said}") from error

    async def get(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return await self.page.evaluate(expression)


@pytest.fixture(scope="session")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """`quizcast serve` with two web processes, quick heartbeats, and open to pages of all sites."""
    quick = environment(
        cors_origins="*", heartbeat_s="1", drain_s="1", register_per_hour="100000", login_per_minute="100000"
    )
    running = Tree(tmp_path_factory.mktemp("hall") / "data", "--web", "2", env=quick)
    yield running
    running.end()


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[str]:
    """The address of the other site."""
    handler = partial(Elsewhere, directory=str(files("quizcast") / "static"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def line(hall: Tree) -> Iterator[Proxy]:
    """The line from the page to quizcast."""
    with Proxy(("127.0.0.1", hall.port)) as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("the tests in a browser need Chromium (Debian: chromium)")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser's profile of its own: what tabs of one participant share."""
    made = await browser.new_context()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_phone(context: BrowserContext, elsewhere: str, line: Proxy) -> AsyncIterator[Any]:
    """Opens tabs in which somebody may take part; what went wrong in one fails the test."""
    phones: list[Phone] = []

    async def opened() -> Phone:
        phone = Phone(await context.new_page(), elsewhere, f"http://127.0.0.1:{line.port}")
        phones.append(phone)
        await phone.open()
        return phone

    yield opened
    for phone in phones:
        assert phone.troubles == []


@pytest_asyncio.fixture(loop_scope="session")
async def phone(open_phone: Any) -> Phone:
    """One tab."""
    opened: Phone = await open_phone()
    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def hall_api(hall: Tree) -> AsyncIterator[Api]:
    """A client of the hall, by a line that nobody cuts."""
    async with Api(hall.url) as client:
        yield client
