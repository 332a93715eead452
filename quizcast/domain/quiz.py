"""Quizzes and the eight kinds of question; floor 3, pure.

A question kind is one Struct, tagged by `kind` on the wire. What differs between kinds is said in five functions
that `match` over all of them: `read_answer` (is it an answer to this?), `mark` (how right is it?),
`correct_answer` (what would be?), `tally` (what did everybody say?) and `listed` (what is there to choose from?).
Shapes and limits are in the types; what types cannot say is in `problems`.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, TypeAlias, assert_never

import msgspec
from msgspec import Meta

from quizcast.errors import AnswerInvalid, Problem

MINUTE_MS = 60_000
TALLY_MAX = 100  # distinct free answers in a distribution; a hall typing words must not make an endless event
TEXT_MAX = 200  # characters of an answer that is written
WORD_MAX = 60
PLAIN = ".15g"  # numbers as people write them; all the digits that a float surely keeps
JOINERS = "\u200c\u200d"  # invisible, but Persian words and family emoji need them
# A web address or a path of this server's, of which a page can make an attribute without a thought. `//x` is neither.
_MEDIA = re.compile(r"""(https?://[^/\s"'<>\\`]+|/(?![/\\]))[^\s"<>\\`]*""")

Prompt: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1000)]
Label: TypeAlias = Annotated[str, Meta(min_length=1, max_length=300)]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the choices of a `single` or `multiple` question."""

    text: Label
    correct: bool = False


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One of the choices of a poll: nothing is correct."""

    text: Label


Choices: TypeAlias = Annotated[tuple[Choice, ...], Meta(min_length=2, max_length=8)]
Options: TypeAlias = Annotated[tuple[Option, ...], Meta(min_length=2, max_length=8)]


class _Question(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    prompt: Prompt
    time_limit_ms: Annotated[int, Meta(ge=1000, le=60 * MINUTE_MS)] = 20_000
    points: Annotated[int, Meta(ge=0, le=10_000)] = 1000  # 0 = practice
    explanation: Annotated[str, Meta(max_length=2000)] = ""
    media_url: Annotated[str, Meta(max_length=2000)] = ""


class Single(_Question, frozen=True, kw_only=True, tag="single"):
    """Exactly one choice is correct; the answer is its index."""

    choices: Choices


class Multiple(_Question, frozen=True, kw_only=True, tag="multiple"):
    """One or more choices are correct; the answer is the list of their indexes, in any order."""

    choices: Choices


class TrueFalse(_Question, frozen=True, kw_only=True, tag="true_false"):
    """A statement; the answer is a bool."""

    correct: bool


class Numeric(_Question, frozen=True, kw_only=True, tag="numeric"):
    """An estimate; right within `tolerance`, and worth more the closer it is."""

    correct: float
    tolerance: Annotated[float, Meta(ge=0)] = 0.0
    min: float | None = None
    max: float | None = None


class Text(_Question, frozen=True, kw_only=True, tag="text"):
    """A word or phrase, compared after NFKC, case folding and trimming."""

    accepted: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=50)]


class Order(_Question, frozen=True, kw_only=True, tag="order"):
    """Items to put in order; `items` holds them in the right one, participants get them shuffled."""

    items: Annotated[tuple[Label, ...], Meta(min_length=2, max_length=8)]


class Poll(_Question, frozen=True, kw_only=True, tag="poll"):
    """An opinion among choices: no points, nothing correct."""

    choices: Options


class WordCloud(_Question, frozen=True, kw_only=True, tag="word_cloud"):
    """A word from everybody: no points, nothing correct."""


Question: TypeAlias = Single | Multiple | TrueFalse | Numeric | Text | Order | Poll | WordCloud
Answer: TypeAlias = bool | int | float | str | tuple[int, ...]
Shuffle: TypeAlias = tuple[int, ...]  # of an `order` question: place `i` of the list as sent shows `items[shuffle[i]]`


