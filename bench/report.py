"""What a run found: medians with their spread, ratios to the floors of the same round, goals, and the comparison."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bench.contest import Contest, Goal, Metric, Sample

OURS = "quizcast"
TOLERANCE = 0.15  # what `bench-quick` lets a ratio be worse by
FAILED = 1


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured; `load` is the load average at the end."""

    machine: dict[str, str]
    load: float
    samples: list[Sample]
    promises: dict[str, list[float]] = {}

    def rounds(self, contest: str) -> int:
        """How many rounds a contest had."""
        return max((one.round for one in self.samples if one.contest == contest), default=0)

    def beside(self, before: "Run") -> "Run":
        """This run, with what an earlier one measured and this one did not: what `--only` leaves alone."""
        ours = {one.contest for one in self.samples}
        kept = [one for one in before.samples if one.contest not in ours]
        return msgspec.structs.replace(self, samples=[*kept, *self.samples], promises=self.promises or before.promises)


class Figures:
    """The samples of one contest, to be asked for values and ratios."""

    def __init__(self, contest: Contest[Any], samples: Sequence[Sample]) -> None:
        self._found = {
            (one.contestant, one.size, one.round): one.figures for one in samples if one.contest == contest.name
        }
        self.sizes = sorted({size for _, size, _ in self._found})
        self.names = list(dict.fromkeys(name for name, _, _ in self._found))

    def values(self, name: str, size: int, metric: str) -> list[float]:
        """A contestant's values, one for each round that it came through."""
        return [found[metric] for (who, at, _), found in self._found.items() if (who, at) == (name, size)]

    def ratios(self, name: str, over: str, size: int, metric: str) -> list[float]:
        """The same as multiples of another contestant's, each of the same round."""
        pairs = [
            (found[metric], self._found[over, size, number][metric])
            for (who, at, number), found in self._found.items()
            if (who, at) == (name, size) and (over, size, number) in self._found
        ]
        return [own / other for own, other in pairs if other]


def written(run: Run, contests: Sequence[Contest[Any]], plots: Mapping[str, str]) -> str:
    """`RESULTS.md`."""
    return "\n".join(_lines(run, contests, plots)) + "\n"


def _lines(run: Run, contests: Sequence[Contest[Any]], plots: Mapping[str, str]) -> Iterator[str]:
    yield "# What quizcast measures beside its peers"
    yield ""
    yield "Written by `make bench`; run it on a quiet machine. Each figure is the median of the rounds, with the"
    yield "smallest and the largest in brackets; a ratio (×) is the median of the ratios within each round. In a round,"
    yield f"contestants take turns at each size. Load average at the end: {run.load:.1f}."
    yield ""
    yield "`--only` measures a contest anew and leaves the others as they were: the machine may have been faster in one"
    yield "of them than in another. *Pace* says how fast: how many million times a second Python went through an empty"
    yield "loop on it, just before each measurement. Ratios bear that better than the rest does, and not wholly."
    for contest in contests:
        figures = Figures(contest, run.samples)
        rounds = run.rounds(contest.name)
        yield from (
            "",
            f"## {contest.title}",
            "",
            f"{contest.says} {rounds} round{'s'[: rounds > 1]}{_when(run, contest)}.",
        )
        if contest.name in plots:
            yield from ("", f"![{contest.title}]({plots[contest.name]})")
        if goals := [line for goal in contest.goals if (line := _goal_line(contest, figures, goal))]:
            yield from ("", f"| {OURS} | is | is to be | |", "|---|--:|--:|---|", *goals)
        if figures.names == [OURS]:
            yield from ("", *_sweep(contest, figures))
            continue
        for size in figures.sizes:
            yield from ("", f"### {size:,} {contest.unit}", "", *_table(contest, figures, size))
    if run.promises:
        yield from ("", "## Promises", "", "A whole installation and its crowd on all cores, nothing pinned.", "")
        yield from ("| figure | median | worst |", "|---|--:|--:|")
        for name, values in run.promises.items():
            yield f"| {name} | {statistics.median(values):,.1f} | {max(values):,.1f} |"
    yield from ("", "## Machine", "", "| | |", "|---|---|")
    yield from (f"| {name} | {value} |" for name, value in run.machine.items())


def _when(run: Run, contest: Contest[Any]) -> str:
    samples = [one for one in run.samples if one.contest == contest.name and one.pace]
    if not samples:
        return ", at a pace that was not noted yet"
    return f" on {max(one.day for one in samples)}, pace {_spread([one.pace for one in samples], 0)}"


