"""docs/deploy: held to Kubernetes' and Compose's own schemas, and to what quizcast really takes; nothing is run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from quizcast.settings import DOCS, PREFIX, Settings
from quizcast.web.app import OPERATIONS, App
from tests.fix_tree import quizcast

HERE = Path(__file__).parents[2]
FOLDER = HERE / "docs" / "deploy"
MANIFESTS = sorted((FOLDER / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.33"  # what is in use; the newest has these kinds as well
DRAIN_MAX_S = 5 + 1.5 * Settings().drain_s + 1 + 10  # preStop, the streams, the door, requests under way


def documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text("utf-8"))]


def of_kind(kind: str) -> list[dict[str, Any]]:
    found = [document for document in documents() if document["kind"] == kind]
    assert found, kind
    return found


def pods() -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for one in of_kind(kind)]


def command_lines() -> Iterator[list[str]]:
    for pod in pods():
        yield pod["containers"][0]["args"]
    for service in compose()["services"].values():
        if service["image"] == "quizcast" and "entrypoint" not in service:
            yield service["command"]
    yield re.findall(r'"(.*?)"', re.search(r"^CMD (.*)$", containerfile(), re.MULTILINE)[1])  # type: ignore[index]


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    return content


def containerfile() -> str:
    return (FOLDER / "Containerfile").read_text("utf-8")


@pytest.mark.parametrize("document", documents(), ids=lambda one: f"{one['kind']}/{one['metadata']['name']}")
@pytest.mark.parametrize("version", [KUBERNETES, kubernetes_validate.latest_version()])
def test_a_manifest_has_what_kubernetes_knows_and_nothing_else(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_compose_file_keeps_to_the_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(FOLDER / "compose.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_that_is_needed_is_there() -> None:
    kinds = {(one["kind"], one["metadata"]["name"]) for one in documents()}
    assert kinds >= {
        ("ConfigMap", "quizcast"),
        ("Job", "quizcast-migrate"),
        ("Deployment", "quizcast-web"),
        ("Deployment", "quizcast-worker"),
        ("PodDisruptionBudget", "quizcast-web"),
        ("HorizontalPodAutoscaler", "quizcast-web"),
        ("Service", "quizcast-web"),
        ("Ingress", "quizcast"),
    }


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_a_command_line_is_one_that_quizcast_takes(words: list[str]) -> None:
    done = quizcast(*words, "--help")
    assert done.returncode == 0, done.stderr


def test_settings_have_names_that_quizcast_knows() -> None:
    files = [*MANIFESTS, *FOLDER.glob("[!k]*")]
    named = {name for path in files for name in re.findall(r"QUIZCAST_[A-Z_]+", path.read_text("utf-8"))}
    assert named
    assert named <= {PREFIX + name.upper() for name in DOCS}
    [config] = of_kind("ConfigMap")
    assert Settings.from_env(config["data"]).public_url.startswith("https://")


def test_whatever_selects_pods_finds_some() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind("Deployment")]
    chosen = [one["spec"]["selector"] for one in of_kind("Service")]
    chosen += [
        one["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget")
        for one in of_kind(kind)
    ]
    for wanted in chosen:
        assert [one for one in labels if wanted.items() <= one.items()]
    [scaler] = of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] in [one["metadata"]["name"] for one in of_kind("Deployment")]


def test_a_pod_has_the_time_to_drain_and_asks_only_for_what_is_served() -> None:
    for pod in pods():
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"configMapRef", "secretRef"} == {name for source in container["envFrom"] for name in source}
        for name, probe in container.items():
            if name.endswith("Probe"):
                assert probe["httpGet"]["path"].encode() in OPERATIONS
    [web] = [
        one["spec"]["template"]["spec"] for one in of_kind("Deployment") if one["metadata"]["name"] == "quizcast-web"
    ]
    assert web["terminationGracePeriodSeconds"] > 2 * DRAIN_MAX_S - 1
    assert web["containers"][0]["lifecycle"]["preStop"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= web["containers"][0].keys()


def test_a_pod_has_room_for_more_streams_than_bring_another() -> None:
    [scaler] = of_kind("HorizontalPodAutoscaler")
    [streams] = [one["pods"] for one in scaler["spec"]["metrics"] if one["type"] == "Pods"]
    assert streams["metric"]["name"] == "quizcast_streams"
    [config] = of_kind("ConfigMap")
    assert int(streams["target"]["averageValue"]) * 2 <= Settings.from_env(config["data"]).max_streams


def test_the_world_reaches_every_address_but_those_for_operators() -> None:
    [ingress] = of_kind("Ingress")
    [rule] = ingress["spec"]["rules"]
    paths = [(one["path"], one["pathType"]) for one in rule["http"]["paths"]]

    def reached(address: str) -> bool:
        return any(address == path if kind == "Exact" else f"{address}/".startswith(f"{path}/") for path, kind in paths)

    app = App(Settings(redis_url="redis://x", database_url="postgresql://x"))
    routes = {route.path for route in app._router.app.routes}  # type: ignore[attr-defined]
    assert len(routes) > 20
    operators = {path.decode() for path in OPERATIONS} | {"/ops"}
    assert not [path for path in operators if reached(path)]
    assert not [path for path in routes - operators if not reached(path)]


def test_streams_get_through_the_proxy_as_they_come() -> None:
    [ingress] = of_kind("Ingress")
    asked = ingress["metadata"]["annotations"]
    assert {value.lower() for name, value in asked.items() if name.endswith("/proxy-buffering")} == {"false", "off"}
    times = [int(value.rstrip("s")) for name, value in asked.items() if name.endswith("/proxy-read-timeout")]
    assert len(times) == 2
    assert min(times) >= 4 * Settings().heartbeat_s


def test_the_image_copies_what_is_there_runs_as_nobody_and_has_nothing_of_the_tests() -> None:
    text = containerfile()
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE)]
    assert copied
    for path in (HERE / name for names in copied for name in names):
        assert path.exists(), path
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", last, re.MULTILINE)
    assert "--extra" not in text
    assert "-dev" not in text


def test_compose_runs_nginx_with_the_site_as_it_is_and_a_socket_for_each_of_its_lines() -> None:
    site = HERE / "nginx" / "quizcast.conf"
    services = compose()["services"]
    doors = [words[-1] for words in (one.get("command", []) for one in services.values()) if "--uds" in words]
    assert sorted(re.findall(r"server unix:(\S+)", site.read_text("utf-8"))) == sorted(doors)
    [mounted] = [one for one in services["nginx"]["volumes"] if one.endswith("quizcast.conf:ro")]
    assert (FOLDER / mounted.split(":")[0]).resolve() == site