class QuizContent(msgspec.Struct, frozen=True, kw_only=True):
    """What an author writes."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    description: Annotated[str, Meta(max_length=2000)] = ""
    language: Annotated[str, Meta(min_length=2, max_length=35)] = "en"  # a BCP 47 tag
    questions: Annotated[tuple[Question, ...], Meta(max_length=500)] = ()


class Quiz(QuizContent, frozen=True, kw_only=True):
    """A stored quiz; `version` counts its changes from 1."""

    id: str
    version: int


def problems(content: QuizContent) -> list[Problem]:
    """Everything that the types let through and a game could not bear, with paths like `questions[2].choices`."""
    found = [*_written_problems("title", content.title), *_text_problems("description", content.description)]
    if not content.language.replace("-", "").isalnum() or not content.language.isascii():
        found.append(Problem(path="language", message="must be a language tag such as 'en' or 'pt-BR'"))
    for place, question in enumerate(content.questions):
        path = f"questions[{place}]"
        found.extend(_written_problems(f"{path}.prompt", question.prompt))
        found.extend(_text_problems(f"{path}.explanation", question.explanation))
        found.extend(_text_problems(f"{path}.media_url", question.media_url))
        if question.media_url and not _MEDIA.fullmatch(question.media_url):
            found.append(Problem(path=f"{path}.media_url", message="must be an http(s) address or a path"))
        found.extend(_question_problems(path, question))
    return found


def _question_problems(path: str, question: Question) -> Iterator[Problem]:
    match question:
        case Single(choices=choices) | Multiple(choices=choices):
            right = sum(choice.correct for choice in choices)
            if isinstance(question, Single) and right != 1:
                yield Problem(path=f"{path}.choices", message=f"exactly one must be correct, not {right}")
            if right == 0 and isinstance(question, Multiple):
                yield Problem(path=f"{path}.choices", message="at least one must be correct")
            yield from _label_problems(f"{path}.choices", [choice.text for choice in choices])
        case Poll(choices=options):
            yield from _label_problems(f"{path}.choices", [option.text for option in options])
        case Order(items=items):
            yield from _label_problems(f"{path}.items", items)
        case Text(accepted=accepted):
            for place, text in enumerate(accepted):
                yield from _text_problems(f"{path}.accepted[{place}]", text)
                if not folded(text):
                    yield Problem(path=f"{path}.accepted[{place}]", message="must not be blank")
        case Numeric():
            numbers = [question.correct, question.tolerance, question.min or 0.0, question.max or 0.0]
            if not all(map(math.isfinite, numbers)):
                yield Problem(path=path, message="numbers must be finite")
            low = -math.inf if question.min is None else question.min
            high = math.inf if question.max is None else question.max
            if not low <= question.correct <= high:
                yield Problem(path=f"{path}.correct", message="must lie between min and max")
        case TrueFalse() | WordCloud():
            pass
        case _:
            assert_never(question)


def _label_problems(path: str, labels: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for place, label in enumerate(labels):
        yield from _text_problems(f"{path}[{place}]", label)
        if not label.strip():
            yield Problem(path=f"{path}[{place}]", message="must not be blank")
        elif label.strip() in seen:
            yield Problem(path=f"{path}[{place}]", message="is there twice")
        seen.add(label.strip())


def _written_problems(path: str, text: str) -> Iterator[Problem]:
    yield from _text_problems(path, text)
    if not text.strip():
        yield Problem(path=path, message="must not be blank")


def _text_problems(path: str, text: str) -> Iterator[Problem]:
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t" for char in text):
        yield Problem(path=path, message="must not contain control characters")


def folded(text: str) -> str:
    """Text as answers are compared: NFKC, case folded, trimmed, runs of blanks as one."""
    folds = unicodedata.normalize("NFKC", text).casefold()
    # Folding may undo the composing, and composing the folding: once more makes it the same for good.
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folds).casefold()).split())


def read_answer(question: Question, raw: object) -> Answer:
    """What a participant sent, as an answer to this question, in one canonical form.

    Raises `AnswerInvalid` when it has the wrong type or is out of range.
    """
    match question:
        case Single(choices=choices) | Poll(choices=choices):
            return _index(raw, len(choices))
        case Multiple(choices=choices):
            picks = _indexes(raw, len(choices))
            if not picks:
                raise AnswerInvalid("pick at least one choice")
            return tuple(sorted(picks))
        case TrueFalse():
            if not isinstance(raw, bool):
                raise AnswerInvalid("the answer is true or false")
            return raw
        case Numeric():
            return _number(raw, question)
        case Text():
            return _words(raw, TEXT_MAX)
        case Order(items=items):
            picks = _indexes(raw, len(items))
            if len(picks) != len(items):
                raise AnswerInvalid(f"put all {len(items)} items in order")
            return picks
        case WordCloud():
            return _words(raw, WORD_MAX)
        case _:
            assert_never(question)


def _index(raw: object, count: int) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw < count:
        raise AnswerInvalid(f"the answer is a number from 0 to {count - 1}")
    return raw


def _indexes(raw: object, count: int) -> tuple[int, ...]:
    if not isinstance(raw, list | tuple) or len(raw) > count:
        raise AnswerInvalid(f"the answer is a list of up to {count} numbers")
    picks = tuple(_index(item, count) for item in raw)
    if len(set(picks)) != len(picks):
        raise AnswerInvalid("no number may be there twice")
    return picks


def _number(raw: object, question: Numeric) -> float:
    if not isinstance(raw, (int, float)) or isinstance(raw, bool) or abs(raw) > 1e300 or raw != raw:
        raise AnswerInvalid("the answer is a number")
    number = float(raw) + 0.0  # minus nought becomes nought
    if question.min is not None and number < question.min:
        raise AnswerInvalid(f"the answer is {question.min:{PLAIN}} or more")
    if question.max is not None and number > question.max:
        raise AnswerInvalid(f"the answer is {question.max:{PLAIN}} or less")
    return number


def _words(raw: object, most: int) -> str:
    if not isinstance(raw, str):
        raise AnswerInvalid("the answer is a text")
    if len(raw) > 4 * most:  # before any work is spent on it
        raise AnswerInvalid(f"the answer is a text of 1 to {most} characters")
    # Text direction marks and other invisible characters would play tricks on the projector.
    seen = "".join(char for char in raw if char in JOINERS or unicodedata.category(char) != "Cf")
    text = " ".join(seen.split())
    # One Arabic ligature folds to 18 letters: what a distribution shows is held to the limit as well.
    if not text.strip(JOINERS + " ") or max(len(text), len(folded(text))) > most:
        raise AnswerInvalid(f"the answer is a text of 1 to {most} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co") for char in text):
        raise AnswerInvalid("the answer must not contain control characters")
    return text


def mark(question: Question, answer: Answer, shuffle: Shuffle) -> float:
    """How right an answer is, from 0.0 to 1.0; 0.0 where nothing is right or wrong.

    `answer` must have come through `read_answer`; `shuffle` is that of the question's opening.
    """
    match question:
        case Single(choices=choices):
            return 1.0 if isinstance(answer, int) and choices[answer].correct else 0.0
        case Multiple(choices=choices):
            picks = answer if isinstance(answer, tuple) else ()
            right = sum(choices[pick].correct for pick in picks)
            wrong = len(picks) - right
            return max(0, right - wrong) / sum(choice.correct for choice in choices)
        case TrueFalse(correct=correct):
            return 1.0 if answer is correct else 0.0
        case Numeric():
            return _closeness(question, _plain(answer))
        case Text(accepted=accepted):
            return 1.0 if folded(str(answer)) in {folded(text) for text in accepted} else 0.0
        case Order():
            right_order = correct_answer(question, shuffle)
            if not isinstance(answer, tuple) or not isinstance(right_order, tuple):
                return 0.0
            return sum(map(int.__eq__, answer, right_order)) / len(right_order)
        case Poll() | WordCloud():
            return 0.0
        case _:
            assert_never(question)


def _closeness(question: Numeric, number: float) -> float:
    off = abs(number - question.correct)
    if off == 0:
        return 1.0
    # 0.4 is within 0.1 of 0.3, whatever binary fractions make of it.
    edge = question.tolerance + 4 * math.ulp(max(abs(number), abs(question.correct)))
    if question.tolerance == 0 or not off <= edge:
        return 0.0
    return 1.0 - 0.5 * min(1.0, off / question.tolerance)


def correct_answer(question: Question, shuffle: Shuffle) -> Answer | tuple[str, ...] | None:
    """The answer that `mark` gives 1.0, in the participants' terms; every accepted text for `text`, None for polls."""
    match question:
        case Single(choices=choices):
            return next(place for place, choice in enumerate(choices) if choice.correct)
        case Multiple(choices=choices):
            return tuple(place for place, choice in enumerate(choices) if choice.correct)
        case TrueFalse(correct=correct) | Numeric(correct=correct):
            return correct
        case Text(accepted=accepted):
            return accepted
        case Order():
            return tuple(sorted(range(len(shuffle)), key=shuffle.__getitem__))
        case Poll() | WordCloud():
            return None
        case _:
            assert_never(question)