def _goal_line(contest: Contest[Any], figures: Figures, goal: Goal) -> str | None:
    values = _of_goal(figures, goal)
    if not values:
        return None
    metric = next(one for one in contest.metrics if one.key == goal.metric)
    over, value = f" ÷ {goal.over}" if goal.over else "", statistics.median(values)
    bound = f"≤ {goal.at_most:g}" if goal.at_most is not None else f"≥ {goal.at_least:g}"
    verdict = "reached" if _holds(goal, value) else "missed"
    digits = 2 if goal.over else metric.digits
    return f"| {metric.title} at {goal.size:,}{over} | {_spread(values, digits)} | {bound} | {verdict} |"


def _of_goal(figures: Figures, goal: Goal) -> list[float]:
    if goal.over is None:
        return figures.values(OURS, goal.size, goal.metric)
    return figures.ratios(OURS, goal.over, goal.size, goal.metric)


def _holds(goal: Goal, value: float) -> bool:
    return (goal.at_most is None or value <= goal.at_most) and (goal.at_least is None or value >= goal.at_least)


def _table(contest: Contest[Any], figures: Figures, size: int) -> Iterator[str]:
    heads, columns = ["contestant"], list(_columns(contest))
    for metric, floor in columns:
        heads.append(f"× {floor}" if floor else metric.title)
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'--:|' * len(columns)}"
    for name in figures.names:
        if figures.values(name, size, contest.metrics[0].key):
            cells = [_cell(figures, name, size, metric, floor) for metric, floor in columns]
            yield f"| {name} | {' | '.join(cells)} |"


def _sweep(contest: Contest[Any], figures: Figures) -> Iterator[str]:
    """Ours alone: a row for each size."""
    yield f"| {contest.unit} | {' | '.join(metric.title for metric in contest.metrics)} |"
    yield f"|--:|{'--:|' * len(contest.metrics)}"
    for size in figures.sizes:
        cells = [_spread(figures.values(OURS, size, metric.key), metric.digits) for metric in contest.metrics]
        yield f"| {size:,} | {' | '.join(cells)} |"


def _columns(contest: Contest[Any]) -> Iterator[tuple[Metric, str]]:
    for metric in contest.metrics:
        yield metric, ""
        if metric.ratio:
            yield from ((metric, floor) for floor in contest.floors)


def _cell(figures: Figures, name: str, size: int, metric: Metric, floor: str) -> str:
    if not floor:
        return _spread(figures.values(name, size, metric.key), metric.digits)
    ratios = figures.ratios(name, floor, size, metric.key)
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def _spread(values: Sequence[float], digits: int) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    if len(values) == 1 or least == most:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({least:,.{digits}f}-{most:,.{digits}f})"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One of our ratios to a floor, in this run and in the one before; `by` is relative, and above 0 where worse.
    `beyond`: no round of the run before was so bad."""

    contest: str
    size: int
    name: str
    now: float
    before: float
    by: float
    beyond: bool

    @property
    def worse(self) -> bool:
        """Whether it is so by more than a run may differ from the next, and a round from the others of its run."""
        return self.beyond and self.by > TOLERANCE


def changes(now: Run, before: Run, contests: Sequence[Contest[Any]]) -> Iterator[Change]:
    """Our ratios to the floors of `bench-quick`, where both runs have them."""
    for contest in contests:
        new, old = Figures(contest, now.samples), Figures(contest, before.samples)
        for metric in (one for one in contest.metrics if one.ratio):
            for size in new.sizes:
                for floor in contest.quick_floors:
                    here, there = new.ratios(OURS, floor, size, metric.key), old.ratios(OURS, floor, size, metric.key)
                    if not (here and there):
                        continue
                    own, other = statistics.median(here), statistics.median(there)
                    yield Change(
                        contest=contest.name,
                        size=size,
                        name=f"{contest.name} {size:,}: {metric.title} ÷ {floor}",
                        now=own,
                        before=other,
                        by=(own / other - 1) * (1 if metric.lower else -1),
                        beyond=own > max(there) if metric.lower else own < min(there),
                    )


def compared(found: Sequence[Change]) -> int:
    """Print our ratios beside those of a run before; the exit status."""
    print(f"{'':52}{'now':>8}{'release':>8}{'worse by':>10}")
    for one in found:
        print(f"{one.name:52}{one.now:8.2f}{one.before:8.2f}{one.by:+10.0%}" + ("  worse" if one.worse else ""))
    if worse := sum(one.worse for one in found):
        print(f"{worse} ratios are worse than the last release's by more than {TOLERANCE:.0%}")
        return FAILED
    print("as before, or better")
    return 0
