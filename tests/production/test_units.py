"""The units as they are installed: read by systemd's own tools, and run line by line; the installation and its end."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from quizcast.deploy.__main__ import shown
from quizcast.deploy.install import FIRST_URLS
from quizcast.deploy.units import EXPOSURE_MAX, UNITS, Places
from quizcast.embedded import Services
from quizcast.flush import LISTEN_S
from quizcast.settings import Settings
from tests.fix_tree import quizcast, wait_until
from tests.fix_web import installed
from tests.production.manager import Manager

ROOT = Path(__file__).parents[2]
QUIET_S = LISTEN_S + 2  # longer than a process that lives is silent
SERVICES = [name for name in UNITS if name.endswith(".service")]


def laid_out(root: Path, *words: str) -> Places:
    """An installation below a root."""
    done = quizcast("install", "--prefix", str(root), *words)
    assert done.returncode == 0, done.stderr
    return Places(root=root, program=Path(sys.executable).with_name("quizcast"))


def tree(root: Path) -> dict[str, str]:
    """Everything below a folder: path → content, of a folder its mode."""
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else f"{path.stat().st_mode:o}"
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def manager(services: Services, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """An installation with its own database, under the stand-in for systemd; nothing of it runs at first."""
    folder = tmp_path_factory.mktemp("managed")
    settings = installed(services, template_database, folder)
    places = laid_out(folder / "root", "--web", "2")
    credentials = places.etc / "credentials"
    (credentials / "redis-url").write_text(settings.redis_url)
    (credentials / "database-url").write_text(settings.database_url)
    env = places.etc / "quizcast.env"
    named = {name: value for name, value in settings.to_env().items() if name not in set_by_credential(settings)}
    env.write_text(f"{env.read_text()}" + "".join(f"{name}={value}\n" for name, value in named.items() if value))
    made = Manager(places, folder / "manager")
    yield made
    made.end()


def set_by_credential(settings: Settings) -> set[str]:
    """The variables that are not for the environment file here."""
    names = ("keys", "redis_url", "database_url", "metrics_token", "data_dir", "static_dir")
    return {f"QUIZCAST_{name.upper()}" for name in names}


def ask(places: Places, number: int, path: str = "/readyz") -> httpx.Response:
    """A request to one web process."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(places.run / f"web-{number}.sock"))) as client:
        return client.get(f"http://localhost{path}")


def test_what_stands_in_the_repository_is_what_is_installed() -> None:
    for path, text in shown().items():
        assert (ROOT / path).read_text("utf-8") == text, f"{path}: make machine"
    there = {f"{folder}/{path.name}" for folder in ("nginx", "systemd") for path in (ROOT / folder).iterdir()}
    assert {path for path in there if not path.endswith("README.md")} == set(shown())


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    places = laid_out(tmp_path)
    units = [str(places.units / name) for name in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_exposed_to_little(name: str, tmp_path: Path) -> None:
    path = laid_out(tmp_path).units / name
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    told = subprocess.run([*words, str(path)], capture_output=True, text=True, check=True).stdout
    score = float(told.strip().splitlines()[-1].partition(": ")[2].split()[0])
    print(f"exposure of {name}: {score}")
    assert score <= EXPOSURE_MAX
    # And a machine's own check may hold it, too: the threshold is in tenths there.
    subprocess.run([*words, f"--threshold={EXPOSURE_MAX * 10:.0f}", str(path)], capture_output=True, check=True)


def test_the_exact_lines_of_the_units_run_an_installation(manager: Manager) -> None:
    manager.start("quizcast.target")
    assert "applied answers_" in manager.said()  # the months to come
    for number in range(2):
        assert ask(manager.places, number).json()["status"] == "ready"
        assert "quizcast_streams" in ask(manager.places, number, "/metrics").text
    assert list((manager.places.cache / "static").glob("*/quizcast.js.br"))
    # Keys come by credential alone, so both processes sign with them and no key file is made.
    assert not (manager.places.state / "keys").exists()

    began = time.monotonic()
    manager._do("restart", "quizcast-web@0")
    print(f"systemctl restart of an idle web process: {time.monotonic() - began:.1f} s")
    assert ask(manager.places, 0).json()["status"] == "ready"
    states = manager.services["quizcast-web@1.service"].states
    manager.stop("quizcast.target")
    assert (states[0], states.count("STOPPING=1")) == ("READY=1", 1)
    assert not list((manager.places.run / "metrics").glob("gauge_live*"))


# The main thread, in which the loop runs, stands still for longer than the test takes.
HANGS = (
    "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: time.sleep(60)); import quizcast.cli as c; c.main()"
)


def test_the_watchdog_hears_from_the_loop_that_would_hang(manager: Manager, tmp_path: Path) -> None:
    manager.start("quizcast-migrate.service")
    running = {}
    for name, words in (("web", ["--uds", str(tmp_path / "web.sock")]), ("worker", [])):
        door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        door.bind(str(tmp_path / name))
        door.settimeout(QUIET_S)
        env = manager.environment(f"quizcast-{name}@0.service") | {"NOTIFY_SOCKET": str(tmp_path / name)}
        process = subprocess.Popen([sys.executable, "-c", HANGS, name, *words], env=env, stderr=manager.log)
        running[name] = (process, door)
    try:
        for _, door in running.values():
            assert door.recv(100) == b"READY=1"
            for _ in range(2):  # while nothing happens
                assert door.recv(100) == b"WATCHDOG=1"
        for process, _ in running.values():
            process.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        for _, door in running.values():
            door.setblocking(False)
            while _said(door):
                pass
        time.sleep(QUIET_S)
        assert {name: _said(door) for name, (_, door) in running.items()} == {"web": b"", "worker": b""}
    finally:
        for process, door in running.values():
            process.kill()
            process.wait()
            door.close()


def test_a_web_process_that_hangs_is_replaced_and_the_log_says_where_it_hung(manager: Manager) -> None:
    manager.start("quizcast-web@0.service")
    service = manager.services["quizcast-web@0.service"]
    pid = service.process.pid
    service.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: service.states.count("READY=1") == 2, 40)
    assert service.process.pid != pid
    print(f"a process that hangs is replaced after {time.monotonic() - began:.1f} s")
    assert ask(manager.places, 0).json()["status"] == "ready"
    service.process.send_signal(signal.SIGABRT)
    wait_until(lambda: service.states.count("READY=1") == 3, 40)
    assert "Fatal Python error: Aborted" in manager.said()
    assert "uvicorn/server.py" in manager.said()
    manager.stop("quizcast-web@0.service")