def listed(question: Question, shuffle: Shuffle) -> tuple[str, ...] | None:
    """The texts that participants choose from or put in order, as sent; None where they write their own."""
    match question:
        case Single(choices=choices) | Multiple(choices=choices) | Poll(choices=choices):
            return tuple(choice.text for choice in choices)
        case Order(items=items):
            return tuple(items[place] for place in shuffle)
        case TrueFalse() | Numeric() | Text() | WordCloud():
            return None
        case _:
            assert_never(question)


def worth(question: Question) -> int:
    """How many points a right answer brings at most, before bonuses; 0 for practice and where nothing can be right."""
    return 0 if isinstance(question, Poll | WordCloud) else question.points


def tally(question: Question, answers: Iterable[Answer]) -> list[int] | dict[str, int]:
    """The distribution: a count per choice where there are choices, else the commonest answers with their counts."""
    match question:
        case Single(choices=choices) | Multiple(choices=choices) | Poll(choices=choices):
            counts = [0] * len(choices)
            for answer in answers:
                for pick in answer if isinstance(answer, tuple) else (answer,):
                    counts[int(pick)] += 1
            return counts
        case TrueFalse():
            said = Counter(answers)
            return {"true": said[True], "false": said[False]}
        case Text() | WordCloud():
            return dict(Counter(folded(str(answer)) for answer in answers).most_common(TALLY_MAX))
        case Numeric():
            return dict(Counter(f"{_plain(answer):{PLAIN}}" for answer in answers).most_common(TALLY_MAX))
        case Order():
            rows = (",".join(map(str, answer)) for answer in answers if isinstance(answer, tuple))
            return dict(Counter(rows).most_common(TALLY_MAX))
        case _:
            assert_never(question)


def _plain(answer: Answer) -> float:
    return float(answer) if isinstance(answer, int | float) else math.nan
