"""`quizcast autoscale` with real processes, real nginx and a crowd; only systemd's own program is the test's."""

import os
import re
import signal
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from quizcast.autoscale import Bounds, Pace, Plan, scale
from quizcast.autoscale.machine import sums
from quizcast.embedded import Services
from quizcast.errors import ProcessFailed
from tests.faults.stage import Play
from tests.fix_nginx import Nginx
from tests.fix_web import installed, part_environment
from tests.production.units import Units, systemctl

ROUND_S = 15.0  # the timer's
USERS = 90  # for three processes, where each is to have 40
_letters = iter(string.ascii_lowercase)  # a database for each test, whose name is of letters


class Machine:
    """A machine with nginx, which a test looks at every 15 s of its own clock; what was said is in `log`."""

    def __init__(self, folder: Path, units: Units) -> None:
        self.folder = folder
        self.units = units
        self.upstream = folder / "upstream.conf"
        self.log: list[str] = []
        self._now = 1_000_000.0
        self.plan = Plan(
            web=Bounds(least=1, most=3),
            workers=Bounds(least=1, most=2),
            streams=40,
            pace=Pace(up_s=ROUND_S, down_s=4 * ROUND_S),
            sockets=folder,
            state=folder / "state.json",
            upstream=self.upstream,
        )

    def round(self, plan: Plan | None = None) -> list[str]:
        """One look."""
        self._now += ROUND_S
        lines = scale(plan or self.plan, now=self._now)
        self.log += lines
        print(*lines, sep="\n")
        return lines

    def words(self, *options: str) -> list[str]:
        """The command line, by the real clock."""
        where = ["--sockets", str(self.folder), "--state", str(self.folder / "typed.json")]
        return [sys.executable, "-m", "quizcast", "autoscale", *where, *options]


@pytest.fixture
def machine(
    services: Services,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Machine]:
    """A machine on which nothing runs yet; systemd's own program is the test's."""
    settings = installed(services, template_database, tmp_path_factory.mktemp(f"scaling{next(_letters)}"))
    with systemctl(settings.data_dir, part_environment(settings), monkeypatch) as units:
        yield Machine(settings.data_dir, units)


def test_a_hall_that_fills_gets_more_processes_and_an_empty_one_gives_them_back_in_mid_game(machine: Machine) -> None:
    units = machine.units
    machine.round()
    assert (units.names("web"), units.names("worker")) == (["quizcast-web@0"], ["quizcast-worker@0"])
    proxy = Nginx(machine.folder / "nginx", machine.folder, f"include {machine.upstream};")
    units.nginx = proxy.process.pid
    try:
        hall = Play(proxy.url, users=USERS, questions=16)
        hall.until(lambda now: now.joined == USERS)
        for _ in range(2):
            machine.round()
        assert len(units.names("web")) == 3
        # Streams do not move: who comes now is dealt among all three.
        later = Play(proxy.url, users=USERS // 3, questions=4)
        later.until_mid_question(1)
        assert "there may be no more" in machine.round()[0]
        machine.round(msgspec.structs.replace(machine.plan, web=Bounds(least=1, most=2)))
        assert len(units.names("web")) == 2
        reports = [hall.report(), later.report()]
    finally:
        units.nginx = None
        proxy.end()
    for report in reports:
        print(f"back from the one that drained: {report.resume_ms}; sent again: {report.retries}")
        assert report.ok, report.text()
        assert not report.retries
    assert reports[1].resume_ms is not msgspec.UNSET
    rounds = 0
    while len(units.names("web")) > 1:
        machine.round()
        assert (rounds := rounds + 1) < 10
    assert machine.upstream.read_text().count("server unix:") == 1
    for _ in range(10):
        machine.round()
    assert len(units.names("web")) == 1
    steps = [line for line in machine.log if line.startswith("web") and "→" in line]
    print("\n".join(steps))
    counts = [found[0] for line in steps if (found := re.search(r"\d → \d", line))]
    assert counts == ["0 → 1", "1 → 2", "2 → 3", "3 → 2", "2 → 1"]
    assert "streams" in steps[1]
    # nginx hears of it after a start, and before a stop: nothing is sent to who is not there.
    seen = [word for word in units.done if "worker" not in word]
    told = "try-reload-or-restart nginx"
    assert seen[-4:] == [told, "stop quizcast-web@2", told, "stop quizcast-web@1"]
    assert seen[:4] == ["start quizcast-web@0", told, "start quizcast-web@1", told]


def test_a_worker_more_comes_when_rows_wait_and_goes_when_none_do(machine: Machine, services: Services) -> None:
    machine.round()
    os.kill(machine.units.pid("quizcast-worker@0"), signal.SIGSTOP)  # rows wait
    try:
        proxy = Nginx(machine.folder / "nginx", machine.folder, f"include {machine.upstream};")
        impatient = msgspec.structs.replace(machine.plan, queue_s=0.5)
        try:
            play = Play(proxy.url, users=20, questions=1)
            play.until_mid_question(0)
            while len(machine.units.names("worker")) < 2:
                machine.round(impatient)
            assert play.report().ok
        finally:
            proxy.end()
    finally:
        os.kill(machine.units.pid("quizcast-worker@0"), signal.SIGCONT)
    for _ in range(6):
        machine.round(impatient)
    assert machine.units.names("worker") == ["quizcast-worker@0"]
    assert any("1 → 2 of 1 to 2: oldest row (s)" in line for line in machine.log), machine.log


def test_a_process_that_works_more_than_it_should_gets_another_beside_it(machine: Machine) -> None:
    machine.round()
    assert "CPU nan" in machine.round()[0]  # nothing to compare with yet
    for _ in range(10):
        assert sums([machine.folder / "web-0.sock"], "")
    assert "1 → 2 of 1 to 3: CPU" in machine.round(msgspec.structs.replace(machine.plan, cpu=0.0005))[0]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(machine: Machine) -> None:
    done = subprocess.run(machine.words("--dry-run"), capture_output=True, text=True, check=True, timeout=60)
    assert "web: 0 → 1 of" in done.stdout
    assert machine.units.done == []
    assert not (machine.folder / "typed.json").exists()


def test_the_command_line_starts_what_is_missing_and_then_holds(machine: Machine) -> None:
    for expected in ("web: 0 → 1 of 1 to 2: fewer than 1", "web: 1 of 1 to 2: streams 0, CPU"):
        done = subprocess.run(machine.words("--web", "1:2"), capture_output=True, text=True, check=True, timeout=60)
        assert expected in done.stdout
    assert machine.units.done == ["start quizcast-web@0", "start quizcast-worker@0"]


@pytest.mark.parametrize("text", ["0:2", "3:2", "two", ":2"])
def test_bounds_that_are_none_are_refused(machine: Machine, text: str) -> None:
    done = subprocess.run(machine.words("--web", text), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "--web" in done.stderr
    assert machine.units.done == []


def test_what_systemd_refuses_is_said_and_tried_again_at_the_next_look(machine: Machine) -> None:
    machine.units.refuses = "quizcast-web"
    with pytest.raises(ProcessFailed, match=r"start quizcast-web@0: Job for"):
        machine.round()
    machine.units.refuses = ""
    assert "0 → 1" in machine.round()[0]


def test_nginx_is_told_again_when_it_could_not_be_told(machine: Machine) -> None:
    machine.units.refuses = "nginx"
    with pytest.raises(ProcessFailed, match="nginx"):
        machine.round()
    machine.units.refuses = ""
    machine.round()
    machine.round()
    assert machine.units.done.count("try-reload-or-restart nginx") == 1
