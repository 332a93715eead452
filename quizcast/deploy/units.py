"""systemd's units, and the files beside them, for a given layout; inside `deploy`.

What they say in figures comes from the settings and from the code that they are about.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from quizcast.deploy.nginx import WEB
from quizcast.deploy.template import filled
from quizcast.flush import JOB_TIMEOUT_S
from quizcast.settings import Settings
from quizcast.supervisor.worker import LAST_FLUSH_S
from quizcast.web.server import FILES_SPARE, GRACE_S, LINGER_S

EXPOSURE_MAX = 2.0  # by `systemd-analyze security`; 10 is a process that may do everything
JOB_WAIT_S = 28  # a flush that is under way: a transaction takes a second, and Postgres may be away for a while
SPARE_S = 5  # beyond what an end takes by itself, for a machine with much else to do
WATCHDOG_S = 6  # as `serve` does; people are taken for gone after 14 s
# A process with nobody in it, what a participant adds (README.md has the measurement), and what room is left above.
IDLE_MB = 60
PARTICIPANT_KB = 15
HIGH_MB = 160  # two passwords being hashed, and some large quiz files; above it the kernel slows the process down
MAX_MB = 272  # and 500 readers that are as slow as they may be; above it the process is ended

UNITS = (
    "quizcast.target",
    "quizcast-migrate.service",
    "quizcast-web@.service",
    "quizcast-worker@.service",
    "quizcast-retention.service",
    "quizcast-retention.timer",
)
# Put in place, and off until somebody enables the timer. It starts and stops units, for which it has to be root.
AUTOSCALE = ("quizcast-autoscale.service", "quizcast-autoscale.timer")
BESIDE = ("quizcast.env", "quizcast.sh", "sysusers.conf", "tmpfiles.conf")


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are on a machine; all below `root`, which is `/` but for a trial. `program` is quizcast's own."""

    root: Path = Path("/")
    program: Path = Path("/opt/quizcast/.venv/bin/quizcast")

    @property
    def etc(self) -> Path:
        """What the operator says."""
        return self.root / "etc/quizcast"

    @property
    def run(self) -> Path:
        """Sockets and metrics, until the next start of the machine."""
        return self.root / "run/quizcast"

    @property
    def state(self) -> Path:
        """Data."""
        return self.root / "var/lib/quizcast"

    @property
    def cache(self) -> Path:
        """What can be made anew."""
        return self.root / "var/cache/quizcast"

    @property
    def command(self) -> Path:
        """What the operator types."""
        return self.root / "usr/local/bin/quizcast"

    @property
    def units(self) -> Path:
        """Where systemd looks for units of the machine's own."""
        return self.root / "etc/systemd/system"


def files(
    places: Places, settings: Settings, *, web: int = WEB, workers: int = 1, groups: Iterable[str] = ()
) -> Mapping[str, str]:
    """The units and `BESIDE` by their names; `groups` are the user's others."""
    full_mb = IDLE_MB + settings.max_streams * PARTICIPANT_KB // 1000
    where = {name: getattr(places, name) for name in ("etc", "run", "state", "cache", "program")}
    wants = [("web", web), ("worker", workers)]
    values = where | {
        "environment": filled("environment.conf", **where).rstrip(),
        "hardening": filled("hardening.conf", exposure=f"{EXPOSURE_MAX:g}").rstrip(),
        "wants": "\n".join(
            "Wants=" + " ".join(f"quizcast-{what}@{number}.service" for number in range(count)) for what, count in wants
        ),
        "groups": "\n".join(f"m quizcast {group}" for group in groups),
        "drain_s": f"{settings.drain_s:g}",
        "stop_s": math.ceil(settings.drain_s + LINGER_S + GRACE_S + SPARE_S),
        "worker_stop_s": JOB_WAIT_S + LAST_FLUSH_S + SPARE_S,
        "watchdog_s": WATCHDOG_S,
        "worker_watchdog_s": 2 * JOB_TIMEOUT_S,
        "files": settings.max_streams * 2 + FILES_SPARE,
        "full_mb": full_mb,
        "web_high_mb": full_mb + HIGH_MB,
        "web_max_mb": full_mb + MAX_MB,
    }
    return {name: filled(name, **values) for name in (*UNITS, *AUTOSCALE, *BESIDE)}
