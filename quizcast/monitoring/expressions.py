"""PromQL as alerts and dashboard share it; inside `monitoring`, at the bottom."""

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from quizcast.metrics import SLO_IN_TIME_S, SLO_ROUTES

Metric = Counter | Gauge | Histogram

JOB = 'job="quizcast"'
_ROUTES = "|".join(route.replace("{", "[{]").replace("}", "[}]") for route in SLO_ROUTES)
ASKED = f'{JOB},route=~"{_ROUTES}"'
IN_TIME = f'{ASKED},status!~"5..",le="{SLO_IN_TIME_S:g}"'


def name_of(metric: Metric) -> str:
    """A metric's name in docs/metrics.md, without the suffixes of its samples."""
    return str(next(iter(metric.describe())).name)


def labels_of(metric: Metric) -> tuple[str, ...]:
    """The names of its labels."""
    return tuple(metric._labelnames)


def p99(name: str, window: str, *by: str, where: str = JOB, share: float = 0.99) -> str:
    """Where the slowest hundredth of a histogram begins, for each value of these labels."""
    kept = ", ".join(("le", *by))
    return f"histogram_quantile({share:g}, sum by ({kept}) (rate({name}_bucket{{{where}}}[{window}])))"


def increase(counter: str, window: str, *by: str, where: str = "") -> str:
    """By how much a counter has grown in a window."""
    return f"{_by(by)}(increase({counter}_total{{{_and(where)}}}[{window}]))"


def rate(counter: str, window: str, by: Sequence[str] = (), where: str = JOB) -> str:
    """By how much a counter grows in a second."""
    return f"{_by(by)}(rate({counter}_total{{{where}}}[{window}]))"


def _by(labels: Sequence[str]) -> str:
    return f"sum by ({', '.join(labels)}) " if labels else "sum"


def _and(where: str) -> str:
    return f"{JOB},{where}" if where else JOB
