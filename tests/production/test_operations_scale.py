"""The section "Scale" of docs/operations.md: its commands are run, and its figures held to the code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from quizcast.autoscale import DOWN, QUEUE_IDLE_S
from quizcast.cli.care import autoscale
from quizcast.embedded import Services
from tests.fix_web import installed, part_environment
from tests.pages import blocks
from tests.production.test_hosts import KEEPALIVE
from tests.production.units import SYSTEMD, systemctl

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8").partition("\n## Scale\n")[2]
SCALE = TEXT.partition("\n## ")[0]


def test_the_commands_do_what_is_said(
    services: Services,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = installed(services, template_database, tmp_path_factory.mktemp("operations"))
    with systemctl(settings.data_dir, part_environment(settings), monkeypatch) as units:
        (units.path / "quizcast").symlink_to(Path(sys.executable).with_name("quizcast"))
        said = ""
        for script in blocks("docs/operations.md", "Up: more processes on a machine"):
            command = ["bash", "-euo", "pipefail", "-c", script]
            said += subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=60, env=os.environ
            ).stdout
        assert "web: 0 → 1 of 2 to 8" in said
        assert units.done == [
            "start quizcast-web@2",
            "stop quizcast-web@2",
            "enable quizcast-autoscale.timer",
        ]


def test_the_thresholds_are_those_of_the_command() -> None:
    for option in autoscale.params:
        if isinstance(option, click.Option) and isinstance(option.default, float | int) and not option.is_flag:
            told = re.search(rf"`{option.opts[0]}` \(([\d,.]+)", SCALE)
            assert told, option.opts
            assert float(told[1].replace(",", "")) == option.default
    assert f"below {DOWN:g} of what starts one" in SCALE
    assert f"older than {QUEUE_IDLE_S:g} s" in SCALE


def test_the_probes_are_those_that_the_loss_of_a_host_is_tested_with() -> None:
    [settings] = blocks("docs/operations.md", "Out: more machines", "ini")
    assert dict(re.findall(r"^net\.ipv4\.(\w+) = (\d+)$", settings, re.MULTILINE)) == {
        name: str(value) for name, value in KEEPALIVE.items()
    }


def test_nginx_reads_the_file_that_the_unit_has_written() -> None:
    unit = (SYSTEMD / "quizcast-autoscale.service").read_text("utf-8")
    [file] = re.findall(r"--upstream (\S+)", unit)
    assert f"include {file};" in SCALE
    assert "StateDirectory=quizcast-autoscale\n" in unit
    assert Path(file).parent == Path("/var/lib/quizcast-autoscale")
