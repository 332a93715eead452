"""A picture of each contest: its figures over the sizes, a line for each contestant, whiskers from round to round.

Contests of one group share a picture, a row for each.
"""

import statistics
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.contest import Contest, Sample
from bench.report import OURS, Figures

COLOURS = {OURS: "#b3124a"}  # ours alone is loud
OTHERS = ("#1f6f8b", "#6a994e", "#b08900", "#7d5ba6", "#555555")


def draw(contests: Sequence[Contest[Any]], samples: Sequence[Sample], folder: Path) -> dict[str, str]:
    """Write an SVG for each group of contests into a folder; the files by the name of the first contest in them."""
    import matplotlib  # not a dependency of quizcast: `make bench` installs it

    matplotlib.use("svg")
    files = {}
    drawable = [contest for contest in contests if contest.plotted]
    for name, found in groupby(drawable, lambda contest: contest.group or contest.name):
        members = list(found)
        files[members[0].name] = f"{name}.svg"
        matplotlib.rcParams.update({"svg.hashsalt": name, "font.size": 9, "svg.fonttype": "none"})
        _draw(members, samples, folder / files[members[0].name])
    return files


def _draw(contests: Sequence[Contest[Any]], samples: Sequence[Sample], file: Path) -> None:
    from matplotlib import pyplot

    columns = max(len(contest.plotted) for contest in contests)
    shown, axes = pyplot.subplots(
        len(contests), columns, figsize=(4.2 * columns, 3.4 * len(contests)), squeeze=False, layout="constrained"
    )
    for contest, row in zip(contests, axes, strict=True):
        _draw_row(contest, Figures(contest, samples), row)
    handles, labels = axes[0][0].get_legend_handles_labels()
    if len(labels) > 1:
        shown.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    shown.savefig(file, metadata={"Date": None})
    pyplot.close(shown)


def _draw_row(contest: Contest[Any], figures: Figures, axes: Sequence[Any]) -> None:
    colours = COLOURS | dict(zip([name for name in figures.names if name != OURS], OTHERS, strict=False))
    for axis in axes[len(contest.plotted) :]:
        axis.set_visible(False)
    for axis, key in zip(axes, contest.plotted, strict=False):
        for name in figures.names:
            points = [(size, found) for size in figures.sizes if (found := figures.values(name, size, key))]
            middles = [statistics.median(found) for _, found in points]
            below = [middle - min(found) for middle, (_, found) in zip(middles, points, strict=True)]
            above = [max(found) - middle for middle, (_, found) in zip(middles, points, strict=True)]
            axis.errorbar(
                [size for size, _ in points],
                middles,
                yerr=[below, above],
                label=name,
                color=colours.get(name),
                marker="o",
                markersize=3,
                linewidth=2 if name == OURS else 1.2,
                capsize=2,
            )
        axis.set_title(next(one.title for one in contest.metrics if one.key == key))
        axis.set_xlabel(contest.unit)
        if len(figures.names) > 1:
            axis.set_yscale("log")
        else:  # not to compare, but to see whether the line is straight, and where it bends
            axis.set_ylim(0, axis.get_ylim()[1] * 1.1)
        axis.set_xticks(figures.sizes, [_short(size) for size in figures.sizes])
        axis.grid(alpha=0.25)


def _short(size: int) -> str:
    """1,000 and 2,000 stand close together on an axis up to 10,000."""
    return f"{size // 1000}k" if size >= 1000 and not size % 1000 else f"{size:,}"
