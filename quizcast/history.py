"""The last hour of a machine's metrics in a file, for those without Prometheus: what `/ops` shows; floor 5.

Of the processes that keep a history in one folder, whoever holds the lock takes the samples; when it ends, another
does. A sample holds figures of ten seconds, not sums since ever, so none is lost with the process that took it.
"""

import contextlib
import fcntl
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec
from prometheus_client import Metric

from quizcast.metrics import BELOW, SLO_IN_TIME_S, SLO_ROUTES, WORRY, WORRY_SHARE

EVERY_S = 10.0
KEPT = 360  # samples: an hour; 440 bytes each
FILE, LOCK = "ops.history", "ops.lock"

log = logging.getLogger(__name__)

Labels = Mapping[str, str]
Read = Callable[["Moment"], float | None]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """Figures by the names of `SERIES` as of a moment (ms since the epoch); None for one that there was nothing for."""

    at: int
    values: dict[str, float | None]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a plot: its unit (`/s`, `ms`, `bytes`, `share` or none), where it is worrying, how it is read."""

    name: str
    unit: str = ""
    worry: float | None = None
    below: bool = False  # worrying below it, instead of above
    read: Read


class Moment:
    """All metrics at one time, with what they were `EVERY_S` before."""

    def __init__(self, metrics: Iterable[Metric], before: "Moment | None" = None) -> None:
        self.at = time.time()
        self.before = before
        self._samples: dict[str, list[tuple[Labels, float]]] = {}
        for metric in metrics:
            for one in metric.samples:
                self._samples.setdefault(one.name, []).append((one.labels, one.value))

    def forget(self) -> None:
        """Let go of what was before: else each moment would hold all that ever were."""
        self.before = None

    def all(self, name: str, **having: str) -> list[float]:
        """The values of a metric that has these labels."""
        return [value for labels, value in self._samples.get(name, ()) if having.items() <= labels.items()]

    def total(self, name: str, **having: str) -> float | None:
        """Their sum; None where there is none."""
        found = self.all(name, **having)
        return sum(found) if found else None

    def most(self, name: str) -> float | None:
        """The largest of them."""
        return max(self.all(name), default=None)

    def least(self, name: str) -> float | None:
        """The smallest of them."""
        return min(self.all(name), default=None)

    def share(self, name: str, of: str) -> float | None:
        """One gauge as a share of another."""
        part, whole = self.total(name), self.total(of)
        return part / whole if part is not None and whole else None

    def more(self, name: str, keep: Callable[[Labels], bool] = lambda labels: True) -> float | None:
        """By how much a counter has grown since before; None where that is not known."""
        if self.before is None:
            return None
        grown = self._sum(name, keep) - self.before._sum(name, keep)
        return max(0.0, grown)  # less than before: the sums began anew

    def rate(self, name: str, **having: str) -> float | None:
        """By how much a counter grows in a second."""
        grown = self.more(name, lambda labels: having.items() <= labels.items())
        return None if grown is None or self.before is None else grown / max(1e-3, self.at - self.before.at)

    def quantile_ms(self, share: float, name: str, **having: str) -> float | None:
        """Where this share of a histogram's new values lies, in ms, as `histogram_quantile` reckons it."""
        if self.before is None:
            return None
        bounds = self._by_bound(name, having)
        earlier = self.before._by_bound(name, having)
        grown = [(bound, max(0.0, bounds[bound] - earlier.get(bound, 0.0))) for bound in sorted(bounds)]
        if not grown or not grown[-1][1]:
            return None
        wanted = share * grown[-1][1]
        lower, below = 0.0, 0.0
        for bound, upto in grown:
            if upto >= wanted and upto > below and not math.isinf(bound):
                return (lower + (bound - lower) * (wanted - below) / (upto - below)) * 1000
            if not math.isinf(bound):
                lower, below = bound, upto
        return lower * 1000

    def _by_bound(self, name: str, having: Labels) -> dict[float, float]:
        found: dict[float, float] = {}
        for labels, value in self._samples.get(f"{name}_bucket", ()):
            if having.items() <= labels.items():
                bound = float(labels["le"])
                found[bound] = found.get(bound, 0.0) + value
        return found

    def _sum(self, name: str, keep: Callable[[Labels], bool]) -> float:
        return sum(value for labels, value in self._samples.get(name, ()) if keep(labels))


def _share(name: str, gauge: str) -> Series:
    of, worry = WORRY_SHARE[gauge]
    return Series(name=name, unit="share", worry=worry, below=gauge in BELOW, read=lambda now: now.share(gauge, of))


def _rate(name: str, counter: str, unit: str = "/s", **having: str) -> Series:
    return Series(name=name, unit=unit, read=lambda now: now.rate(counter, **having))


def _median(name: str, histogram: str, **having: str) -> Series:
    return Series(name=name, unit="ms", read=lambda now: now.quantile_ms(0.5, histogram, **having))


