"""A picture of each contest: its figures over the sizes, a line for each contestant, whiskers from round to round."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.contest import Contest, Sample
from bench.report import OURS, Figures

COLOURS = {OURS: "#b3124a"}  # ours alone is loud
OTHERS = ("#1f6f8b", "#6a994e", "#b08900", "#7d5ba6", "#555555")


def draw(contest: Contest[Any], samples: Sequence[Sample], folder: Path) -> str:
    """Write `NAME.svg` into a folder; the file's name."""
    import matplotlib  # not a dependency of quizcast: `make bench` installs it

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": contest.name, "font.size": 9, "svg.fonttype": "none"})
    from matplotlib import pyplot

    figures = Figures(contest, samples)
    shown, axes = pyplot.subplots(
        1, len(contest.plotted), figsize=(4.2 * len(contest.plotted), 3.4), squeeze=False, layout="constrained"
    )
    colours = COLOURS | dict(zip([name for name in figures.names if name != OURS], OTHERS, strict=False))
    for axis, key in zip(axes[0], contest.plotted, strict=True):
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
        axis.set_yscale("log")
        axis.set_xticks(figures.sizes, [f"{size:,}" for size in figures.sizes])
        axis.grid(alpha=0.25)
    handles, labels = axes[0][0].get_legend_handles_labels()
    shown.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    name = f"{contest.name}.svg"
    shown.savefig(folder / name, metadata={"Date": None})
    pyplot.close(shown)
    return name
