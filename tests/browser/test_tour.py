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
# Every page in light and in dark, at a phone's size and at a desktop's. `make screens` wants all four, with pictures.
LOOKS = [("phone", "light"), ("desktop", "dark")]
PICTURES = "SCREENS" in os.environ
if PICTURES:
    LOOKS += [("phone", "dark"), ("desktop", "light")]


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


@pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=[" ".join(look) for look in LOOKS])
async def test_axe_finds_nothing_on_any_page_and_everything_fits(
    hall_api: Api, visit: Visit, line: Proxy, size: str, scheme: str
) -> None:
    wrong: dict[str, Any] = {}
    folder = SCREENS / f"{size}-{scheme}"
    async for name, tab in tour(hall_api, visit, line, size=SIZES[size], color_scheme=scheme):
        await still(tab.page)
        if PICTURES:
            await tab.page.screenshot(path=folder / f"{name}.png", full_page=not name.startswith("screen"))
        found = [*await violations(tab.page), *await misfits(tab.page)]
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


@pytest.mark.parametrize(("locale", "size"), [("de-CH", "phone"), ("es-MX", "desktop"), ("fr-FR", "phone")])
async def test_pages_speak_the_browsers_language_and_nothing_runs_over(
    hall_api: Api, visit: Visit, line: Proxy, locale: str, size: str
) -> None:
    language = locale[:2]
    english = json.loads((TEXTS / "en.json").read_text("utf-8"))
    own = json.loads((TEXTS / f"{language}.json").read_text("utf-8"))
    foreign = {text for key, text in english.items() if isinstance(text, str) and text != own[key]}
    foreign -= {text for text in own.values() if isinstance(text, str)}
    wrong: dict[str, Any] = {}
    async for name, tab in tour(hall_api, visit, line, size=SIZES[size], locale=locale):
        found = [line for line in await words(tab.page) if line in foreign]
        found += await misfits(tab.page)
        said = await tab.page.evaluate("document.documentElement.lang")
        if name != "nowhere" and (found or said != language):  # which runs no script
            wrong[name] = [said, *found]
    assert not wrong, shown(wrong)
