"""`web`, `worker`, `migrate`, `assets`: what an installation with a supervisor of its own runs; inside `cli`."""

from collections.abc import Sequence
from pathlib import Path

import click

from quizcast.cli.ground import begin, end_with, external, host_option, port_option

index_option = click.option("--index", default=0, type=click.IntRange(0), help="The number in its title.")
parent_option = click.option("--parent", type=int, hidden=True, help="End when this process does.")


@click.command(options_metavar="[options]")
@click.option("--fd", "fds", type=int, multiple=True, help="A listening socket that was inherited; may be repeated.")
@click.option("--uds", default="", help="Path of a unix socket to listen on.")
@host_option
@port_option
@index_option
@parent_option
def web(fds: Sequence[int], uds: str, host: str, port: int, index: int, parent: int | None) -> int:
    """One web process, until SIGTERM."""
    import socket

    end_with(parent)
    settings = external(begin(f"web {index}"))
    from quizcast.auth import Keyring
    from quizcast.web.server import run_web

    Keyring.load(settings)  # here, where wrong keys are one line
    sockets = [socket.socket(fileno=number) for number in fds] or None
    return run_web(settings, sockets=sockets, host=host, port=port, uds=uds)


@click.command(options_metavar="[options]")
@index_option
@parent_option
def worker(index: int, parent: int | None) -> None:
    """One flush worker, until SIGTERM."""
    end_with(parent)
    settings = external(begin(f"worker {index}"))
    from quizcast.supervisor.worker import work

    work(settings)


@click.command(options_metavar="[options]")
def migrate() -> None:
    """Bring the database's schema up to date.

    Beside a running quizcast: no change waits for a lock for longer than half a second at a time.
    """
    import asyncio

    settings = external(begin("migrate"))
    from quizcast.store import months, schema

    applied = asyncio.run(schema.migrate(settings.database_url))
    applied += asyncio.run(months.prepare(settings.database_url))
    click.echo("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


@click.command(options_metavar="")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
def assets(folder: Path | None) -> None:
    """Write the pages' files with compressed variants.

    They go into a folder of DIR [QUIZCAST_STATIC_DIR], named by their digest, for nginx, a CDN and the web processes;
    `serve` does it by itself. Versions that were not in use for a week are removed.
    """
    settings = begin("assets")
    from quizcast.assets import Assets, build

    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # closed, whatever is made in it first
        click.echo(build(Assets.shipped(), folder or settings.static_folder))
    except OSError as error:
        raise click.ClickException(f"the static files: {error}") from error
