"""What the bench measures is what people install."""

from pathlib import Path

from bench.contest import Sample
from bench.game import WholeGame
from bench.installation import CROWD, site
from bench.report import Run, written
from quizcast.deploy.nginx import Site

PLACES = ("listen ", "server unix:", "access_log /", "error_log /", "alias /", "proxy_cache_path ")


def how(text: str) -> list[str]:
    """The lines that do not say where something is."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if not line.startswith(PLACES)]


def test_the_bench_runs_the_projects_own_nginx_site_in_other_places() -> None:
    ours = site(8123, Path("/somewhere/files"), Path("/somewhere/doors")).text()

    assert how(ours) == how(Site.on(Path("/run/quizcast"), tls_dir=None, phones=CROWD).text())
    assert "listen 127.0.0.1:8123;" in ours
    assert "server unix:/somewhere/doors/web-1.sock max_fails=0;" in ours
    assert not any(place in ours for place in (" 443", "/run/quizcast", "/var/", "/etc/quizcast"))


def test_a_run_of_one_contest_leaves_the_figures_of_the_others_alone() -> None:
    def sample(contest: str, number: int) -> Sample:
        return Sample(contest=contest, contestant="quizcast", size=1, round=number, figures={})

    before = Run(
        machine={}, load=0, samples=[sample("fanout", 1), sample("flush", 1)], promises={"push p99 (ms)": [48.0]}
    )
    after = Run(machine={}, load=0, samples=[sample("flush", 1), sample("flush", 2)]).beside(before)
    assert [(one.contest, one.round) for one in after.samples] == [("fanout", 1), ("flush", 1), ("flush", 2)]
    assert (after.rounds("fanout"), after.rounds("flush"), after.rounds("intake")) == (1, 2, 0)
    assert after.promises == before.promises


def test_the_record_tells_of_each_contest_how_fast_the_machine_was() -> None:
    game = WholeGame()
    figures = {metric.key: 1.0 for metric in game.metrics}
    samples = [
        Sample(contest=game.name, contestant="quizcast", size=1000, round=number, figures=figures, day=day, pace=pace)
        for number, day, pace in ((1, "2026-11-28", 40.0), (2, "2026-11-29", 20.0), (3, "2026-11-29", 21.0))
    ]
    lines = written(Run(machine={}, load=0, samples=samples), [game], {}).splitlines()
    assert lines[lines.index(f"## {game.title}") + 2].endswith("3 rounds on 2026-11-29, pace 21 (20-40).")
    old = [Sample(contest=game.name, contestant="quizcast", size=1000, round=1, figures=figures)]
    assert "1 round, at a pace that was not noted yet." in written(Run(machine={}, load=0, samples=old), [game], {})
