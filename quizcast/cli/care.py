"""`doctor`, `retention`, `version`: looking after an installation; inside `cli`."""

from pathlib import Path

import click

from quizcast import __version__
from quizcast.cli.ground import begin, cores, data_dir_option, external


@click.command(options_metavar="[options]")
@click.option("--web", type=click.IntRange(1), help="Web processes in all, on all machines [one per core].")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Workers in all.")
@data_dir_option
def doctor(web: int | None, workers: int, data_dir: Path | None) -> int:
    """Check settings, servers, limits and clocks, and say what to do."""
    from rich.console import Console

    from quizcast.doctor import examine

    return examine(begin("doctor", data_dir), Console(), web=web or cores(), workers=workers)


@click.command(options_metavar="[options]")
@click.option(
    "--months",
    type=click.IntRange(1, 1200),
    envvar="QUIZCAST_RETENTION_MONTHS",
    help="Keep the present month and so many before it [all; QUIZCAST_RETENTION_MONTHS].",
)
@click.option(
    "--export",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="QUIZCAST_RETENTION_EXPORT",
    help="Write each month's answers here before they go [QUIZCAST_RETENTION_EXPORT].",
)
@click.option("--no-export", "lost", is_flag=True, help="Drop them without.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def retention(months: int | None, folder: Path | None, lost: bool, dry_run: bool) -> None:
    """Drop old answers by the month, and prepare the coming months.

    Games, participants and quizzes stay; the results of a game whose answers are gone say so. To be run once a day.
    """
    import asyncio

    if months and not (folder or lost or dry_run):
        raise click.UsageError("Name a folder by --export, or say --no-export", click.get_current_context())
    settings = external(begin("retention"))
    from quizcast.store.months import prepare, retire

    if not dry_run:
        for name in asyncio.run(prepare(settings.database_url)):
            click.echo(f"prepared {name}")
    if not months:
        return
    kept = None if lost else folder and folder.absolute()
    expired, dropped = asyncio.run(retire(settings.database_url, months, kept, dry_run=dry_run))
    if dry_run:
        for part in expired:
            size = f"about {part.rows:,} answers, {part.bytes / 1e6:,.0f} MB"
            click.echo(f"{part.name} would go: up to {part.last_month}, {size}")
    for gone in dropped:
        click.echo(f"{gone.name} is dropped: {gone.rows:,} answers, {gone.export or 'not exported'}")
    if not (expired or dropped):
        click.echo("nothing is old enough to go")


@click.command(options_metavar="")
def version() -> None:
    """Print the version."""
    click.echo(f"quizcast {__version__}")
