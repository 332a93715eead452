"""`doctor`, `autoscale`, `monitoring`, `retention`, `version`: looking after an installation; inside `cli`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quizcast import __version__
from quizcast.cli.ground import begin, cores, data_dir_option, external

if TYPE_CHECKING:
    from quizcast.autoscale import Bounds


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


@click.command(options_metavar="[options]")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--runbook-url", default="", help="Where the alerts say that the runbook lies.")
def monitoring(folder: Path, runbook_url: str) -> None:
    """Write alert rules for Prometheus, their runbook, and a dashboard for Grafana.

    `rules.yml`, `alerts.md` and `dashboard.json`, as this version's metrics ask for.
    """
    from quizcast.monitoring import RUNBOOK_URL, build

    try:
        for path in build(folder, runbook_url or RUNBOOK_URL):
            click.echo(path)
    except OSError as error:
        raise click.ClickException(f"the files for monitoring: {error}") from error


@click.command(options_metavar="")
def version() -> None:
    """Print the version."""
    click.echo(f"quizcast {__version__}")


def _bounds(_ctx: click.Context, _option: click.Parameter, text: str) -> "Bounds":
    from quizcast.autoscale import Bounds

    least, _, most = text.partition(":")
    try:
        bounds = Bounds(least=int(least), most=int(most or least))
    except ValueError as error:
        raise click.BadParameter("two numbers, like 2:8") from error
    if not 1 <= bounds.least <= bounds.most:
        raise click.BadParameter("1 or more, and the first no more than the second")
    return bounds


@click.command(options_metavar="[options]")
@click.option("--web", default=f"1:{cores()}", callback=_bounds, metavar="MIN:MAX", help="Web processes [1:cores].")
@click.option("--workers", default="1:2", show_default=True, callback=_bounds, metavar="MIN:MAX")
@click.option(
    "--streams", default=2500, show_default=True, type=click.FloatRange(1), help="One more above these, each."
)
@click.option("--cpu", default=0.6, show_default=True, type=click.FloatRange(0.05, 1), help="Cores, each; likewise.")
@click.option("--queue-age", default=5.0, show_default=True, type=click.FloatRange(0.1), help="A worker more above, s.")
@click.option("--up-after", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds after any step.")
@click.option(
    "--down-after", default=300.0, show_default=True, type=click.FloatRange(0), help="Seconds of little load."
)
@click.option("--sockets", default="/run/quizcast", show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--state", default="/var/lib/quizcast-autoscale/state.json", type=click.Path(path_type=Path), help="A file."
)
@click.option("--upstream", type=click.Path(path_type=Path), help="nginx's `server` lines go here; nginx is reloaded.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def autoscale(
    web: "Bounds",
    workers: "Bounds",
    streams: float,
    cpu: float,
    queue_age: float,
    up_after: float,
    down_after: float,
    sockets: Path,
    state: Path,
    upstream: Path | None,
    dry_run: bool,
) -> None:
    """Start or stop a web process and a worker, if need be.

    Looks at the systemd units of this machine once, takes at most one step of each kind, and says why. The timer
    quizcast-autoscale.timer calls it every few seconds.
    """
    from quizcast.autoscale import Pace, Plan, scale

    plan = Plan(
        web=web,
        workers=workers,
        streams=streams,
        cpu=cpu,
        queue_s=queue_age,
        pace=Pace(up_s=up_after, down_s=down_after),
        sockets=sockets,
        state=state,
        upstream=upstream,
    )
    for line in scale(plan, token=begin("autoscale").metrics_token, dry_run=dry_run):
        click.echo(line)
