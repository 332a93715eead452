"""What operators and clients can meet by name has a row in docs/: settings, error codes, metrics, events."""

import re
from pathlib import Path

import prometheus_client.metrics
import pytest

from quizcast import errors, metrics
from quizcast.errors import QuizcastError
from quizcast.settings import DOCS, PREFIX, Settings
from quizcast.web.http import status_of
from quizcast.wire.events import EVENTS

FOLDER = Path(__file__).parents[1] / "docs"
ROW = re.compile(r"^\| *`(?P<name>[^`]+)`(?P<rest>.*)\|$", re.MULTILINE)


def rows(file: str) -> dict[str, str]:
    """The rows of a page's tables that begin with a name in code: the name and all that follows it."""
    found = ROW.findall((FOLDER / file).read_text("utf-8"))
    names = [name for name, _ in found]
    assert len(set(names)) == len(names), f"{file} has a name twice"
    return dict(found)


def every_error(kind: type[QuizcastError] = QuizcastError) -> set[type[QuizcastError]]:
    """All classes of the tree."""
    below = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return {kind}.union(*map(every_error, below))


def test_every_setting_has_its_row_and_no_row_is_left_over() -> None:
    assert set(DOCS) == set(Settings.__struct_fields__)
    assert set(rows("settings.md")) == {PREFIX + name.upper() for name in DOCS}


def test_a_settings_row_tells_its_default() -> None:
    told = rows("settings.md")
    defaults = Settings()
    for name in Settings.__struct_fields__:
        default = getattr(defaults, name)
        if isinstance(default, int | float) and not isinstance(default, bool):
            digits = re.sub(r"(?<=\d)[ ,_\u202f](?=\d{3})", "", told[PREFIX + name.upper()])
            assert re.search(rf"(?<![\d.]){default:g}(?![\d.]*\d)", digits) or str(default) in digits, name


def test_every_error_code_has_its_row_and_no_row_is_left_over() -> None:
    assert set(rows("errors.md")) == {kind.code for kind in every_error()}


@pytest.mark.parametrize("kind", sorted(every_error(), key=lambda kind: kind.code), ids=lambda kind: kind.code)
def test_an_errors_row_has_its_title_and_its_status(kind: type[QuizcastError]) -> None:
    told = rows("errors.md")[kind.code]
    assert kind.title() in told
    if not issubclass(kind, errors.OperatorError):
        assert str(status_of(kind())) in told


def test_every_metric_has_its_row_and_no_row_is_left_over() -> None:
    kept = [one for one in vars(metrics).values() if isinstance(one, prometheus_client.metrics.MetricWrapperBase)]
    assert kept
    assert set(rows("metrics.md")) == {next(iter(one.describe())).name for one in kept}


def test_every_event_has_its_row() -> None:
    assert {event.name for event in EVENTS} <= set(rows("events.md"))
