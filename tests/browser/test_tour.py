"""Every page in every phase: nothing that axe finds, nothing that does not fit, no word in another language."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Route

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


def foreign(language: str) -> set[str]:
    """What is said in English, and otherwise in this language."""
    english = json.loads((TEXTS / "en.json").read_text("utf-8"))
    own = json.loads((TEXTS / f"{language}.json").read_text("utf-8"))
    said = {text for text in own.values() if isinstance(text, str)}
    return {text for text in english.values() if isinstance(text, str)} - said


@pytest.mark.parametrize(("size", "scheme", "locale"), LOOKS, ids=[" ".join(look) for look in LOOKS])
async def test_axe_finds_nothing_on_any_page_and_everything_fits_in_the_browsers_language(
    hall_api: Api, visit: Visit, line: Proxy, size: str, scheme: str, locale: str
) -> None:
    wrong: dict[str, Any] = {}
    folder = SCREENS / f"{size}-{scheme}"
    language = locale[:2]
    async for name, tab in tour(hall_api, visit, line, size=SIZES[size], color_scheme=scheme, locale=locale):
        await still(tab.page)
        if PICTURES:
            await tab.page.screenshot(path=folder / f"{name}.png", full_page=not name.startswith("screen"))
        found: list[Any] = [*await violations(tab.page), *await misfits(tab.page)]
        if name != "nowhere":  # which runs no script
            found += [text for text in await words(tab.page) if text in foreign(language)]
            found += [] if await tab.page.evaluate("document.documentElement.lang") == language else ["lang"]
        if found:
            wrong[name] = found
    assert not wrong, shown(wrong)


def marked(text: Any) -> Any:
    """A text that shows that it has come from the file."""
    if isinstance(text, dict):
        return {form: marked(one) for form, one in text.items()}
    return [marked(one) for one in text] if isinstance(text, list) else f"«{text}»"


async def test_no_page_says_a_word_that_is_not_in_the_files_of_texts(hall_api: Api, visit: Visit, line: Proxy) -> None:
    texts = json.loads((TEXTS / "de.json").read_text("utf-8"))
    body = json.dumps({key: marked(text) for key, text in texts.items()})

    async def answer(route: Route) -> None:
        await route.fulfill(body=body, content_type="application/json")

    async def visit_marked(**options: Any) -> Any:
        tab = await visit(**options)
        await tab.page.route("**/i18n/de.json", answer)
        return tab

    wrong: dict[str, list[str]] = {}
    choices = {choice["text"] for question in EVERY_KIND for choice in question.get("choices", [])}
    own = {*NAMES, "Margaret", QUIZ["title"], "https://…"} | {question["prompt"] for question in EVERY_KIND} | choices
    async for name, tab in tour(hall_api, visit_marked, line, locale="de-DE"):
        if name == "nowhere":
            continue  # it runs no script
        said = [text.removesuffix(" · quizcast") for text in await words(tab.page)]
        lines = [re.sub(r"«[^«»]*(«[^«»]*»[^«»]*)*»", "", text) for text in said]
        found = [line for line in lines if re.search(r"[^\W\d_]{2}", line) and not any(one in line for one in own)]
        if found:
            wrong[name] = found
    assert not wrong, shown(wrong)
