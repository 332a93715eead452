"""More or fewer web processes and workers on this machine: one look, and at most one step of each kind; floor 8.

A timer calls `scale` every few seconds (see systemd/). What has to be known from look to look is in a file. nginx
learns of web processes through another file, the `server` lines of its upstream: written and reloaded after one has
started, and before one is stopped, so that nothing is sent to who is not there.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from quizcast.autoscale import machine
from quizcast.autoscale.decision import Bounds, Decision, Measure, Pace, Past, decide
from quizcast.autoscale.machine import Unit, unit_name
from quizcast.errors import ProcessFailed

__all__ = ["Bounds", "Decision", "Measure", "Pace", "Past", "Plan", "decide", "scale"]

# A process is let go only where the others would then be below this share of what asks for one more.
DOWN = 0.6
QUEUE_IDLE_S = 1.0  # what a worker that keeps up leaves waiting


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds and thresholds. `streams` and `cpu` (cores) are of one process; `queue_s` is the oldest row's age."""

    web: Bounds
    workers: Bounds
    streams: float = 2500
    cpu: float = 0.6
    queue_s: float = 5.0
    pace: Pace = Pace()
    sockets: Path = Path("/run/quizcast")
    state: Path = Path("/var/lib/quizcast-autoscale/state.json")
    upstream: Path | None = None


class Remembered(msgspec.Struct, kw_only=True):
    """What is kept between two looks: CPU times by unit and process at `looked_at`, each kind's past, and the upstream
    that nginx has been told of."""

    looked_at: float = 0.0
    cpu_s: dict[str, float] = {}
    past: dict[str, Past] = {}
    upstream: str = ""


def scale(plan: Plan, *, token: str = "", dry_run: bool = False, now: float | None = None) -> list[str]:
    """Look once, take the steps, and say what was done and why; a `dry_run` does and remembers nothing.

    Raises `ProcessFailed` when systemd does not do as it is asked.
    """
    now = time.time() if now is None else now
    before = _recall(plan.state)
    units = machine.units()
    told = machine.sums([_door(plan, unit) for unit in units if unit.kind == "web"], token)
    cpu_s = {_cpu_key(unit): unit.cpu_s for unit in units if unit.cpu_s is not None}
    after = Remembered(looked_at=now, cpu_s=cpu_s, past=before.past, upstream=before.upstream)
    lines = []
    try:
        for kind, bounds in (("web", plan.web), ("worker", plan.workers)):
            own = [unit for unit in units if unit.kind == kind]
            past = before.past.get(kind, Past())
            if kind == "web" and not dry_run:
                _tell_nginx(plan, own, after)
            if all(unit.settled for unit in own):
                found = decide(bounds, plan.pace, len(own), _measures(plan, kind, own, told, before, now), past, now)
            else:
                coming = ", ".join(unit.name for unit in own if not unit.settled)
                found = Decision(step=0, why=f"{coming} comes or goes", past=past)
            to = f" → {len(own) + found.step}" if found.step else ""
            lines.append(f"{kind}: {len(own)}{to} of {bounds.least} to {bounds.most}: {found.why}")
            if found.step and not dry_run:
                _take(plan, kind, own, found.step, after)
            after.past[kind] = found.past  # not before: a step that failed was none
    finally:
        if not dry_run:
            _keep(plan.state, after)
    return lines


def _measures(
    plan: Plan, kind: str, own: list[Unit], told: Mapping[str, tuple[float, float]], before: Remembered, now: float
) -> list[Measure]:
    unknown = (math.nan, math.nan)
    cpu = Measure(name="CPU", value=_cores(own, before, now), up=plan.cpu, down=plan.cpu * DOWN)
    if kind == "web":
        streams = told.get("quizcast_streams", (0.0, 0.0) if told else unknown)[0]
        return [Measure(name="streams", value=streams, up=plan.streams, down=plan.streams * DOWN), cpu]
    age_s = told.get("quizcast_queue_age_seconds", unknown)[1]
    idle_s = min(QUEUE_IDLE_S, plan.queue_s * DOWN)
    return [Measure(name="oldest row (s)", value=age_s, up=plan.queue_s, down=idle_s, shared=False), cpu]


def _cores(own: list[Unit], before: Remembered, now: float) -> float:
    """The cores that they have used since the last look, all together; of who is new no more is known than that."""
    elapsed_s = now - before.looked_at
    used = [
        unit.cpu_s - before.cpu_s[_cpu_key(unit)]
        for unit in own
        if unit.cpu_s is not None and _cpu_key(unit) in before.cpu_s
    ]
    return sum(used) / len(used) * len(own) / elapsed_s if used and elapsed_s > 0 else math.nan


def _take(plan: Plan, kind: str, own: list[Unit], step: int, after: Remembered) -> None:
    if step > 0:
        number = next(number for number in range(len(own) + 1) if number not in {unit.number for unit in own})
        machine.start(unit_name(kind, number))
        if kind == "web":
            _tell_nginx(plan, [unit for unit in machine.units() if unit.kind == kind], after)
        return
    *staying, last = own
    if kind == "web":
        _tell_nginx(plan, staying, after)
    machine.stop(last.name)


def _tell_nginx(plan: Plan, web: list[Unit], after: Remembered) -> None:
    """Have the upstream name those that run, and nginx know of it. Were there none, nginx would not start again."""
    running = [unit for unit in web if unit.settled]
    text = "".join(f"server unix:{_door(plan, unit)} max_fails=0;\n" for unit in running)
    if plan.upstream is None or not running or text == after.upstream:
        return
    try:
        _write(plan.upstream, text.encode())
    except OSError as error:
        raise ProcessFailed(f"nginx's upstream: {error}") from error
    machine.reload_nginx()
    after.upstream = text


def _door(plan: Plan, unit: Unit) -> Path:
    return plan.sockets / f"web-{unit.number}.sock"


def _cpu_key(unit: Unit) -> str:
    return f"{unit.name} {unit.pid}"


def _recall(path: Path) -> Remembered:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Remembered)
    except (OSError, msgspec.DecodeError):  # the first look; what is lost is a few minutes' patience
        return Remembered()


def _keep(path: Path, what: Remembered) -> None:
    try:
        _write(path, msgspec.json.encode(what))
    except OSError as error:
        raise ProcessFailed(f"the state: {error}") from error


def _write(path: Path, data: bytes) -> None:
    """Replace a file at once, so that whoever reads it reads all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(data)
    beside.replace(path)
