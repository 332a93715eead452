"""Cells that no spreadsheet takes for a formula; floor 5.

`neutral` puts an apostrophe before what could run (and before apostrophes that hide such a thing), `plain` takes one
away: `plain(neutral(text)) == text` for every text. Numbers stay numbers.
"""

import re

_RUNS = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the wide signs, too: some spreadsheets fold them
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")


def runs(text: str) -> bool:
    """Whether a spreadsheet might take this text for a formula, once its apostrophes are gone."""
    return _RUNS.match(text) is not None and _NUMBER.fullmatch(text) is None


def neutral(text: str) -> str:
    """The text as a cell of an exported table."""
    return "'" + text if runs(text) else text


def plain(cell: str) -> str:
    """The text behind a cell of an imported table."""
    return cell[1:] if cell.startswith("'") and _RUNS.match(cell) else cell
