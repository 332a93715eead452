"""Logs: one line each on stderr, JSON or plain, for quizcast and every library alike; floor 2.

Code logs through `logging.getLogger(__name__)`; `about(game_id=…)` adds ids to every line within. Invariant: nothing
that looks like a token, a password or a key gets through, whoever logged it and in whichever field.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import msgspec

# structlog takes rich and pygments along where it finds them, for coloured tracebacks that nobody sees in a log:
# a fifth of a second and 5 MB in every process. None in the table of modules says that there is no such module.
_hidden = "rich" not in sys.modules
if _hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402
from structlog.contextvars import bound_contextvars, merge_contextvars  # noqa: E402

if _hidden:
    del sys.modules["rich"]

__all__ = ["about", "configure", "settled", "without_secrets"]

HIDDEN = "***"
# Libraries that tell every request, job or connection; their warnings stay.
NOISY = (
    "uvicorn",
    "uvicorn.access",
    "uvicorn.error",
    "rq",
    "rq.worker",
    "asyncio",
    "psycopg.pool",
    "httpcore",
    "httpx",
)
_SECRET_NAME = re.compile(r"token|passw|secret|authori[sz]ation|cookie|credential|(^|_)keys?$", re.IGNORECASE)
_SECRET_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\beyJ[\w-]+\.[\w-]*\.[\w-]*"), HIDDEN),  # every JWT begins with {" in base64
    (re.compile(r"(\bBearer\s+)[^\s\"',;]+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"((?:token|passw(?:or)?d|secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}]+", re.I), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(\w+://[^\s/:@]*:)[^\s/@]+@"), rf"\g<1>{HIDDEN}@"),
)

about = bound_contextvars

Line = MutableMapping[str, Any]


def settled(format: str) -> str:
    """`json` or `plain`: what `auto` means for this process, which its children cannot see for themselves."""
    if format != "auto":
        return format
    return "plain" if sys.stderr.isatty() else "json"


def configure(level: str, format: str, *, process: str = "") -> None:
    """Send everything that is logged in this process to stderr.

    `level` and `format` (`json`, `plain`, `auto`) as in the settings; `process` is named in each line.
    """
    plain = settled(format) == "plain"
    shared: list[structlog.types.Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _named(process),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if plain else "iso", utc=not plain, key="time"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        without_secrets,
    ]
    render: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), event_key="message", timestamp_key="time", pad_event_to=0, pad_level=False
        )
        if plain
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        noisy = logging.getLogger(name)
        noisy.handlers[:] = []
        noisy.propagate = True
        noisy.setLevel(max(logging.WARNING, root.level))


def without_secrets(_logger: Any, _method: str, line: Line) -> Line:
    """Star out what looks like a secret, by its name or by its looks."""
    for key, value in line.items():
        line[key] = HIDDEN if _SECRET_NAME.search(key) else _scrubbed(value)
    return line


def _scrubbed(value: Any) -> Any:
    match value:
        case str():
            for pattern, instead in _SECRET_TEXTS:
                value = pattern.sub(instead, value)
            return value
        case Mapping():
            return {key: HIDDEN if _SECRET_NAME.search(str(key)) else _scrubbed(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_scrubbed(inner) for inner in value]
        case None | bool() | int() | float():
            return value
        case _:
            return _scrubbed(str(value))


def _named(process: str) -> Callable[[Any, str, Line], Line]:
    def add(_logger: Any, _method: str, line: Line) -> Line:
        if process:
            line["process"] = process
        return line

    return add


def _json(line: Any, **_: Any) -> str:
    return msgspec.json.encode(line, enc_hook=str).decode()
