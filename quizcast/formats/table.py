"""Quizzes as CSV tables, one question a row, for authors with a spreadsheet; floor 5.

The first row names the columns; `COLUMNS` says what they mean, in any order and any case, and all but `kind` and
`prompt` may be missing. Reading takes commas, semicolons or tabs, whichever the first row has. Rows are counted as
spreadsheets do: the first row is row 1.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, assert_never, get_args

import msgspec

from quizcast.domain.quiz import (
    Multiple,
    Numeric,
    Order,
    Poll,
    Question,
    QuizContent,
    Single,
    Text,
    TrueFalse,
    WordCloud,
    problems,
)
from quizcast.errors import Problem
from quizcast.formats.cells import neutral, plain
from quizcast.formats.reading import PROBLEMS_MAX, QUESTIONS_MAX, Parsed, any_text, refuse, title_from

CHOICE_COLUMNS = 8  # that every exported table has; a text question may bring more
COLUMNS = {
    "kind": "one of the eight kinds, or `quiz` for the row that carries the quiz's own title (as `prompt`), "
    "description (as `explanation`) and language (as `choice1`)",
    "prompt": "the question",
    "choice1": "… `choice8`: the choices; the items in the right order; the accepted texts",
    "correct": "`2`, or `1;3` for several choices, counted from 1; `true` or `false`; the number",
    "time_limit_s": "seconds, 20 when empty",
    "points": "1000 when empty, 0 for practice",
    "explanation": "shown when the question has closed",
    "media_url": "a picture",
    "tolerance": "how far a number may be off",
    "min": "the smallest number that may be answered",
    "max": "the largest",
}
_CHOICE = re.compile(r"choice([1-9][0-9]?)")
_DECIMAL_COMMA = re.compile(r"([+-]?[0-9]+),(?![0-9]{3}$)([0-9]+)")  # 1,5 but not 1,000: that could be either
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KINDS = {str(kind.__struct_config__.tag): kind for kind in get_args(Question)}
_OWN = {  # which columns beyond the common ones a kind uses
    "single": {"choice1", "correct"},
    "multiple": {"choice1", "correct"},
    "true_false": {"correct"},
    "numeric": {"correct", "tolerance", "min", "max"},
    "text": {"choice1"},
    "order": {"choice1"},
    "poll": {"choice1"},
    "word_cloud": set[str](),
}
_QUIZ = "quiz"

Row = Mapping[str, str]


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────


def dump(quiz: QuizContent) -> bytes:
    """The quiz as UTF-8 with commas; `parse` reads it back, save for blanks around texts."""
    rows = [_question_row(question) for question in quiz.questions]
    width = max([CHOICE_COLUMNS, *(sum(map(bool, map(_CHOICE.fullmatch, row))) for row in rows)])
    head = list(COLUMNS)
    place = head.index("choice1")
    head[place : place + 1] = [f"choice{number}" for number in range(1, width + 1)]
    own = {"kind": _QUIZ, "prompt": quiz.title, "explanation": quiz.description, "choice1": quiz.language}
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, head, restval="", lineterminator="\r\n")
    table.writeheader()
    table.writerows({column: neutral(cell) for column, cell in row.items()} for row in [own, *rows])
    return out.getvalue().encode()


def _question_row(question: Question) -> dict[str, str]:
    kind = str(type(question).__struct_config__.tag)
    row = {
        "kind": kind,
        "prompt": question.prompt,
        "time_limit_s": _number_text(question.time_limit_ms / 1000),
        "points": str(question.points),
        "explanation": question.explanation,
        "media_url": question.media_url,
    }
    match question:
        case Single(choices=choices) | Multiple(choices=choices):
            right = [str(place) for place, choice in enumerate(choices, start=1) if choice.correct]
            row |= _numbered(choice.text for choice in choices) | {"correct": ";".join(right)}
        case Poll(choices=options):
            row |= _numbered(option.text for option in options)
        case TrueFalse(correct=correct):
            row["correct"] = "true" if correct else "false"
        case Numeric():
            row |= {"correct": _number_text(question.correct), "tolerance": _number_text(question.tolerance)}
            row["min"] = "" if question.min is None else _number_text(question.min)
            row["max"] = "" if question.max is None else _number_text(question.max)
        case Text(accepted=texts) | Order(items=texts):
            row |= _numbered(texts)
        case WordCloud():
            pass
        case _:
            assert_never(question)
    return row


def _numbered(texts: Iterable[str]) -> dict[str, str]:
    return {f"choice{number}": text for number, text in enumerate(texts, start=1)}


def _number_text(number: float) -> str:
    return repr(float(number)).removesuffix(".0")  # the shortest that reads back as the same number


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────


def parse(data: bytes, name: str) -> Parsed:
    """The quiz in a table. Raises `FileInvalid` with a problem for every row that is wrong."""
    text = any_text(data)
    rows = _rows(text, delimiter(text) or ",")
    found: list[Problem] = []
    head = _head(next(rows, ("row 1", [])), found)
    if found:
        raise refuse(found)
    quiz, quiz_path = QuizContent(title=title_from(name)), "row 1"
    questions: list[Question] = []
    places: list[str] = []
    for path, cells in rows:
        if len(questions) > QUESTIONS_MAX or len(found) > PROBLEMS_MAX:
            break  # enough to refuse it, whatever else there is
        if not any(map(str.strip, cells)):
            continue
        if any(map(str.strip, cells[len(head) :])):
            found.append(Problem(path=path, message="has more cells than the first row names"))
        row = dict.fromkeys(head, "") | {column: plain(cell).strip() for column, cell in zip(head, cells, strict=False)}
        kind = row["kind"].lower().replace(" ", "_")
        try:
            if kind == _QUIZ:
                quiz, quiz_path = _quiz(row), path
                continue
            questions.append(_question(kind, row))
            places.append(path)
        except msgspec.ValidationError as error:
            found.append(Problem(path=path, message=_said(str(error))))
    if len(questions) > QUESTIONS_MAX:
        found.append(Problem(path=places[-1], message=f"a quiz has up to {QUESTIONS_MAX} questions"))
    quiz = msgspec.structs.replace(quiz, questions=tuple(questions))
    found.extend(_at_rows(problems(quiz), quiz_path, places))
    if found:
        raise refuse(sorted(found, key=lambda problem: int(problem.path.removeprefix("row "))))
    return Parsed(quizzes=(quiz,), found=len(questions))


def delimiter(text: str) -> str | None:
    """What parts the cells of a table's first row; None when it is not the head of a quiz table."""
    first = text.lstrip("\n").split("\n", 1)[0]
    for sign in ",;\t":
        cells = {cell.strip(' "').lower() for cell in first.split(sign)}
        if {"kind", "prompt"} <= cells:
            return sign
    return None


