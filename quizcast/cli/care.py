"""`doctor`, `monitoring`, `version`: looking after an installation; inside `cli`."""

from pathlib import Path

import click

from quizcast import __version__
from quizcast.cli.ground import begin, data_dir_option


@click.command(options_metavar="[options]")
@data_dir_option
def doctor(data_dir: Path | None) -> int:
    """Check settings, servers, limits and clocks, and say what to do."""
    from rich.console import Console

    from quizcast.doctor import examine

    return examine(begin("doctor", data_dir), Console())


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
