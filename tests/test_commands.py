"""No command of the pages for operators stands there untried: a test runs it, or what it names is looked up here."""

import ast
import fnmatch
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence

import click
import pytest
from redis.connection import parse_url

from quizcast.cli import commands
from quizcast.deploy.units import AUTOSCALE, UNITS
from tests.pages import ROOT, sections

# docs/deploy is left out: its page says that nothing of it has been run.
PAGES = ("docs/operations.md", "docs/database.md", "docs/monitoring/README.md", "docs/monitoring/alerts.md")
PAGES += (
    "nginx/README.md",
    "systemd/README.md",
    "docs/settings.md",
    "docs/metrics.md",
    "docs/errors.md",
    "docs/security.md",
)
PROGRAMS = (
    "quizcast",
    "systemctl",
    "journalctl",
    "redis-cli",
    "psql",
    "nginx",
    "curl",
    "make",
    "promtool",
    "pip",
    "python",
)
PROGRAMS += ("runuser", "kubectl", "systemd-analyze", "pg_\\w+", "gunzip", "ln")
COMMAND = re.compile(rf"(?:\S*/)?(?:{'|'.join(PROGRAMS)}) [^\s=]")


def asked_for() -> set[tuple[str, str]]:
    """The sections (page, heading) whose commands some test asks `pages.blocks` for."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="blocks"), args=[ast.Constant(value=page), ast.Constant(value=title)]):
                    found.add((str(page), str(title)))
    return found


def in_prose() -> Iterator[str]:
    """Every command that stands in a line of text, with at least one word to it."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield from (one for one in re.findall(r"(?<!`)`([^`\n]+)`", prose) if COMMAND.match(one))


@pytest.mark.parametrize("page", PAGES)
def test_a_test_runs_every_block_of_commands(page: str) -> None:
    asked = asked_for()
    for title, text in sections(page).items():
        kinds = re.findall(r"^```(\w*)$(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert not any(kind == "sh" for kind, _ in kinds) or (page, title) in asked, f"nothing runs those of {title!r}"
        for kind, block in kinds:
            hidden = [line for line in block.splitlines() if COMMAND.match(line)]
            assert kind == "sh" or not hidden, f"{title!r} has commands in a block that is not sh: {hidden}"


def test_what_tests_ask_for_is_there() -> None:
    assert asked_for()
    for page, title in asked_for():
        assert title in sections(page)


def quizcasts_own(words: Sequence[str]) -> None:
    """A command, and the options that are said, are its own."""
    command: click.Command = commands
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, word
            command = command.commands[word]
        elif word.startswith("-"):
            known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
            assert word.partition("=")[0] in known, word


def units(words: Sequence[str]) -> None:
    """Each unit that is named is one that is installed."""
    there = [name.replace("@.", "@0.") for name in (*UNITS, *AUTOSCALE)]
    named = [word.replace("@N", "@0") for word in words if word.startswith("quizcast")]
    assert named
    for name in named:
        assert fnmatch.filter(there, name) or fnmatch.filter(there, f"{name}.*"), name


def targets(words: Sequence[str]) -> None:
    """The Makefile has the target."""
    assert re.search(
        rf"^{words[0]}:|^[\w -]*\b{words[0]}\b[\w -]*:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )


def extras(words: Sequence[str]) -> None:
    """An extra of that name can be installed."""
    [name] = [word.partition("[")[2].rstrip("]") for word in words if word.startswith("quizcast[")]
    assert name in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


LOOKED_UP: dict[str, Callable[[Sequence[str]], None]] = {
    "quizcast": quizcasts_own,
    "systemctl": units,
    "journalctl": units,
    "make": targets,
    "pip": extras,
}
# What these say by themselves is no whole command; tests/production/test_monitoring.py and test_units.py give them one.
TOOLS = {"promtool check rules", "systemd-analyze security", "systemd-analyze verify"}
UNNAMED = {"systemctl restart", "systemctl edit"}  # of whatever unit


@pytest.mark.parametrize("command", sorted(set(in_prose()) - TOOLS - UNNAMED))
def test_a_command_in_prose_names_what_there_is(command: str, redis_url: str) -> None:
    program, *words = shlex.split(command)
    if program == "redis-cli":
        socket = parse_url(redis_url)["path"]
        said = subprocess.run([program, "-s", socket, *words], capture_output=True, text=True, check=True).stdout
        assert not re.match("ERR|error", said), said
    else:
        LOOKED_UP[program](words)
