"""`nginx`, `install`: what a machine needs around quizcast; inside `cli`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from quizcast.cli.ground import begin

SERVERS = ("redis", "valkey")  # groups that may reach the unix socket of Debian's servers
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(options_metavar="[options]")
@click.option("--print", "printed", is_flag=True, help="To standard output, as without --output.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Into this file.")
@click.option("--web", type=click.IntRange(1, 256), help="Web processes of this machine, on unix sockets [2].")
@click.option("--upstream", "upstreams", multiple=True, metavar="HOST:PORT", help="Web processes elsewhere; repeat it.")
@click.option("--server-name", default="_", help="The site's name [any].")
@click.option("--listen", multiple=True, metavar="[ADDRESS:]PORT", help="Instead of 443 and 80; may be repeated.")
@click.option("--tls-dir", type=FOLDER, default="/etc/quizcast/tls", help="Where fullchain.pem and key.pem are.")
@click.option("--plain", is_flag=True, help="Without TLS, behind a balancer that has it.")
@click.option("--static", type=FOLDER, default="/var/cache/quizcast/static", help="What `quizcast assets` writes.")
@click.option("--phones", default=1000, show_default=True, type=click.IntRange(1), help="Behind one address at most.")
@click.option(
    "--behind", multiple=True, metavar="ADDRESS", help="A balancer whose X-Forwarded-* is believed; repeat it."
)
@click.option("--monitoring", multiple=True, metavar="ADDRESS", help="May read /metrics and /readyz; repeat it.")
@click.option("--brotli/--no-brotli", default=None, help="Whether nginx has brotli_static [look].")
def nginx(
    printed: bool,
    output: Path | None,
    web: int | None,
    upstreams: Sequence[str],
    server_name: str,
    listen: Sequence[str],
    tls_dir: Path,
    plain: bool,
    static: Path,
    phones: int,
    behind: Sequence[str],
    monitoring: Sequence[str],
    brotli: bool | None,
) -> None:
    """Write nginx's site for this machine, or for a layout of yours."""
    from quizcast.deploy.nginx import BROTLI, WEB, Site

    if printed and output:
        raise click.UsageError("Say --print or --output, not both", click.get_current_context())
    if upstreams and web:
        raise click.UsageError("Say --web or --upstream, not both", click.get_current_context())
    layout = {
        "server_name": server_name,
        "listen": tuple(listen),
        "tls_dir": None if plain else tls_dir,
        "static": static,
        "phones": phones,
        "behind": tuple(behind),
        "monitoring": tuple(monitoring),
        "brotli": BROTLI.exists() if brotli is None else brotli,
    }
    if upstreams:
        site = Site(upstreams=tuple(upstreams), **layout)  # type: ignore[arg-type]
    else:
        site = Site.on(Path("/run/quizcast"), web or WEB, **layout)
    if output:
        output.write_text(site.text(), "utf-8")
    else:
        click.echo(site.text(), nl=False)


@click.command(options_metavar="[options]")
@click.option("--prefix", type=FOLDER, default="/", show_default=True, help="Below this folder, for a trial.")
@click.option("--web", default=2, show_default=True, type=click.IntRange(1, 256), help="Web processes.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option("--server-name", default="_", help="The site's name [any].")
@click.option("--uninstall", is_flag=True, help="Take everything away, but not data and what you have changed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def install(prefix: Path, web: int, workers: int, server_name: str, uninstall: bool, dry_run: bool) -> None:
    """Put units, nginx's site, user, folders and settings in place.

    On a Debian machine, as root. Run it again after an upgrade, or for more processes: what you have changed stays.
    """
    import grp
    import subprocess

    from quizcast.deploy import install as installer
    from quizcast.deploy.nginx import BROTLI, Site
    from quizcast.deploy.units import Places, files

    settings = begin("install")
    prefix = prefix.absolute()
    places = Places(root=prefix, program=_program())
    if uninstall:
        steps = installer.uninstall(places)
        if not steps:
            raise click.ClickException(f"nothing is installed in {prefix}")
    else:
        groups = [one.gr_name for one in grp.getgrall() if one.gr_name in SERVERS]
        site = Site.on(
            places.run,
            web,
            server_name=server_name,
            tls_dir=places.etc / "tls",
            static=places.cache / "static",
            cache_dir=prefix / "var/lib/nginx/quizcast",
            log_dir=prefix / "var/log/nginx",
            brotli=BROTLI.exists(),
        )
        steps = installer.install(places, files(places, settings, web=web, workers=workers, groups=groups), site.text())
    for step in steps:
        click.echo(step)
        if not dry_run:
            try:
                installer.do(step)
            except (OSError, subprocess.CalledProcessError) as error:
                raise click.ClickException(f"{step}: {error}") from error


def _program() -> Path:
    """This program as it was called, through a link that the next version may take over; nothing is resolved."""
    called = Path(sys.argv[0]).absolute()
    return called if called.name == "quizcast" else Path(sys.executable).with_name("quizcast")
