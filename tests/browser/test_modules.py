"""What browsers load: every module is sound, and a page is light."""

import gzip
from importlib.resources import files
from pathlib import Path

import pytest

from tests.client import Api
from tests.fix_pages import PHONE, QUIZ, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATIC = Path(str(files("quizcast") / "static"))
MODULES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
PAGES = {"play/main.js": "/", "host/main.js": "/host/login", "screen/main.js": "/screen/none"}
KIB = 1024
PLAY_MAX = 150 * KIB  # gzip, all in all: what the slowest phone line in the room has to carry


async def test_every_module_loads_and_finds_what_it_imports(visit: Visit) -> None:
    tab = await visit()
    tab.faulty = True
    await tab.open("/")
    base = await tab.page.evaluate("document.documentElement.dataset.static")
    load = "async (address) => { try { await import(address); } catch (error) { return String(error); } }"
    # A page's own module has run on its page already; elsewhere it would draw a second page.
    broken = {path: await tab.page.evaluate(load, base + path) for path in MODULES if path not in PAGES}
    assert {path: error for path, error in broken.items() if error} == {}
    for address in PAGES.values():
        await tab.open(address)
        await tab.page.locator("#app > *").first.wait_for()


@pytest.mark.parametrize("locale", ["en-US", "de-DE", "es-ES", "fr-FR"])
async def test_the_play_page_weighs_less_than_150_kib(hall_api: Api, visit: Visit, locale: str) -> None:
    game = await (await hall_api.host()).game(QUIZ)
    tab = await visit(**PHONE, locale=locale)
    loaded: dict[str, int] = {}
    addresses: list[str] = []
    tab.page.on("requestfinished", lambda request: addresses.append(request.url))
    await tab.join(game, "Ada")
    await game.open()
    await tab.page.locator(".tile").first.wait_for()
    for address in dict.fromkeys(addresses):
        path = address.partition(tab.url)[2]
        if not path.startswith("/api/"):
            reply = await tab.page.context.request.get(address, headers={"Accept-Encoding": "gzip"})
            loaded[path] = len(gzip.compress(await reply.body(), 9))
    total = sum(loaded.values())
    print(f"\nthe play page, {locale}: {total / KIB:.1f} KiB gzip in {len(loaded)} files")
    assert any(path.endswith(f"i18n/{locale[:2]}.json") for path in loaded)
    assert total < PLAY_MAX
