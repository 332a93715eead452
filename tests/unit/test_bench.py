"""What the bench measures is what people install."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.contest import Contest, Contestant, Metric, Sample
from bench.game import WholeGame
from bench.installation import CROWD, site
from bench.report import FAILED, Run, changes, compared, written
from bench.run import looked_again
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


class Runner(Contestant):
    """Never started."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        raise NotImplementedError


class Race(Contest[Runner]):
    """Two sizes; the floor takes 1 ms, and quizcast what comes next of what the test says."""

    name = "race"
    metrics = (Metric(key="ms", title="ms", ratio=True),)
    quick_floors = ("floor",)
    quick_sizes = (1, 2)
    contestants = (Runner("quizcast"), Runner("floor"))

    def __init__(self, *measured: float) -> None:
        self._next = iter(measured)

    def measure(self, contestant: Runner, size: int) -> dict[str, float]:
        return {"ms": next(self._next) if contestant.name == "quizcast" else 1.0}


@pytest.mark.parametrize(
    ("again", "status", "told"),
    [([2.0, 2.1], 0, "as before, or better"), ([2.9, 2.1, 2.9], FAILED, "1 ratios are worse")],
)
def test_what_looks_worse_once_is_measured_again_and_fails_only_if_it_is_worse_again(
    again: list[float], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def samples(**measured: float) -> Iterator[Sample]:
        for who, ms in (*measured.items(), ("floor", 1.0)):
            for size in (1, 2):
                yield Sample(contest="race", contestant=who, size=size, round=1, figures={"ms": ms * size})

    before = Run(machine={}, load=0, samples=[*samples(quizcast=2.0)])
    race = Race(*again)
    now = [*samples(quizcast=2.0)]
    now[0] = Sample(contest="race", contestant="quizcast", size=1, round=1, figures={"ms": 3.0})
    chosen = argparse.Namespace(quick=True, sizes=None, contestants=None)
    rounds = len(again)
    now = looked_again(now, before, [race], rounds, chosen)
    assert {one.size: one.figures["ms"] for one in now if one.contestant == "quizcast" and one.size == 2} == {2: 4.0}
    left: Any = next(race._next, None)
    assert left is None  # the size that was as before was not measured again
    assert compared(list(changes(Run(machine={}, load=0, samples=now), before, [race]))) == status
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("ms", "worse"), [(2.2, False), (2.4, False), (2.6, True)])
def test_a_ratio_is_worse_beyond_the_tolerance_and_beyond_every_round_of_the_run_before(ms: float, worse: bool) -> None:
    def run(*measured: float) -> Run:
        samples = [
            Sample(contest="race", contestant=who, size=1, round=number, figures={"ms": took})
            for number, one in enumerate(measured)
            for who, took in (("quizcast", one), ("floor", 1.0))
        ]
        return Run(machine={}, load=0, samples=samples)

    (change,) = changes(run(ms), run(1.9, 2.0, 2.5), [Race()])
    assert change.worse is worse