def test_an_installation_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    before = tree(tmp_path)
    planned = quizcast("install", "--prefix", str(tmp_path), "--dry-run")
    assert planned.returncode == 0
    assert tree(tmp_path) == before
    places = laid_out(tmp_path)
    made = [line.split(" ", 1)[1] for line in planned.stdout.splitlines()]
    assert {tmp_path / path for path in tree(tmp_path)} == {*map(Path, made), tmp_path / "etc"}
    credentials = places.etc / "credentials"
    assert f"{credentials.stat().st_mode:o}"[-3:] == "700"
    assert {f"{path.stat().st_mode:o}"[-3:] for path in credentials.iterdir()} == {"600"}

    (places.run / "web-0.sock").touch()  # what processes leave
    (places.cache / "static").mkdir()
    assert quizcast("install", "--prefix", str(tmp_path), "--uninstall", "--dry-run").returncode == 0
    assert places.etc.exists()
    assert quizcast("install", "--prefix", str(tmp_path), "--uninstall").returncode == 0
    assert tree(tmp_path) == before
    again = quizcast("install", "--prefix", str(tmp_path), "--uninstall")
    assert (again.returncode, again.stderr) == (1, f"error: nothing is installed in {tmp_path}\n")


def test_the_operators_command_has_the_settings_as_they_stand_and_the_secrets(tmp_path: Path) -> None:
    places = laid_out(tmp_path / "root")
    (tmp_path / "runuser").write_text("#!/bin/sh\n/usr/bin/env -0\n")
    (tmp_path / "runuser").chmod(0o755)
    url, plain = "https://a b/?$(id)&c='d\"", {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    (places.etc / "quizcast.env").write_text(f"# told\nQUIZCAST_LOG_FORMAT=json\nX=1\nQUIZCAST_PUBLIC_URL={url}")
    secret = (places.etc / "credentials/keys").read_text().strip()

    def seen(**env: str) -> dict[str, str]:
        told = subprocess.run([places.command, "doctor"], env=plain | env, capture_output=True, text=True, check=True)
        variables = dict(line.split("=", 1) for line in told.stdout.split("\0") if line)
        return {name.removeprefix("QUIZCAST_"): value for name, value in variables.items() if "QUIZCAST" in name}

    urls = {"REDIS_URL": FIRST_URLS["redis-url"], "DATABASE_URL": FIRST_URLS["database-url"]}
    assert seen() == {"PUBLIC_URL": url, "KEYS": secret, "METRICS_TOKEN": "", **urls}
    assert seen(QUIZCAST_REDIS_URL="redis://r1")["REDIS_URL"] == "redis://r1"


def test_what_the_operator_has_changed_and_all_data_outlive_upgrade_and_uninstall(tmp_path: Path) -> None:
    places = laid_out(tmp_path)
    env, unit = places.etc / "quizcast.env", places.units / "quizcast-web@.service"
    keys = (places.etc / "credentials/keys").read_text()
    env.write_text("QUIZCAST_SHARDS=8\n")
    (places.state / "data").write_text("precious")

    again = quizcast("install", "--prefix", str(tmp_path), "--web", "3")
    assert f"keep {env}\n" in again.stdout
    assert env.read_text() == "QUIZCAST_SHARDS=8\n"
    assert (places.etc / "credentials/keys").read_text() == keys
    assert "quizcast-web@2.service" in (places.units / "quizcast.target").read_text()
    unit.write_text("[Service]\n")
    assert f"keep {unit}\n" in quizcast("install", "--prefix", str(tmp_path)).stdout

    assert quizcast("install", "--prefix", str(tmp_path), "--uninstall").returncode == 0
    left = {path for path, content in tree(tmp_path).items() if (tmp_path / path).is_file()}
    assert left == {"etc/quizcast/quizcast.env", "etc/systemd/system/quizcast-web@.service", "var/lib/quizcast/data"}


def _said(door: socket.socket) -> bytes:
    try:
        return door.recv(100)
    except BlockingIOError:
        return b""
