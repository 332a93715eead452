"""What the contests of quizcast with itself have in common: one thing is made more and more of, the rest stays."""

import time

from bench.backstage import Backstage
from bench.contest import C, Contest, Metric
from bench.fanout import OPEN_TIMEOUT_S, Quizcast
from bench.native import Reader

SETTLE_S = 0.5

P50 = Metric(key="p50_ms", title="p50 (ms)")
P99 = Metric(key="p99_ms", title="p99 (ms)")
CPU = Metric(key="cpu_s", title="CPU s per million", digits=1)


class Sweep(Contest[C]):
    """There is nobody to be compared with."""

    group = "growth"
    floors = ()
    quick_floors = ()
    quick_sizes = ()


class WebSweep(Sweep[Quizcast]):
    """One `quizcast web` on a core of its own, at several sizes of one thing."""

    def __init__(self, stage: Backstage) -> None:
        self._hall = stage.hall
        self.contestants = (Quizcast(stage),)


def opened(*readers: Reader) -> None:
    """Wait until all streams are open, and a moment more. Raises `RuntimeError` when they do not open."""
    if any(reader.line(OPEN_TIMEOUT_S) is None for reader in readers):
        raise RuntimeError("the streams did not open")
    time.sleep(SETTLE_S)
