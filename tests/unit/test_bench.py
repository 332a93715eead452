"""What the bench measures is what people install."""

from pathlib import Path

from bench.installation import SITE, site

PLACES = ("listen ", "ssl_", "server unix:", "access_log /", "error_log /")


def how(text: str) -> list[str]:
    """The lines that do not say where something is."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if not line.startswith(PLACES)]


def test_the_bench_runs_the_projects_own_nginx_site_in_other_places() -> None:
    ours = site(8123, Path("/somewhere/files"), Path("/somewhere/doors"))

    assert how(ours) == how(SITE.read_text())
    assert "listen 127.0.0.1:8123;" in ours
    assert "server unix:/somewhere/doors/web-1.sock max_fails=0;" in ours
    assert not any(place in ours for place in (" 443", "/run/quizcast", "/var/log", "/etc/quizcast"))
