"""The pages' texts: every language says the same things, and every one of them is said somewhere."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from quizcast import errors

STATIC = Path(str(files("quizcast") / "static"))
LANGUAGES = sorted(path.stem for path in (STATIC / "i18n").glob("*.json"))
SCRIPTS = {
    str(path.relative_to(STATIC)): path.read_text("utf-8")
    for folder in ("ui", "play", "host", "screen")
    for path in (STATIC / folder).glob("*.js")
}
# What only a program can get wrong, or a page says in words of its own.
UNSAID = {
    "cursor_invalid",
    "error",
    "invalid",
    "malformed",
    "media_unknown",
    "method_not_allowed",
    "not_found",
    "origin_refused",
    "refresh_invalid",
    "token_missing",
    "version_stale",
}


def texts(language: str) -> dict[str, Any]:
    """One language's file, in which no key may stand twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), sorted(key for key in keys if keys.count(key) > 1)
        return dict(pairs)

    read: dict[str, Any] = json.loads((STATIC / "i18n" / f"{language}.json").read_text("utf-8"), object_pairs_hook=once)
    return read


def said() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every key that the pages ask for, with its file; one made from parts is a pattern."""
    for path, script in SCRIPTS.items():
        for call in re.finditer(r"\bt(?:List)?\(", script):
            for key in re.findall(r'"([a-z]+\.\w+)"|`([a-z]+\.[^`]*)`', first_argument(script, call.end())):
                plain, made = key
                parts = [re.escape(part) for part in re.split(r"\$\{[^}]*\}", plain or made)]
                yield path, re.compile(r"\w+".join(parts))


def first_argument(script: str, start: int) -> str:
    """From here to the comma or bracket that ends it; a choice between two keys is one argument."""
    depth = 0
    for place in range(start, len(script)):
        if script[place] in "([{":
            depth += 1
        elif (script[place] in ")]}" and (depth := depth - 1) < 0) or (script[place] == "," and depth == 0):
            return script[start:place]
    return script[start:]


def forms(text: Any) -> list[str]:
    return list(text.values()) if isinstance(text, dict) else text if isinstance(text, list) else [text]


def codes() -> set[str]:
    """Of all errors that the server answers with; those of the command line are for operators."""
    found, left = set(), [errors.QuizcastError]
    while left:
        one = left.pop()
        if one is not errors.OperatorError:
            found.add(one.code)
            left += one.__subclasses__()
    return found


def test_every_key_that_a_page_asks_for_has_a_text() -> None:
    known = texts("en")
    asked = list(said())
    assert len(asked) > 300
    assert [(path, key.pattern) for path, key in asked if not any(map(key.fullmatch, known))] == []


def test_every_text_is_asked_for_somewhere() -> None:
    asked = [key for _, key in said()]
    # Made from what comes: an error's code, the state of a connection or its fault, the name of a figure.
    made = [re.compile(r"error\.\w+"), re.compile(r"connection\.\w+"), re.compile(r"ops\.\w+")]
    assert [key for key in texts("en") if not any(one.fullmatch(key) for one in asked + made)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_the_same_keys_with_the_same_blanks(language: str) -> None:
    english, own = texts("en"), texts(language)
    assert own.keys() == english.keys()
    for key, text in own.items():
        assert isinstance(text, list) == isinstance(english[key], list), key
        assert all(isinstance(form, str) and form.strip() for form in forms(text)), key
        if isinstance(text, dict):
            assert "other" in text, key
            assert isinstance(english[key], dict) or "{n}" in english[key], key  # else nothing decides
        blanks = {blank for form in forms(text) for blank in re.findall(r"\{(\w+)\}", form)}
        assert blanks == {blank for form in forms(english[key]) for blank in re.findall(r"\{(\w+)\}", form)}, key


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_a_language_is_no_copy_of_english(language: str) -> None:
    english, own = texts("en"), texts(language)
    same = [key for key, text in own.items() if text == english[key] and re.search(r"\w \w", str(text))]
    assert same == []


def test_every_error_that_somebody_can_meet_has_a_text() -> None:
    said_so = {key.removeprefix("error.") for key in texts("en") if key.startswith("error.")}
    assert codes() - UNSAID - said_so == set()
    # What quizcast.js says by itself, and the reasons for which somebody is out.
    assert said_so - codes() == {"kicked", "timeout", "unknown", "unreachable"}


def test_the_states_of_a_connection_have_texts() -> None:
    game = (STATIC / "client" / "game.js").read_text("utf-8")
    declared = re.search(r'@property \{("connecting"[^}]*)\} state', game)
    assert declared
    states = set(re.findall(r"\w+", declared[1])) - {"over"}  # then there is nothing to tell
    assert {key.removeprefix("connection.") for key in texts("en") if key.startswith("connection.")} == states | {
        "line",
        "server",
    }
