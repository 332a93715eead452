"""The command line: reads options, calls the rooms below, says in one line what went wrong; floor 10.

Commands import what they need when they run, so that `quizcast serve` is up soon and `--help` at once.
Exit status: 0 done, 1 could not be done, 2 wrong usage, 130 interrupted.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import msgspec

from quizcast import __version__
from quizcast.errors import QuizcastError, SettingsInvalid
from quizcast.settings import Settings

if TYPE_CHECKING:
    from quizcast.deadletters import Name
    from quizcast.supervisor import Supervisor

SECTIONS = {
    "Play": ("demo", "serve", "simulate"),
    "Quizzes": ("import", "export"),
    "Run the parts one by one": ("web", "worker", "migrate"),
    "Look after it": ("doctor", "deadletter", "version"),
}
PROBLEMS_SHOWN = 10
PARENT_LOOK_S = 1.0

IMPORT_FORMATS = ("json", "csv", "opentrivia")
EXPORT_FORMATS = ("json", "csv")


class Commands(click.Group):
    """The commands in the order in which people meet them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section."""
        for section, names in SECTIONS.items():
            with formatter.section(click.style(section, bold=True)):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(80)) for name in names])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="",
    epilog="`quizcast COMMAND --help` tells more. Settings are QUIZCAST_* variables; `quizcast doctor` lists them.",
)
@click.version_option(__version__, message="quizcast %(version)s")
def commands() -> None:
    """Live quizzes for a thousand and more participants at once."""


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
    except QuizcastError as error:
        _fail("\n".join([str(error), *_problems(error)]), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        sys.exit(1)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    sys.exit(status)


def _problems(error: QuizcastError) -> list[str]:
    """All that is wrong, where it is more than the error itself has said."""
    if len(error.problems) < 2:
        return []
    lines = [f"  {each.path}: {each.message}" for each in error.problems[:PROBLEMS_SHOWN]]
    if (more := len(error.problems) - PROBLEMS_SHOWN) > 0:
        lines.append(f"  and {more} more")
    return lines


data_dir_option = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the data live [QUIZCAST_DATA_DIR]."
)
host_option = click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for everyone around.")
port_option = click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any.")
web_option = click.option("--web", default=None, type=click.IntRange(1, 256), help="Web processes [one per core].")
workers_option = click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64))
url_option = click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
email_option = click.option("--email", envvar="QUIZCAST_EMAIL", help="The host's account [QUIZCAST_EMAIL].")
index_option = click.option("--index", default=0, type=click.IntRange(0), help="The number in its title.")
parent_option = click.option("--parent", type=int, hidden=True, help="End when this process does.")


@commands.command(options_metavar="[options]")
@host_option
@port_option
@web_option
@workers_option
@data_dir_option
def serve(host: str, port: int, web: int | None, workers: int, data_dir: Path | None) -> int:
    """Run quizcast on this machine, with everything it needs.

    Starts its own Redis-protocol server and Postgres under the data directory, unless QUIZCAST_REDIS_URL and
    QUIZCAST_DATABASE_URL name others. Ctrl-C stops everything in order; SIGHUP replaces the web processes.
    """
    from quizcast import supervisor

    settings = _begin("supervisor", data_dir)

    def on_ready(tree: "Supervisor") -> None:
        click.echo(f"quizcast is ready on {tree.url}")
        if tree.public_url != tree.url:
            click.echo(f"others reach it at {tree.public_url}")

    return supervisor.serve(settings, host=host, port=port, web=web or _cores(), workers=workers, on_ready=on_ready)


@commands.command(options_metavar="[options]")
@click.option(
    "--users", default=100, show_default=True, type=click.IntRange(0, 100_000), help="Simulated participants."
)
@click.option("--questions", default=10, show_default=True, type=click.IntRange(1, 200), help="How many to play.")
@click.option("--exit", "once", is_flag=True, help="End after one quick game; status 0 when every check held.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@host_option
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Where to listen [any free port].")
@click.option("--web", type=click.IntRange(1, 256), help="Web processes [one per two cores].")
@workers_option
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the data [thrown away].")
def demo(
    users: int,
    questions: int,
    once: bool,
    report: Path | None,
    host: str,
    port: int,
    web: int | None,
    workers: int,
    data_dir: Path | None,
) -> int:
    """Watch a whole game, played by simulated participants and you.

    Plays one game after the other until Ctrl-C.
    """
    from rich.console import Console

    from quizcast.demo import Plan
    from quizcast.demo import demo as run_demo

    settings = _begin("supervisor", data_dir)
    plan = Plan(
        users=users,
        questions=questions,
        once=once,
        host=host,
        port=port,
        web=web or max(1, _cores() // 2),  # the crowd needs the other half
        workers=workers,
        data_dir=data_dir,
        report=report,
    )
    return run_demo(settings, plan, Console())


@commands.command(options_metavar="[options]")
@url_option
@click.option("--users", default=100, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--questions", default=8, show_default=True, type=click.IntRange(1, 200))
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@email_option
@click.option("--answer-over", default=1.0, show_default=True, type=click.FloatRange(0), help="Seconds.")
@click.option("--join-over", type=click.FloatRange(0), help="Seconds [1 per thousand participants].")
@click.option("--seed", type=int, help="For the same answers again.")
@click.option("--msgpack", is_flag=True, help="Answer in MessagePack.")
def simulate(
    url: str,
    users: int,
    questions: int,
    report: Path | None,
    email: str | None,
    answer_over: float,
    join_over: float | None,
    seed: int | None,
    msgpack: bool,
) -> int:
    """Play a game against a running server and check what it does.

    Without --email a throwaway account hosts it. Exit status 0 only when every check held.
    """
    from rich.console import Console

    from quizcast.demo.view import Scene, view
    from quizcast.simulate import run

    _begin("simulate")
    console = Console(stderr=True)
    with view(Scene(title=f"simulation against {url}"), console) as shown:
        result = run(
            url,
            users=users,
            questions=questions,
            email=email or "",
            password=_password() if email else "",
            answer_window_ms=answer_over * 1000,
            join_over_s=join_over,
            seed=seed,
            msgpack=msgpack,
            progress=shown.show,
        )
    click.echo(result.text())
    if report is not None:
        report.write_bytes(result.to_json() + b"\n")
    return 0 if result.ok else 1


@commands.command("import", options_metavar="[options]")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(exists=True, path_type=Path))
@url_option
@email_option
@click.option("--register", is_flag=True, help="Make the account first.")
@click.option("--format", type=click.Choice(IMPORT_FORMATS), help="[by the file's content]")
def import_(files: Sequence[Path], url: str, email: str | None, register: bool, format: str | None) -> int:
    """Read quiz files into your account on a running server.

    The password is asked for, or taken from QUIZCAST_PASSWORD.
    """
    from quizcast import formats
    from quizcast.remote import Remote

    remote = Remote.login(url, email or click.prompt("E-mail", err=True), _password(), register=register)
    failed = 0
    for path in files:
        try:
            parsed = formats.parse(path.read_bytes(), format, path.name)
            for quiz in parsed.quizzes:
                click.echo(f"{remote.put(quiz)}  {quiz.title}  ({len(quiz.questions)} questions)")
        except (QuizcastError, OSError) as error:
            failed += 1
            lines = _problems(error) if isinstance(error, QuizcastError) else []
            click.echo("\n".join([f"{path}: {error}", *lines]), err=True)
            continue
        read = sum(len(quiz.questions) for quiz in parsed.quizzes)
        click.echo(f"{path}: read {read} questions, skipped {parsed.found - read}", err=True)
        for warning in parsed.warnings:
            click.echo(f"  {warning.path}: {warning.message}", err=True)
    return 1 if failed else 0


@commands.command(options_metavar="[options]")
@click.argument("quiz", metavar="QUIZ")
@url_option
@email_option
@click.option("--format", type=click.Choice(EXPORT_FORMATS), default="json", show_default=True)
@click.option("--output", "-o", type=click.File("wb"), default="-", help="[standard output]")
def export(quiz: str, url: str, email: str | None, format: str, output: IO[bytes]) -> None:
    """Write one of your quizzes, named by its id, to a file."""
    from quizcast.remote import Remote

    remote = Remote.login(url, email or click.prompt("E-mail", err=True), _password())
    output.write(remote.take(quiz, format))


@commands.command(options_metavar="[options]")
@click.option("--fd", "fds", type=int, multiple=True, help="A listening socket that was inherited; may be repeated.")
@click.option("--uds", default="", help="Path of a unix socket to listen on.")
@host_option
@port_option
@index_option
@parent_option
def web(fds: Sequence[int], uds: str, host: str, port: int, index: int, parent: int | None) -> int:
    """One web process, until SIGTERM."""
    import socket

    _end_with(parent)
    settings = _external(_begin(f"web {index}"))
    from quizcast.auth import Keyring
    from quizcast.web.server import run_web

    Keyring.load(settings)  # here, where wrong keys are one line
    sockets = [socket.socket(fileno=number) for number in fds] or None
    return run_web(settings, sockets=sockets, host=host, port=port, uds=uds)


@commands.command(options_metavar="[options]")
@index_option
@parent_option
def worker(index: int, parent: int | None) -> None:
    """One flush worker, until SIGTERM."""
    _end_with(parent)
    settings = _external(_begin(f"worker {index}"))
    from quizcast.supervisor.worker import work

    work(settings)


@commands.command(options_metavar="[options]")
def migrate() -> None:
    """Bring the database's schema up to date."""
    import asyncio

    settings = _external(_begin("migrate"))
    from quizcast.store import db

    applied = asyncio.run(db.migrate(settings.database_url))
    click.echo("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


@commands.command(options_metavar="[options]")
@data_dir_option
def doctor(data_dir: Path | None) -> int:
    """Check settings, servers, limits and clocks, and say what to do."""
    from rich.console import Console

    from quizcast.doctor import examine

    return examine(_begin("doctor", data_dir), Console())


@commands.group(options_metavar="", no_args_is_help=False)
def deadletter() -> None:
    """List, retry or drop the rows that Postgres refused."""


def _names(_ctx: click.Context, _argument: click.Parameter, words: Sequence[str]) -> "list[Name]":
    from quizcast.deadletters import Name

    try:
        return [Name.parse(word) for word in words]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


names_argument = click.argument("names", nargs=-1, metavar="[ID…]", callback=_names)
all_option = click.option("--all", "everything", is_flag=True, help="All that wait now.")


@deadletter.command("list", options_metavar="[options]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="So many, the oldest [all].")
@click.option("--content", is_flag=True, help="Nicknames and answers too: personal data.")
@data_dir_option
def list_(as_json: bool, limit: int | None, content: bool, data_dir: Path | None) -> None:
    """Print the rows that wait for a decision, the oldest first.

    Each with its id, its age since it was refused, its kind, the reason, and the ids in it.
    """
    import asyncio

    from quizcast import deadletters

    letters, total = asyncio.run(deadletters.waiting(_begin("deadletter", data_dir), limit, content=content))
    for letter in letters:
        click.echo(msgspec.json.encode(letter) if as_json else letter.text())
    if not letters:
        click.echo("no dead letters wait", err=as_json)
    elif total > len(letters):
        click.echo(f"and {total - len(letters)} more", err=True)


@deadletter.command(options_metavar="[options]")
@names_argument
@all_option
@data_dir_option
def retry(names: "list[Name]", everything: bool, data_dir: Path | None) -> int:
    """Put rows back on their way to Postgres, once the cause is mended.

    What is refused again becomes a new dead letter.
    """
    import asyncio

    from quizcast import deadletters

    settings, chosen = _chosen(names, everything, data_dir)
    missing = asyncio.run(deadletters.retry(settings, chosen))
    click.echo(f"{len(chosen) - len(missing)} put back")
    return _tell_missing(names and missing)


@deadletter.command(options_metavar="[options]")
@names_argument
@all_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_dir_option
def drop(names: "list[Name]", everything: bool, yes: bool, data_dir: Path | None) -> int:
    """Delete rows for good."""
    import asyncio

    from quizcast import deadletters

    settings, chosen = _chosen(names, everything, data_dir)
    if chosen and not yes and not click.confirm(f"Delete {len(chosen)} for good?", err=True):
        click.echo("nothing was deleted", err=True)
        return 1
    missing = asyncio.run(deadletters.drop(settings, chosen))
    click.echo(f"{len(chosen) - len(missing)} deleted")
    return _tell_missing(names and missing)


def _chosen(names: "list[Name]", everything: bool, data_dir: Path | None) -> "tuple[Settings, list[Name]]":
    import asyncio

    from quizcast import deadletters

    if bool(names) == everything:
        raise click.UsageError("Name dead letters by their ids, or say --all", click.get_current_context())
    settings = _begin("deadletter", data_dir)
    return settings, asyncio.run(deadletters.everything(settings)) if everything else list(dict.fromkeys(names))


def _tell_missing(missing: "Sequence[Name]") -> int:
    # Not when all were meant: what somebody else has dealt with meanwhile, nobody misses.
    for name in missing:
        click.echo(f"{name}: no such dead letter, or not any more", err=True)
    return 1 if missing else 0


@commands.command(options_metavar="")
def version() -> None:
    """Print the version."""
    click.echo(f"quizcast {__version__}")


def _begin(process: str, data_dir: Path | None = None) -> Settings:
    """The settings, the logs, and the name that `ps` shows. Raises `SettingsInvalid`."""
    from setproctitle import setproctitle

    from quizcast import logs

    settings = Settings.from_env()
    if data_dir is not None:
        settings = msgspec.structs.replace(settings, data_dir=data_dir)
    logs.configure(settings.log_level, settings.log_format, process=process)
    setproctitle(f"quizcast: {process}")
    return settings


def _external(settings: Settings) -> Settings:
    if settings.embedded:
        raise SettingsInvalid(
            "set QUIZCAST_REDIS_URL and QUIZCAST_DATABASE_URL for this, or let `quizcast serve` bring its own servers"
        )
    return settings


def _end_with(parent: int | None) -> None:
    """Tie this process's life to its supervisor's, however that ends."""
    if parent is None:
        return
    import signal

    from quizcast.embedded import launch

    launch.die_with_parent(parent, signal.SIGKILL)
    if sys.platform == "linux":
        return

    def look() -> None:  # where the kernel does not do it
        while os.getppid() == parent:
            time.sleep(PARENT_LOOK_S)
        os._exit(1)

    threading.Thread(target=look, name="parent", daemon=True).start()


def _password() -> str:
    return os.environ.get("QUIZCAST_PASSWORD") or str(click.prompt("Password", hide_input=True, err=True))


def _cores() -> int:
    return min(os.cpu_count() or 1, 16)
