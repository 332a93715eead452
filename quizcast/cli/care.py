"""`doctor`, `version`: looking after an installation; inside `cli`."""

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


@click.command(options_metavar="")
def version() -> None:
    """Print the version."""
    click.echo(f"quizcast {__version__}")