def _rows(text: str, sign: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    number = 0  # of the last row that could be read
    try:
        for number, cells in enumerate(reader, start=1):
            yield f"row {number}", cells
    except csv.Error as error:
        raise refuse([Problem(path=f"row {number + 1}", message=f"cannot be read: {error}")]) from None


def _head(first: tuple[str, list[str]], found: list[Problem]) -> list[str]:
    path, cells = first
    head = [cell.strip().lower() for cell in cells]
    for column in head:
        if column and column not in COLUMNS and not _CHOICE.fullmatch(column):
            found.append(Problem(path=path, message=f"there is no column {column!r}; there are {', '.join(COLUMNS)}"))
        if column and head.count(column) > 1:
            found.append(Problem(path=path, message=f"the column {column!r} is there twice"))
    missing = [column for column in ("kind", "prompt") if column not in head]
    if missing:
        found.append(Problem(path=path, message=f"must name the columns; {' and '.join(missing)} missing"))
    return head


def _quiz(row: Row) -> QuizContent:
    own = {
        "title": row["prompt"],
        "description": row.get("explanation", ""),
        "language": row.get("choice1") or "en",
    }
    return msgspec.convert(own, QuizContent)


def _question(kind: str, row: Row) -> Question:
    """The question of a row. Raises `msgspec.ValidationError`."""
    if kind not in _KINDS:
        raise msgspec.ValidationError(f"there is no kind {kind!r}; there are {', '.join(_KINDS)} - at `$.kind`")
    fields: dict[str, Any] = {"prompt": row["prompt"]}
    fields |= {column: row[column] for column in ("explanation", "media_url") if row.get(column)}
    if row.get("time_limit_s"):
        fields["time_limit_ms"] = _whole(row, "time_limit_s", 1000)
    if row.get("points"):
        fields["points"] = _whole(row, "points", 1)
    fields |= _own_fields(kind, row)
    return msgspec.convert(fields, _KINDS[kind])  # type: ignore[no-any-return]


def _own_fields(kind: str, row: Row) -> dict[str, Any]:
    texts = {int(match[1]): text for column, text in row.items() if text and (match := _CHOICE.fullmatch(column))}
    texts = dict(sorted(texts.items()))
    for column in ("correct", "tolerance", "min", "max", "choice1"):
        filled = bool(texts) if column == "choice1" else bool(row.get(column))
        if filled and column not in _OWN[kind]:
            raise _wrong(column, f"is not for {kind} questions")
    match kind:
        case "single" | "multiple":
            right = _picks(row)
            if empty := right - set(texts):
                raise _wrong("correct", f"names choice {min(empty)}, which is empty")
            return {"choices": [{"text": text, "correct": number in right} for number, text in texts.items()]}
        case "poll":
            return {"choices": [{"text": text} for text in texts.values()]}
        case "order":
            return {"items": list(texts.values())}
        case "text":
            return {"accepted": list(texts.values())}
        case "true_false":
            word = row.get("correct", "").lower()
            if word not in _WORDS:
                raise _wrong("correct", "must be true or false")
            return {"correct": _WORDS[word]}
        case "numeric":
            given = [column for column in ("tolerance", "min", "max") if row.get(column)]
            return {column: float(_decimal(row, column)) for column in ["correct", *given]}
        case _:
            return {}


def _picks(row: Row) -> set[int]:
    picks = [pick for pick in re.split(r"[;,\s]+", row.get("correct", "")) if pick]
    if not all(re.fullmatch(r"[1-9][0-9]?", pick) for pick in picks):
        raise _wrong("correct", "must be the numbers of the right choices, such as 2 or 1;3")
    return set(map(int, picks))


def _decimal(row: Row, column: str) -> Decimal:
    text = row.get(column, "")
    try:
        number = Decimal(_DECIMAL_COMMA.sub(r"\1.\2", text))
    except InvalidOperation:
        raise _wrong(column, "must be a number") from None
    if not number.is_finite() or number.adjusted() > 308:
        raise _wrong(column, "must be a number")
    return number


def _whole(row: Row, column: str, units: int) -> int:
    number = _decimal(row, column)
    if abs(number) > 1_000_000 or number * units != int(number * units):
        raise _wrong(column, "must be a whole number" if units == 1 else "has at most three decimals")
    return int(number * units)


def _wrong(column: str, message: str) -> msgspec.ValidationError:
    return msgspec.ValidationError(f"{message} - at `$.{column}`")


def _said(error: str) -> str:
    """msgspec's message with the column first: `points: expected …`."""
    what, _, where = error.partition(" - at `$")
    column = where.rstrip("`").lstrip(".").replace("time_limit_ms", "time_limit_s (in ms)")
    what = what[:1].lower() + what[1:]
    return f"{column}: {what}" if column else what


def _at_rows(found: Iterable[Problem], quiz_path: str, places: Sequence[str]) -> Iterator[Problem]:
    for problem in found:
        place = re.match(r"questions\[(\d+)\]\.?", problem.path)
        path = places[int(place[1])] if place else quiz_path
        where = problem.path[place.end() :] if place else problem.path
        yield Problem(path=path, message=f"{where}: {problem.message}" if where else problem.message)
