"""What every reader of files needs: limits, text from bytes, and problems gathered before they are raised; floor 5."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import msgspec

from quizcast.domain.quiz import QuizContent
from quizcast.errors import FileInvalid, Problem

FILE_MAX = 8 * 1024 * 1024  # bytes; 500 questions with everything filled in are about 2 MiB
QUESTIONS_MAX = 500  # of one quiz, as `QuizContent` has it
PROBLEMS_MAX = 100  # nobody repairs more of them in one go
TITLE_MAX = 200


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What was in a file.

    `quizzes` has one quiz, or several parts when there were more questions than fit into one. `found` counts the
    questions in the file, used or not; `warnings` says, by line, which were left out and what was mended.
    """

    quizzes: tuple[QuizContent, ...]
    found: int
    warnings: tuple[Problem, ...] = ()


def refuse(problems: Sequence[Problem]) -> FileInvalid:
    """The error for a file with these problems, of which the first `PROBLEMS_MAX` are told."""
    told = list(problems[:PROBLEMS_MAX])
    if len(problems) > PROBLEMS_MAX:
        told.append(Problem(path=problems[PROBLEMS_MAX].path, message=f"and {len(problems) - PROBLEMS_MAX} more"))
    first = f"{told[0].path}: {told[0].message}" if told[0].path else told[0].message
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return FileInvalid(first + rest, problems=told)


def unicode_text(data: bytes) -> str | None:
    """The text of well-formed UTF-8, or of UTF-16 with a byte order mark; None for anything else."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def windows_text(data: bytes) -> str:
    """cp1252 as browsers read it: its five unassigned bytes become control characters instead of errors."""
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in data)


def byte_lines(data: bytes) -> list[bytes]:
    """The lines of a file, whichever line ends it mixes."""
    return re.split(rb"\r\n|\n|\r", data.removeprefix(b"\xef\xbb\xbf"))


def any_text(data: bytes) -> str:
    """Text with `\\n` between its lines; a line that is no UTF-8 is taken for cp1252."""
    text = unicode_text(data)
    if text is None:
        text = "\n".join(
            windows_text(line) if (known := unicode_text(line)) is None else known for line in byte_lines(data)
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def title_from(name: str) -> str:
    """A title from a file name: `for-kids.txt` → `For kids`."""
    stem = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff_-]+", " ", PurePath(name.replace("\\", "/")).stem).strip()
    return (stem[:1].upper() + stem[1:])[:TITLE_MAX].rstrip() or "Imported quiz"


def slug(title: str) -> str:
    """A title as the stem of a file name that every system and header takes."""
    words: Iterable[str] = re.findall(r"[a-z0-9]+", title.lower())
    return "-".join(words)[:60].rstrip("-") or "quiz"
