"""`deadletter list`, `retry`, `drop`: what to do with rows that Postgres refused; inside `cli`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from quizcast.cli.ground import begin, data_dir_option
from quizcast.settings import Settings

if TYPE_CHECKING:
    from quizcast.deadletters import Name


@click.group(options_metavar="", no_args_is_help=False)
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

    letters, total = asyncio.run(deadletters.waiting(begin("deadletter", data_dir), limit, content=content))
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
    settings = begin("deadletter", data_dir)
    return settings, asyncio.run(deadletters.everything(settings)) if everything else list(dict.fromkeys(names))


def _tell_missing(missing: "Sequence[Name]") -> int:
    # Not when all were meant: what somebody else has dealt with meanwhile, nobody misses.
    for name in missing:
        click.echo(f"{name}: no such dead letter, or not any more", err=True)
    return 1 if missing else 0
