"""Every page in every phase: nothing that axe finds, nothing that does not fit, no word that is in no file of texts."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from tests.browser.looks import misfits, still, words
from tests.browser.tour import NAMES, tour
from tests.client import Api
from tests.faults.proxy import Proxy
from tests.fix_pages import DESK, EVERY_KIND, PHONE, QUIZ, Visit, shown

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "build" / "screens"
TEXTS = ROOT / "quizcast" / "static" / "i18n"
SIZES = {"phone": PHONE, "desktop": DESK}
# Every page in light and in dark, at a phone's size and at a desktop's, and in every language but English, in which all
# other tests are. `make screens` takes pictures of all four looks.
LOOKS = [("phone", "light", "de-CH"), ("desktop", "dark", "fr-FR"), ("phone", "dark", "es-MX")]
MARKED = "de-CH"  # in which each text of the file has marks: what a page says without them is in no file
PICTURES = "SCREENS" in os.environ
if PICTURES:
    LOOKS = [(size, scheme, "en-US") for size in SIZES for scheme in ("light", "dark")]


async def violations(page: Page) -> list[dict[str, Any]]:
    found = (await Axe().run(page)).response["violations"]
    return [
        {
            "rule": one["id"],
            "help": one["help"],
            "at": [node["html"][:160] + " · " + node["failureSummary"][-200:] for node in one["nodes"][:3]],
        }
        for one in found
    ]


def marked(text: Any) -> Any:
    """A text that shows that it has come from the file."""
    if isinstance(text, dict):
        return {form: marked(one) for form, one in text.items()}
    return [marked(one) for one in text] if isinstance(text, list) else f"«{text}»"


def texts(language: str) -> dict[str, Any]:
    """All that the pages say in a language."""
    said: dict[str, Any] = json.loads((TEXTS / f"{language}.json").read_text("utf-8"))
    return said


def foreign(language: str) -> set[str]:
    """What is said in English, and otherwise in this language."""
    english, own = ({text for text in texts(one).values() if isinstance(text, str)} for one in ("en", language))
    return english - own


CHOICES = {choice["text"] for question in EVERY_KIND for choice in question.get("choices", [])}
WRITTEN = {*NAMES, "Margaret", QUIZ["title"], "https://…"} | {question["prompt"] for question in EVERY_KIND} | CHOICES


def unmarked(said: list[str]) -> list[str]:
    """Of what a page says, what neither a file of texts has nor people have written."""
    lines = [re.sub(r"«[^«»]*(«[^«»]*»[^«»]*)*»", "", text.removesuffix(" · quizcast")) for text in said]
    return [line for line in lines if re.search(r"[^\W\d_]{2}", line) and not any(one in line for one in WRITTEN)]


@pytest.mark.parametrize(("size", "scheme", "locale"), LOOKS, ids=[" ".join(look) for look in LOOKS])
async def test_axe_finds_nothing_on_any_page_and_everything_fits_and_is_said_in_the_browsers_language(
    hall_api: Api, visit: Visit, line: Proxy, size: str, scheme: str, locale: str
) -> None:
    wrong: dict[str, Any] = {}
    folder = SCREENS / f"{size}-{scheme}"
    language = locale[:2]
    body = json.dumps(marked(texts(language)))

    async def visit_marked(**options: Any) -> Any:
        tab = await visit(**options)
        await tab.page.route(
            f"**/i18n/{language}.json", lambda route: route.fulfill(body=body, content_type="application/json")
        )
        return tab

    look = {"size": SIZES[size], "color_scheme": scheme, "locale": locale}
    async for name, tab in tour(hall_api, visit_marked if locale == MARKED else visit, line, **look):
        await still(tab.page)
        if PICTURES:
            await tab.page.screenshot(path=folder / f"{name}.png", full_page=not name.startswith("screen"))
        found: list[Any] = [*await violations(tab.page), *await misfits(tab.page)]
        if name != "nowhere":  # which runs no script
            said = await words(tab.page)
            found += unmarked(said) if locale == MARKED else foreign(language).intersection(said)
            found += [] if await tab.page.evaluate("document.documentElement.lang") == language else ["lang"]
        if found:
            wrong[name] = found
    assert not wrong, shown(wrong)