def _slowest(name: str, histogram: str, worry_s: float | None = None, **having: str) -> Series:
    worry = (WORRY[histogram] if worry_s is None else worry_s) * 1000
    return Series(name=name, unit="ms", worry=worry, read=lambda now: now.quantile_ms(0.99, histogram, **having))


def _gauge(name: str, gauge: str, read: Callable[["Moment", str], float | None], unit: str = "") -> Series:
    worry = WORRY.get(gauge)
    return Series(name=name, unit=unit, worry=worry, below=gauge in BELOW, read=lambda now: read(now, gauge))


ANSWERS = SLO_ROUTES[0]
SERIES: Sequence[Series] = (
    Series(name="asked", read=lambda now: now.more("quizcast_http_seconds_count", _asked)),
    Series(name="bad", read=lambda now: _bad(now)),
    _gauge("streams", "quizcast_streams", lambda now, name: now.total(name)),
    _share("streams_share", "quizcast_streams"),
    Series(name="streams_lost", unit="/s", read=lambda now: _lost(now)),
    _rate("events", "quizcast_deliveries_total"),
    _median("push_p50", "quizcast_push_seconds"),
    _slowest("push_p99", "quizcast_push_seconds"),
    _rate("answers", "quizcast_intake_total", kind="answer", code="taken"),
    _rate("joins", "quizcast_intake_total", kind="join", code="taken"),
    _median("ack_p50", "quizcast_http_seconds", route=ANSWERS),
    _slowest("ack_p99", "quizcast_http_seconds", SLO_IN_TIME_S, route=ANSWERS),
    _slowest("redis_p99", "quizcast_redis_seconds", call="answers"),
    _slowest("db_p99", "quizcast_db_seconds"),
    _gauge("queue_rows", "quizcast_queue_depth", lambda now, name: now.total(name)),
    _gauge("queue_age", "quizcast_queue_age_seconds", lambda now, name: now.most(name), "s"),
    _gauge("dead", "quizcast_dead_letters_waiting", lambda now, name: now.total(name)),
    _gauge("db_connections", "quizcast_db_connections", lambda now, name: now.total(name)),
    _share("db_share", "quizcast_db_connections"),
    _gauge("memory", "quizcast_process_memory_bytes", lambda now, name: now.total(name), "bytes"),
    _share("memory_left", "quizcast_machine_memory_left_bytes"),
    _share("redis_memory", "quizcast_redis_memory_bytes"),
    _gauge("disk", "quizcast_disk_free_bytes", lambda now, name: now.least(name), "bytes"),
    _rate("cpu", "quizcast_process_cpu_seconds_total", unit=""),
    _gauge("processes", "quizcast_process_memory_bytes", lambda now, name: float(len(now.all(name)))),
)


def _asked(labels: Labels) -> bool:
    return labels["route"] in SLO_ROUTES


def _in_time(labels: Labels) -> bool:
    return _asked(labels) and labels["status"] < "500" and float(labels["le"]) == SLO_IN_TIME_S


def _bad(now: Moment) -> float | None:
    asked = now.more("quizcast_http_seconds_count", _asked)
    good = now.more("quizcast_http_seconds_bucket", _in_time)
    return None if asked is None or good is None else max(0.0, asked - good)


def _lost(now: Moment) -> float | None:
    slow, lost = (now.rate("quizcast_streams_closed_total", reason=reason) for reason in ("slow", "lost"))
    return None if slow is None or lost is None else slow + lost


class History:
    """The history in a folder, as one process takes part in it. A folder that cannot be written keeps none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[bytes] | None = None
        self._last: Moment | None = None

    def ours(self) -> bool:
        """Whether it is this process that takes the samples; from the first time that it is, until it ends."""
        if self._lock is None:
            with contextlib.suppress(OSError):
                lock = self._folder.joinpath(LOCK).open("ab")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    lock.close()
                else:
                    self._lock = lock
        return self._lock is not None

    def take(self, metrics: Iterable[Metric]) -> None:
        """Take a sample. Raises `OSError`."""
        now = Moment(metrics, self._last)
        values = {one.name: _short(one.read(now)) for one in SERIES}
        now.forget()
        self._last = now
        path = self._folder / FILE
        kept = [*self.samples(), Sample(round(now.at * 1000), values)][-KEPT:]
        fresh = path.with_suffix(".new")
        fresh.write_bytes(b"\n".join(map(msgspec.json.encode, kept)))
        os.replace(fresh, path)  # who reads has the old one or the new one

    def samples(self) -> list[Sample]:
        """What there is of the last hour, the oldest first."""
        try:
            lines = self._folder.joinpath(FILE).read_bytes().splitlines()
        except OSError:
            return []
        since = (time.time() - KEPT * EVERY_S) * 1000
        found = []
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):  # of another version
                found.append(msgspec.json.decode(line, type=Sample))
        return [one for one in found if one.at >= since]

    def close(self) -> None:
        """Leave the samples to another process."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _short(value: float | None) -> float | None:
    """Four digits are enough for a plot."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")
