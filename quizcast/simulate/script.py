"""What a simulated game asks and what its participants say: a quiz of every kind, right and wrong answers; floor 8.

A question's answers are encoded once for the whole crowd. Whether one is right is known from the quiz, not from the
server, so that the server's marking can be checked; for a question of which only the pushed view is known, it is None.
"""

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from quizcast.simulate.events import Question

KINDS: tuple[dict[str, Any], ...] = (
    {
        "kind": "single",
        "prompt": "Which planet is the largest?",
        "choices": [
            {"text": "Mars", "correct": False},
            {"text": "Jupiter", "correct": True},
            {"text": "Venus", "correct": False},
            {"text": "Neptune", "correct": False},
        ],
    },
    {
        "kind": "multiple",
        "prompt": "Which of these are prime?",
        "choices": [
            {"text": "7", "correct": True},
            {"text": "9", "correct": False},
            {"text": "11", "correct": True},
            {"text": "15", "correct": False},
        ],
    },
    {"kind": "true_false", "prompt": "Sound travels faster in water than in air.", "correct": True},
    {
        "kind": "numeric",
        "prompt": "At how many degrees Celsius does water boil at sea level?",
        "correct": 100,
        "tolerance": 2,
        "min": 0,
        "max": 500,
    },
    {"kind": "text", "prompt": "Which gas do plants take in?", "accepted": ["carbon dioxide", "CO2"]},
    {
        "kind": "order",
        "prompt": "From the shortest to the longest:",
        "items": ["second", "minute", "hour", "day"],
    },
    {"kind": "poll", "prompt": "When do you like to learn?", "choices": [{"text": "mornings"}, {"text": "evenings"}]},
    {"kind": "word_cloud", "prompt": "Describe today in one word."},
)
WORDS = ("bright", "long", "busy", "calm", "curious", "sunny")
WRONG_TEXT = "none of the accepted ones"
UNMARKED = frozenset({"poll", "word_cloud"})


def quiz(questions: int, time_limit_ms: int) -> dict[str, Any]:
    """The body of `POST /quizzes` for a quiz that goes through all kinds in turn."""
    return {
        "title": "Simulated game",
        "description": "Made by `quizcast simulate`; it may be deleted.",
        "language": "en",
        "questions": [
            {**KINDS[n % len(KINDS)], "time_limit_ms": time_limit_ms, "explanation": "See any encyclopaedia."}
            for n in range(questions)
        ],
    }


class Say(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One possible answer: its value, the request body that says it, and whether it is right (None: not known)."""

    value: Any
    body: bytes
    right: bool | None


class Lines:
    """What there is to say to one question."""

    def __init__(self, asked: Question, known: Mapping[str, Any] | None, *, msgpack: bool) -> None:
        encode = msgspec.msgpack.encode if msgpack else msgspec.json.encode

        def say(value: Any, right: bool | None) -> Say:
            return Say(value=value, body=encode({"question": asked.index, "answer": value}), right=right)

        rights, others = _known(asked, known) if known else ([], _guesses(asked))
        marked = known is not None and asked.kind not in UNMARKED
        self.right = [say(value, True) for value in rights]
        self.other = [say(value, False if marked else None) for value in others]

    def choose(self, rng: random.Random, right_share: float) -> Say | None:
        """A right answer in `right_share` of the cases, where there is one. None for a kind unknown here."""
        pool = self.right if self.right and (not self.other or rng.random() < right_share) else self.other
        return rng.choice(pool) if pool else None


def _texts(choices: list[Any]) -> list[str]:
    return [choice["text"] if isinstance(choice, Mapping) else choice for choice in choices]


def _known(asked: Question, known: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Right values, and others that are surely wrong (or, where nothing is right, all)."""
    match asked.kind:
        case "single":
            flags = [choice.get("correct", False) for choice in known["choices"]]
            places = range(len(flags))
            return [n for n in places if flags[n]], [n for n in places if not flags[n]]
        case "multiple":
            flags = [choice.get("correct", False) for choice in known["choices"]]
            wrong = [[n] for n, flag in enumerate(flags) if not flag]
            return [[n for n, flag in enumerate(flags) if flag]], wrong
        case "true_false":
            return [known["correct"]], [not known["correct"]]
        case "numeric":
            return [known["correct"]], _wrong_numbers(known)
        case "text":
            return list(known["accepted"]), [WRONG_TEXT]
        case "order":
            sent = _texts(asked.choices)
            right = [sent.index(item) for item in known["items"]]
            return [right], [right[1:] + right[:1]]
        case _:
            return [], _guesses(asked)


def _wrong_numbers(known: Mapping[str, Any]) -> list[float]:
    beyond = (known.get("tolerance") or 0) + 1
    low, high = known.get("min"), known.get("max")
    numbers = (known["correct"] + beyond, known["correct"] - beyond)
    return [n for n in numbers if (low is None or n >= low) and (high is None or n <= high)]


def _guesses(asked: Question) -> list[Any]:
    """Valid answers for somebody who knows only what was pushed."""
    places = list(range(len(asked.choices)))
    match asked.kind:
        case "single" | "poll":
            return list(places)
        case "multiple":
            return [[n] for n in places]
        case "true_false":
            return [True, False]
        case "numeric":
            low = asked.min if asked.min is not None else 0
            return [low, asked.max if asked.max is not None else low + 10]
        case "text" | "word_cloud":
            return list(WORDS)
        case "order":
            return [places, places[::-1]]
        case _:
            return []
