"""The command line: reads options, calls the rooms below, says in one line what went wrong; floor 10.

Commands import what they need when they run, so that `quizcast serve` is up soon and `--help` at once.
Exit status: 0 done, 1 could not be done, 2 wrong usage, 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence

import click

from quizcast import __version__
from quizcast.cli.care import autoscale, doctor, monitoring, retention, version
from quizcast.cli.deadletter import deadletter
from quizcast.cli.ground import problems
from quizcast.cli.machine import install, nginx
from quizcast.cli.parts import assets, migrate, web, worker
from quizcast.cli.play import demo, serve, simulate
from quizcast.cli.quizzes import export, import_
from quizcast.errors import PostgresUnavailable, QuizcastError, RedisUnavailable

SECTIONS = {
    "Play": (demo, serve, simulate),
    "Quizzes": (import_, export),
    "Run the parts one by one": (web, worker, migrate, assets),
    "Put it on a machine": (install, nginx),
    "Look after it": (doctor, autoscale, deadletter, monitoring, retention, version),
}


class Commands(click.Group):
    """The commands in the order in which people meet them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section."""
        for section, members in SECTIONS.items():
            with formatter.section(click.style(section, bold=True)):
                formatter.write_dl([(str(one.name), one.get_short_help_str(80)) for one in members])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="",
    epilog="`quizcast COMMAND --help` tells more. Settings are QUIZCAST_* variables; `quizcast doctor` lists them.",
)
@click.version_option(__version__, message="quizcast %(version)s")
def commands() -> None:
    """Live quizzes for a thousand and more participants at once."""


for members in SECTIONS.values():
    for command in members:
        commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status."""
    try:
        status = commands.main(arguments, prog_name="quizcast", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "quizcast"
        _fail(f"{error.format_message().rstrip('.')}; see `{command} --help`", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except (RedisUnavailable, PostgresUnavailable) as error:
        _fail(f"{error}; `quizcast doctor` looks why", 1)
    except QuizcastError as error:
        _fail("\n".join([str(error), *problems(error)]), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        sys.exit(1)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    sys.exit(status)
