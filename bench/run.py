"""Runs the contests in turn, several rounds interleaved, and writes what came out; the command behind `make bench`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import promises
from bench.backstage import Backstage, backstage
from bench.contest import Contest, Sample
from bench.fanout import FanOut
from bench.flush import Flush
from bench.game import WholeGame
from bench.growth import SWEEPS
from bench.intake import Intake
from bench.machine import LOAD_CORE, describe, load, pace, pin
from bench.overload import OVERLOADS
from bench.plots import draw
from bench.report import Run, changes, compared, written

HERE = Path(__file__).parent
FIGURES = "figures.json"  # of the last release: what `--quick` compares with
RESULTS = "RESULTS.md"
CONTESTS = ("fanout", "intake", "flush", "game", "growth", "overload", "promises")
# They have no floors, and their figures are the machine's as much as ours.
UNCOMPARED = ("game", "growth", "overload", "promises")
ROUNDS = 5
QUICK_ROUNDS = 2  # two minutes, and another half for each size that is measured again
PARTS = tuple(part.name for part in (*SWEEPS, *OVERLOADS))  # of growth and overload, each by itself
BUSY = 0.5  # processes that run besides the bench; above that, figures are noise


def main() -> None:
    """Measure; write `RESULTS.md`, plots and figures, or compare with the last ones."""
    parser = argparse.ArgumentParser(description="Measure quizcast beside its peers.")
    parser.add_argument("--quick", action="store_true", help="compare with the last release's figures; writes nothing")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", nargs="+", metavar="CONTEST", choices=(*CONTESTS, *PARTS))
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of the contest's own; use it with --only")
    parser.add_argument("--contestants", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=Path, default=HERE, help="where results and figures are")
    chosen = parser.parse_args()
    if load() > BUSY:
        print(f"others are at work here (load {load():.1f}): these figures will be provisional", file=sys.stderr)
    if chosen.quick and not (chosen.out / FIGURES).exists():
        sys.exit(f"there is no {chosen.out / FIGURES} to compare with; `make bench` writes it")
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
    wanted = chosen.only or [name for name in CONTESTS if not (chosen.quick and name in UNCOMPARED)]
    # First, while this process and its children may still use every core.
    promised = promises.measured(rounds) if "promises" in wanted else {}
    pin(LOAD_CORE)
    figures = chosen.out / FIGURES
    before = msgspec.json.decode(figures.read_bytes(), type=Run) if figures.exists() else None
    with tempfile.TemporaryDirectory() as folder, backstage(Path(folder)) as stage:
        contests = list(_contests(stage))
        samples = list(_samples([one for one in contests if {one.group, one.name} & {*wanted}], rounds, chosen))
        if chosen.quick and before is not None:
            samples = looked_again(samples, before, contests, rounds, chosen)
    run = Run(machine=describe(), load=load(), samples=samples, promises=promised)
    if chosen.quick and before is not None:
        sys.exit(compared(list(changes(run, before, contests))))
    if before is not None:
        run = run.beside(before)
    contests = [one for one in contests if run.rounds(one.name)]
    chosen.out.mkdir(parents=True, exist_ok=True)
    plots = draw(contests, run.samples, chosen.out)
    (chosen.out / RESULTS).write_text(written(run, contests, plots))
    figures.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def looked_again(
    samples: list[Sample], before: Run, contests: Sequence[Contest[Any]], rounds: int, chosen: argparse.Namespace
) -> list[Sample]:
    """What looks worse is measured afresh, and that counts: on a machine with others on it, one of a dozen ratios of a
    tree that nobody has changed looks so now and then, and the same one twice hardly ever does."""
    run = Run(machine={}, load=0, samples=samples)
    for contest in contests:
        doubtful = {one.size for one in changes(run, before, [contest]) if one.worse}
        kept = [one for one in samples if one.contest != contest.name or one.size not in doubtful]
        samples = [*kept, *_samples([contest], rounds, chosen, sorted(doubtful))]
    return samples


def _contests(stage: Backstage) -> Iterator[Contest[Any]]:
    yield FanOut(stage)
    yield Intake(stage)
    yield Flush(stage)
    yield from (sweep(stage) for sweep in SWEEPS)
    yield from (part(stage) for part in OVERLOADS)
    yield WholeGame()


def _samples(
    contests: Sequence[Contest[Any]], rounds: int, chosen: argparse.Namespace, sizes: Sequence[int] | None = None
) -> Iterator[Sample]:
    """One measurement after the other: within a round every contestant has its turn at a size, so that a disturbance
    meets all of them alike."""
    for number in range(1, rounds + 1):
        for contest in contests:
            usual = contest.quick_sizes if chosen.quick else contest.sizes
            for size in (chosen.sizes or usual) if sizes is None else sizes:
                for contestant in contest.contestants:
                    if chosen.contestants and contestant.name not in chosen.contestants:
                        continue
                    if chosen.quick and contestant.name not in ("quizcast", *contest.quick_floors):
                        continue
                    print(f"round {number}/{rounds} {contest.name} {size:,}: {contestant.name}", file=sys.stderr)
                    now = pace()
                    try:
                        figures = contest.measure(contestant, size)
                    except RuntimeError as error:  # a contestant who cannot do it is no reason to stop the others
                        print(f"  {error}", file=sys.stderr)
                        continue
                    yield Sample(
                        contest=contest.name,
                        contestant=contestant.name,
                        size=size,
                        round=number,
                        figures=figures,
                        day=time.strftime("%Y-%m-%d"),
                        pace=now,
                    )


if __name__ == "__main__":
    main()
