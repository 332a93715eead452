"""Every named query finds what it wants by an index; docs/database.md has the plans on ten million answers."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plans import NOT_PLANNED, Findings, measure
from quizcast.store.shipped import queries
from tests.pages import blocks

ANSWERS = 100_000
# These grow with play; whoever reads one from end to end gets slower from month to month.
GROWING = ("answers", "participants", "openings")


@pytest.fixture
def findings(empty_database_url: str) -> Findings:
    """Many small games: in a table of a few pages no index is worth its while."""
    return measure(empty_database_url, ANSWERS, people=3)


def test_no_query_reads_a_table_that_grows_from_end_to_end(findings: Findings) -> None:
    assert set(findings.plans) | NOT_PLANNED == set(queries())
    found = {
        name: plan.text
        for name, plan in findings.plans.items()
        if any(table.startswith(GROWING) and table not in ("answers_rest", "answers_dropped") for table in plan.whole)
    }
    assert not found, "\n\n".join(f"{name}:\n{text}" for name, text in found.items())
    assert "Index Only Scan using participants_counted" in findings.plans["games_by_id"].text
    of_game = findings.plans["answers_of_game"]
    assert len(of_game.indexes) == 1, "all answers of a game lie in one part, and the others are not looked at"


def test_the_pages_command_loads_as_many_as_it_is_told_and_shows_every_plan() -> None:
    [command] = blocks("docs/database.md", "The plans")
    assert "--answers 10000000 " in command
    words = shlex.split(command.replace("10000000", "2000"))
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^── (\w+)$", done.stdout, re.MULTILINE)) == set(queries()) - NOT_PLANNED


def test_the_page_tells_of_every_query() -> None:
    page = (Path(__file__).parents[2] / "docs" / "database.md").read_text("utf-8")
    measured = page.partition("<!-- plans -->")[2].partition("<!-- end of plans -->")[0]
    missing = [name for name in queries() if name not in NOT_PLANNED and f"| `{name}` |" not in measured]
    assert not missing
