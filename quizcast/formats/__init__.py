"""Quiz files in and out: which formats there are, and which one a file is in; floor 5.

Reading either gives quizzes that a game can bear, or raises `FileInvalid` with a problem for each thing that is wrong
(`line 14`, `row 14`, `questions[2].choices`). Nothing here opens files: bytes in, bytes out.
"""

from typing import NamedTuple

from quizcast.domain.quiz import QuizContent
from quizcast.errors import Problem
from quizcast.formats import native, opentrivia, table
from quizcast.formats.reading import FILE_MAX, Parsed, any_text, refuse, slug

__all__ = ["EXPORT_FORMATS", "FILE_MAX", "IMPORT_FORMATS", "Dumped", "Parsed", "dump", "guess", "parse"]

IMPORT_FORMATS = ("json", "csv", "opentrivia")
EXPORT_FORMATS = ("json", "csv")
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how XLSX and ODS begin, and XLS; what a teacher has at hand, mostly


class Dumped(NamedTuple):
    """An exported quiz, with the media type and the file name that go with it."""

    data: bytes
    media_type: str
    filename: str


def parse(data: bytes, format: str | None = None, name: str = "") -> Parsed:
    """The quizzes in a file.

    `format` is one of `IMPORT_FORMATS`, or None to go by the content and then the file's `name`, which is also the
    title where the format has none. Raises `FileInvalid`.
    """
    if len(data) > FILE_MAX:
        raise refuse([Problem(path="", message=f"the file is larger than {FILE_MAX // 1024 // 1024} MiB")])
    match format or guess(data, name):
        case "json":
            return native.parse(data)
        case "csv":
            return table.parse(data, name)
        case "opentrivia":
            return opentrivia.parse(data, name)
        case None if data.startswith(WORKBOOKS):
            raise refuse([Problem(path="", message="this is a workbook; save its sheet as CSV, and import that")])
        case other:
            what = f"there is no format {other!r}" if other else "cannot tell which format this is"
            raise refuse([Problem(path="", message=f"{what}; say one of {', '.join(IMPORT_FORMATS)}")])


def guess(data: bytes, name: str = "") -> str | None:
    """The format that a file seems to be in, by its content first and its name second; None when neither tells."""
    text = any_text(data[: 64 * 1024])
    if text.lstrip().startswith("{"):
        return "json"
    if table.delimiter(text):
        return "csv"
    if opentrivia.looks_like(text):
        return "opentrivia"
    return next((format for format in ("json", "csv") if name.lower().endswith(f".{format}")), None)


def dump(quiz: QuizContent, format: str) -> Dumped:
    """The quiz as a file in one of `EXPORT_FORMATS`. Raises `FileInvalid` for any other."""
    match format:
        case "json":
            return Dumped(native.dump(quiz), "application/json", f"{slug(quiz.title)}.json")
        case "csv":
            return Dumped(table.dump(quiz), "text/csv; charset=utf-8", f"{slug(quiz.title)}.csv")
        case _:
            what = f"there is no format {format!r} to export to; say one of {', '.join(EXPORT_FORMATS)}"
            raise refuse([Problem(path="", message=what)])
