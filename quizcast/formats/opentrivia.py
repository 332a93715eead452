"""OpenTriviaQA files: trivia as plain text; floor 5.

`#Q` begins a question, which may run over several lines; `^` begins the text of the right answer; `A`, `B`, … begin
the choices, of which one repeats it. Real files mix line ends and encodings and hold mistakes, so a question that
cannot be used is left out and told as a warning with its line, and the others are read.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from quizcast.domain.quiz import Choice, Question, QuizContent, Single, TrueFalse, folded, problems
from quizcast.errors import Problem
from quizcast.formats.reading import (
    QUESTIONS_MAX,
    TITLE_MAX,
    Parsed,
    byte_lines,
    refuse,
    title_from,
    unicode_text,
    windows_text,
)

LOST = "\ufffd"
_SINGLE: Any = Single
_LETTERS = "ABCDEFGH"
_ENDING = " .,;:!?'\"\u2019\u201d"  # what an answer and its choice may differ in
_PART = " {part}/{parts}"

# UTF-8 that somebody took for cp1252 and wrote out as UTF-8 again. Only sequences that nobody writes on purpose: the
# two bytes of an accented letter, the three of a quotation mark or dash. The last byte of a closing quotation mark is
# one that cp1252 does not have; it came out as a question mark.
_TAIL = f"[\x80-\x9f{re.escape(windows_text(bytes(range(0x80, 0xC0))))}]"
_TWICE = re.compile(f"[ÂÃ]{_TAIL}|â[€\x80]{_TAIL}")
_LOST_QUOTE = re.compile("â[€\x80]\\?")
_NOT_UTF8 = re.compile("[\udc80-\udcff]+")
_LOST_LETTER = re.compile(r"[ÂÃÄÅÎÏÐÑ]\?(?=\w)")


class _Entry(msgspec.Struct):
    """One question as it stands in the file."""

    line: int
    prompt: list[str]
    right: list[str]
    choices: list[list[str]]
    mended: bool = False


def looks_like(text: str) -> bool:
    """Whether a text has the two marks of this format at the beginnings of lines."""
    return re.search(r"^#Q\b", text, re.MULTILINE) is not None and re.search(r"^\^", text, re.MULTILINE) is not None


def parse(data: bytes, name: str) -> Parsed:
    """All usable questions of a file, as one quiz or as parts of equal size (`Animals 1/3`), in the file's order.

    Raises `FileInvalid` when there is not one.
    """
    warnings: list[Problem] = []
    questions: list[Question] = []
    seen: dict[tuple[str, ...], int] = {}
    found = 0
    for entry in _entries(decoded(data), warnings):
        found += 1
        path = f"line {entry.line}"
        try:
            question, notes = _question(entry)
        except msgspec.ValidationError as error:
            warnings.append(Problem(path=path, message=f"left out: {error}"))
            continue
        first = seen.setdefault(_identity(question), entry.line)
        if first != entry.line:
            warnings.append(Problem(path=path, message=f"left out: the same as in line {first}"))
            continue
        warnings.extend(Problem(path=path, message=note) for note in notes)
        questions.append(question)
    if not questions:
        raise refuse(warnings or [Problem(path="line 1", message="there is no question (a line beginning with #Q)")])
    return Parsed(quizzes=tuple(_parts(title_from(name), questions)), found=found, warnings=tuple(warnings))


def decoded(data: bytes) -> Iterator[tuple[str, bool]]:
    """The lines of a file, and whether something in them had to be mended."""
    whole = unicode_text(data) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else None
    for line in byte_lines(data if whole is None else whole.encode()):
        text, known = unicode_text(line), True
        if text is None:
            text, known = _partly_windows(line), False
        repaired = _TWICE.sub(_once, _LOST_QUOTE.sub("”", text))
        if not known:
            repaired = _LOST_LETTER.sub(LOST, repaired)
        clean = "".join(_printable(char) for char in repaired)
        yield clean, not known or clean != text


def _partly_windows(line: bytes) -> str:
    """Good UTF-8 stays, the bytes between are cp1252."""
    text = line.decode("utf-8", "surrogateescape")  # all at once: a line may be megabytes of such bytes
    return _NOT_UTF8.sub(lambda found: windows_text(found[0].encode("utf-8", "surrogateescape")), text)


def _once(match: re.Match[str]) -> str:
    sequence = match[0]
    try:
        return b"".join(_windows_byte(char) for char in sequence).decode()
    except UnicodeError:
        return sequence


def _windows_byte(char: str) -> bytes:
    return bytes([ord(char)]) if "\x80" <= char <= "\x9f" else char.encode("cp1252")


def _printable(char: str) -> str:
    if "\x80" <= char <= "\x9f":  # cp1252 that passed for Latin-1
        char = windows_text(bytes([ord(char)]))
    return "" if (char < " " and char != "\t") or "\x7f" <= char <= "\x9f" else char


def _entries(lines: Iterable[tuple[str, bool]], warnings: list[Problem]) -> Iterator[_Entry]:
    entry: _Entry | None = None
    into: list[str] | None = None  # what a line that begins nothing new goes on with
    for number, (raw, mended) in enumerate(lines, start=1):
        line = raw.strip()
        if re.match(r"#Q\b", line):
            if entry is not None:
                yield entry
            into = [line[2:].strip()]
            entry = _Entry(line=number, prompt=into, right=[], choices=[])
        elif entry is None or into is None:
            if line:
                warnings.append(Problem(path=f"line {number}", message="left out: belongs to no question"))
            continue
        elif line.startswith("^") and not entry.right:
            into = entry.right
            into.append(line[1:].strip())
        elif entry.right and _begins_choice(line, len(entry.choices)):
            into = [line[1:].strip()]
            entry.choices.append(into)
        elif line:
            into.append(line)
        entry.mended = entry.mended or mended
    if entry is not None:
        yield entry


def _begins_choice(line: str, so_far: int) -> bool:
    """Only the next letter begins a choice: `I am` and `A dog` may go on with the one before."""
    return so_far < len(_LETTERS) and re.match(rf"{_LETTERS[so_far]}(\s|$)", line) is not None


def _question(entry: _Entry) -> tuple[Question, list[str]]:
    """The question, and what was mended on the way. Raises `msgspec.ValidationError`."""
    prompt = "\n".join(entry.prompt).strip()
    right = " ".join(entry.right).strip()
    choices = [" ".join(lines).strip() for lines in entry.choices]
    notes = []
    if entry.mended:
        notes.append("mended: broken characters")
    if LOST in "".join([prompt, right, *choices]):
        notes.append(f"a character was lost and stands as {LOST}")
    if not right:
        raise msgspec.ValidationError("there is no right answer (a line beginning with ^)")
    if "" in choices:
        raise msgspec.ValidationError(f"choice {_LETTERS[choices.index('')]} is empty")
    different = list(dict.fromkeys(choices))
    if len(different) < len(choices):
        notes.append("mended: a choice was there twice")
    if len(different) < 2:
        raise msgspec.ValidationError("there are fewer than two choices")
    place = _right_place(right, different)
    if {folded(text) for text in different} == {"true", "false"}:
        question: Question = TrueFalse(prompt=prompt, correct=folded(different[place]) == "true")
    else:
        question = Single(
            prompt=prompt,
            choices=tuple(Choice(text=text, correct=at == place) for at, text in enumerate(different)),
        )
    question = msgspec.convert(msgspec.to_builtins(question), type(question))  # now with the limits checked
    for problem in problems(QuizContent(title="?", questions=(question,))):
        raise msgspec.ValidationError(f"{problem.path.removeprefix('questions[0].')}: {problem.message}")
    return question, notes


def _right_place(right: str, choices: list[str]) -> int:
    """Which choice is the right one: the same text, or else the only one that differs in case or full stop alone."""
    if right in choices:
        return choices.index(right)
    alike = [place for place, text in enumerate(choices) if _bare(text) == _bare(right)]
    if len(alike) != 1:
        raise msgspec.ValidationError(
            f"the right answer {right!r} matches {'several' if alike else 'none'} of the choices"
        )
    return alike[0]


def _bare(text: str) -> str:
    return folded(text).strip(_ENDING)


def _identity(question: Question) -> tuple[str, ...]:
    """The same for two questions that ask the same and offer the same, in any order."""
    offered = [choice.text for choice in question.choices] if isinstance(question, Single) else []
    return (folded(question.prompt), *sorted(map(folded, offered)))


def _parts(title: str, questions: list[Question]) -> Iterator[QuizContent]:
    parts = -(-len(questions) // QUESTIONS_MAX)
    for part in range(parts):
        here = questions[part * len(questions) // parts : (part + 1) * len(questions) // parts]
        ending = _PART.format(part=part + 1, parts=parts) if parts > 1 else ""
        yield QuizContent(title=title[: TITLE_MAX - len(ending)] + ending, questions=tuple(here))
