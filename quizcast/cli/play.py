"""`serve`, `demo`, `simulate`: playing; inside `cli`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quizcast.cli.ground import (
    begin,
    cores,
    data_dir_option,
    email_option,
    host_option,
    password,
    port_option,
    url_option,
)

if TYPE_CHECKING:
    from quizcast.supervisor import Supervisor

web_option = click.option("--web", default=None, type=click.IntRange(1, 256), help="Web processes [one per core].")
workers_option = click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64))


@click.command(options_metavar="[options]")
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

    settings = begin("supervisor", data_dir)

    def on_ready(tree: "Supervisor") -> None:
        click.echo(f"quizcast is ready on {tree.url}")
        if tree.public_url != tree.url:
            click.echo(f"others reach it at {tree.public_url}")

    return supervisor.serve(settings, host=host, port=port, web=web or cores(), workers=workers, on_ready=on_ready)


@click.command(options_metavar="[options]")
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

    settings = begin("supervisor", data_dir)
    plan = Plan(
        users=users,
        questions=questions,
        once=once,
        host=host,
        port=port,
        web=web or max(1, cores() // 2),  # the crowd needs the other half
        workers=workers,
        data_dir=data_dir,
        report=report,
    )
    return run_demo(settings, plan, Console())


@click.command(options_metavar="[options]")
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

    begin("simulate")
    console = Console(stderr=True)
    with view(Scene(title=f"simulation against {url}"), console) as shown:
        result = run(
            url,
            users=users,
            questions=questions,
            email=email or "",
            password=password() if email else "",
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
