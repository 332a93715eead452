"""quizcast's own format: a quiz as the API has it, as JSON; floor 5. What `dump` writes, `parse` reads back exactly."""

import re
from typing import Any, get_args

import msgspec

from quizcast.domain.quiz import Question, Quiz, QuizContent, problems
from quizcast.errors import Problem
from quizcast.formats.reading import QUESTIONS_MAX, Parsed, refuse, unicode_text

_QUESTION: Any = Question
_HEAD = [field for field in msgspec.structs.fields(QuizContent) if field.name != "questions"]
_FIELDS = {str(kind.__struct_config__.tag): {*kind.__struct_encode_fields__, "kind"} for kind in get_args(Question)}
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<where>.*)`)?", re.DOTALL)


def dump(quiz: QuizContent) -> bytes:
    """The quiz as indented JSON, to be read and edited by people too."""
    content = {field: getattr(quiz, field) for field in QuizContent.__struct_fields__}
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def parse(data: bytes) -> Parsed:
    """The quiz in a file. Raises `FileInvalid` with a problem for everything that is wrong."""
    content = _json(data)
    if not isinstance(content, dict):
        raise refuse([Problem(path="line 1", message="a quiz is a JSON object with a title and questions")])
    found = [Problem(path=key, message="is no field of a quiz") for key in content if key not in Quiz.__struct_fields__]
    head: dict[str, str] = {}
    for field in _HEAD:
        if field.name in content:
            try:
                head[field.name] = msgspec.convert(content[field.name], field.type)
            except msgspec.ValidationError as error:
                found.append(_problem(field.name, error))
        elif field.required:
            found.append(Problem(path=field.name, message="is missing"))
    questions, wrong = _questions(content.get("questions", []))
    found.extend(wrong)
    if not wrong:  # else the places would not be those of the file
        quiz = QuizContent(**({"title": "?"} | head), questions=questions)
        found.extend(problems(quiz))
    if found:
        raise refuse(found)
    return Parsed(quizzes=(quiz,), found=len(questions))


def _questions(raw: object) -> tuple[tuple[Question, ...], list[Problem]]:
    if not isinstance(raw, list):
        return (), [Problem(path="questions", message="must be a list")]
    if len(raw) > QUESTIONS_MAX:
        return (), [Problem(path="questions", message=f"are {len(raw)}; a quiz has up to {QUESTIONS_MAX}")]
    questions: list[Question] = []
    wrong: list[Problem] = []
    for place, item in enumerate(raw):
        path = f"questions[{place}]"
        wrong.extend(_unknown_fields(path, item))
        try:
            questions.append(msgspec.convert(item, _QUESTION))
        except msgspec.ValidationError as error:
            wrong.append(_problem(path, error))
    return tuple(questions), wrong


def _json(data: bytes) -> Any:
    text = unicode_text(data)
    if text is None:
        line = data[: _first_bad_byte(data)].count(b"\n") + 1
        raise refuse([Problem(path=f"line {line}", message="is not UTF-8")])
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise refuse([Problem(path="line 1", message="is nested too deeply")]) from None
    except msgspec.DecodeError as error:
        place = re.search(r"\(byte (\d+)\)", str(error))
        line = text.encode()[: int(place[1]) if place else None].count(b"\n") + 1
        message = re.sub(r" \(byte \d+\)", "", str(error))
        raise refuse([Problem(path=f"line {line}", message=message)]) from None


def _first_bad_byte(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def _unknown_fields(path: str, item: object) -> list[Problem]:
    """A misspelt field would otherwise be a setting that silently does nothing."""
    if not isinstance(item, dict) or not isinstance(kind := item.get("kind"), str) or kind not in _FIELDS:
        return []
    return [
        Problem(path=f"{path}.{key}", message=f"is no field of a {kind} question")
        for key in item
        if key not in _FIELDS[kind]
    ]


def _problem(path: str, error: msgspec.ValidationError) -> Problem:
    parts = _MESSAGE.fullmatch(str(error))
    what, where = (parts["what"], parts["where"] or "") if parts else (str(error), "")
    return Problem(path=(path + where).lstrip("."), message=what[:1].lower() + what[1:])
