"""Logs: one line each, with ids, and without secrets."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from quizcast import logs

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123"


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Reads what was logged since the last look; the root logger is as before after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_json_line_has_time_level_logger_process_and_ids(written: Callable[[], str]) -> None:
    logs.configure("info", "json", process="web 0")
    with logs.about(game_id="g1", participant_id="p1"):
        logging.getLogger("quizcast.x").info("joined %d", 3, extra={"shard": 2})
    line = json.loads(written())
    assert line.pop("time").endswith("Z")
    assert line == {
        "message": "joined 3",
        "level": "info",
        "logger": "quizcast.x",
        "process": "web 0",
        "game_id": "g1",
        "participant_id": "p1",
        "shard": 2,
    }


@pytest.mark.parametrize("format", ["json", "plain"])
@pytest.mark.parametrize(
    ("message", "extra"),
    [
        (f"GET /events?token={JWT}", {}),
        (f"Authorization: Bearer {JWT}", {}),
        ("GET /events?token=topsecret&x=1", {}),
        ("connecting to redis://:topsecret@db/0 failed", {}),
        ("connecting to postgresql://me:topsecret@db/x failed", {}),
        ('body {"password": "topsecret", "email": "a"}', {}),
        ("Authorization: Bearer topsecret", {}),
        ("hello", {"refresh_token": "topsecret"}),
        ("hello", {"settings": {"keys": "k1:topsecret", "inner": [{"password": "topsecret"}]}}),
        ("hello", {"cookie": "qc=topsecret"}),
    ],
)
def test_nothing_secret_gets_through(
    written: Callable[[], str], format: str, message: str, extra: dict[str, object]
) -> None:
    logs.configure("info", format)
    logging.getLogger("a.library").warning(message, extra=extra)
    line = written()
    assert "***" in line
    assert "topsecret" not in line
    assert JWT not in line


def test_a_traceback_is_told_without_its_secrets(written: Callable[[], str]) -> None:
    logs.configure("info", "json")
    try:
        raise ValueError(f"cannot read token={JWT}")
    except ValueError:
        logging.getLogger("quizcast.x").exception("failed")
    line = json.loads(written())
    assert "ValueError" in line["exception"]
    assert JWT not in line["exception"]


def test_libraries_that_tell_everything_are_quiet_and_their_warnings_are_heard(written: Callable[[], str]) -> None:
    logs.configure("info", "json")
    logging.getLogger("uvicorn.access").info("GET / 200")
    logging.getLogger("rq.worker").info("Cleaning registries")
    assert written() == ""
    logging.getLogger("uvicorn.error").warning("too many")
    assert json.loads(written())["message"] == "too many"


def test_configuring_twice_writes_each_line_once(written: Callable[[], str]) -> None:
    logs.configure("info", "plain")
    logs.configure("info", "plain")
    logging.getLogger("quizcast.x").info("once")
    assert written().count("once") == 1
