"""`import`, `export`: quiz files; inside `cli`."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import click

from quizcast.cli.ground import email_option, password, problems, url_option
from quizcast.errors import QuizcastError

IMPORT_FORMATS = ("json", "csv", "opentrivia")
EXPORT_FORMATS = ("json", "csv")


@click.command("import", options_metavar="[options]")
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

    remote = Remote.login(url, email or click.prompt("E-mail", err=True), password(), register=register)
    failed = 0
    for path in files:
        try:
            parsed = formats.parse(path.read_bytes(), format, path.name)
            for quiz in parsed.quizzes:
                click.echo(f"{remote.put(quiz)}  {quiz.title}  ({len(quiz.questions)} questions)")
        except (QuizcastError, OSError) as error:
            failed += 1
            lines = problems(error) if isinstance(error, QuizcastError) else []
            click.echo("\n".join([f"{path}: {error}", *lines]), err=True)
            continue
        read = sum(len(quiz.questions) for quiz in parsed.quizzes)
        click.echo(f"{path}: read {read} questions, skipped {parsed.found - read}", err=True)
        for warning in parsed.warnings:
            click.echo(f"  {warning.path}: {warning.message}", err=True)
    return 1 if failed else 0


@click.command(options_metavar="[options]")
@click.argument("quiz", metavar="QUIZ")
@url_option
@email_option
@click.option("--format", type=click.Choice(EXPORT_FORMATS), default="json", show_default=True)
@click.option("--output", "-o", type=click.File("wb"), default="-", help="[standard output]")
def export(quiz: str, url: str, email: str | None, format: str, output: IO[bytes]) -> None:
    """Write one of your quizzes, named by its id, to a file."""
    from quizcast.remote import Remote

    remote = Remote.login(url, email or click.prompt("E-mail", err=True), password())
    output.write(remote.take(quiz, format))
