"""Results as tables, for the host's spreadsheet; floor 5.

What participants wrote is hostile here: no nickname and no answer may become a formula, a link or a number. In CSV an
apostrophe keeps it from that (`cells`), in XLSX the cell's type does, and the quote prefix that outlives a copy.
"""

import csv
import datetime
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from quizcast.domain.quiz import Shuffle
from quizcast.formats.cells import neutral, runs
from quizcast.wire.api import ResultAnswer, Results

SHEET_ROWS = 1_048_575  # what a worksheet holds below its heading; there is no error beyond, rows just vanish
CELL_MAX = 32_767  # characters that a cell holds
Offered: TypeAlias = Sequence[Sequence[str] | None]
Cell: TypeAlias = str | int | float | bool | datetime.datetime | None


def results_csv(results: Results, offered: Offered) -> bytes:
    """One row per participant, from the first rank down, and five columns per question.

    `offered` has, per question, the texts that participants chose from (`domain.quiz.listed`), or None. Of question 1,
    `q1_answer` is the answer as the API has it and `q1_text` as people read it; `q1_received_at` in ms.
    """
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\r\n")
    parts = ("answer", "text", "correct", "points", "received_at")
    numbers = [question.index + 1 for question in results.questions]
    table.writerow(
        ["rank", "nickname", "participant_id", "score", *(f"q{n}_{part}" for n in numbers for part in parts)]
    )
    for row in results.ranking:
        cells: list[Cell] = [row.rank, row.nickname, row.participant_id, row.score]
        for place, answer in enumerate(row.answers):
            cells += _answer_cells(answer, _at(offered, place))
        table.writerow([_csv_cell(cell) for cell in cells])
    return out.getvalue().encode()


def results_xlsx(results: Results, offered: Offered) -> bytes:
    """A workbook with the sheets Ranking, Answers (a row per answer) and Questions; `offered` as in `results_csv`.

    Ten thousand participants take seconds: not for the event loop.
    """
    import xlsxwriter  # type: ignore[import-untyped]  # here: a fifth of a second at every start, for a rare download

    out = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(out, options) as book:
        sheets = _Sheets(book)
        ranking = (
            (row.rank, row.nickname, row.participant_id, row.score, *_summary(row.answers)) for row in results.ranking
        )
        sheets.write("Ranking", ("rank", "nickname", "participant_id", "score", "answered", "correct"), ranking)
        heading = (
            "rank",
            "nickname",
            "question",
            "prompt",
            "answer",
            "text",
            "correct",
            "points",
            "received_at",
            "time",
        )
        sheets.write("Answers", heading, _answer_rows(results, offered))
        questions = _question_rows(results, offered)
        sheets.write("Questions", ("question", "kind", "prompt", "right answer", "answer", "count"), questions)
    return out.getvalue()


def readable(answer: Any, texts: Sequence[str] | None) -> str:
    """An answer as people read it: the text of a choice instead of its index, `a; b` for several."""
    match answer:
        case None:
            return ""
        case bool():
            return "true" if answer else "false"
        case int() if texts is not None:
            return texts[answer] if 0 <= answer < len(texts) else str(answer)
        case list() | tuple():
            return "; ".join(readable(item, texts) for item in answer)
        case _:
            return str(answer)


def _answer_cells(answer: ResultAnswer | None, texts: Sequence[str] | None) -> list[Cell]:
    if answer is None:
        return [None] * 5
    return [
        _raw(answer.answer),
        readable(answer.answer, texts),
        answer.correct,
        answer.points,
        answer.received_at,
    ]


def _answer_rows(results: Results, offered: Offered) -> Iterator[Sequence[Cell]]:
    prompts = [question.prompt for question in results.questions]
    for row in results.ranking:
        for place, answer in enumerate(row.answers):
            if answer is not None:
                time = datetime.datetime.fromtimestamp(answer.received_at / 1000, datetime.UTC).replace(tzinfo=None)
                cells = _answer_cells(answer, _at(offered, place))
                yield row.rank, row.nickname, answer.question + 1, prompts[place], *cells, time


def _question_rows(results: Results, offered: Offered) -> Iterator[Sequence[Cell]]:
    for place, question in enumerate(results.questions):
        texts = _at(offered, place)
        said: Iterable[tuple[str, int]]
        if isinstance(question.counts, dict):
            said = (
                (_ordered(key, texts) if question.kind == "order" else key, n) for key, n in question.counts.items()
            )
        else:
            said = ((readable(index, texts), n) for index, n in enumerate(question.counts))
        same = (question.index + 1, question.kind, question.prompt, readable(question.correct, texts))
        for text, count in itertools.chain(said, [] if question.counts else [("", 0)]):
            yield *same, text, count


def _ordered(key: str, texts: Sequence[str] | None) -> str:
    """The items behind a key of an `order` question's distribution, such as `2,0,1`."""
    places: Shuffle = tuple(map(int, key.split(",")))
    return readable(places, texts)


def _summary(answers: Sequence[ResultAnswer | None]) -> tuple[int, int]:
    given = [answer for answer in answers if answer is not None]
    return len(given), sum(answer.correct is True for answer in given)


def _at(offered: Offered, place: int) -> Sequence[str] | None:
    return offered[place] if place < len(offered) else None


def _raw(answer: Any) -> Cell:
    return answer if isinstance(answer, str | int | float) else msgspec.json.encode(answer).decode()


def _csv_cell(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            return neutral(cell)
        case _:
            return str(cell)


class _Sheets:
    """Writes tables into a workbook, going on in `Answers 2` where one sheet is full."""

    def __init__(self, book: Any) -> None:  # an xlsxwriter.Workbook
        self._book = book
        self._bold = book.add_format({"bold": True})
        self._quoted = book.add_format({"quote_prefix": True})
        self._moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})

    def write(self, name: str, heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """The table as a sheet, or as many as it needs; times are UTC."""
        left = iter(rows)
        for part in itertools.count(1):
            page = itertools.islice(left, SHEET_ROWS)
            first = next(page, None)
            if first is None and part > 1:
                return
            sheet = self._book.add_worksheet(name if part == 1 else f"{name} {part}")
            sheet.freeze_panes(1, 0)
            sheet.write_row(0, 0, heading, self._bold)
            for line, row in enumerate(itertools.chain([] if first is None else [first], page), start=1):
                for column, cell in enumerate(row):
                    self._cell(sheet, line, column, cell)

    def _cell(self, sheet: Any, line: int, column: int, cell: Cell) -> None:
        match cell:
            case None:
                pass
            case bool():
                sheet.write_boolean(line, column, cell)
            case str():
                sheet.write_string(line, column, cell[:CELL_MAX], self._quoted if runs(cell) else None)
            case datetime.datetime():
                sheet.write_datetime(line, column, cell, self._moment)
            case _:
                sheet.write_number(line, column, cell)
