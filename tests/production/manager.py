"""What systemd does with the project's units, as far as a test can do it without being process 1.

It reads the installed unit files and runs their exact lines in the environment that they describe: environment files,
credentials, the notify socket, the watchdog, open files, no new privileges, no memory both writable and executable.
It limits no memory and filters no system calls. A `systemctl` on the path of a script reaches it over a unix socket.
"""

import ctypes
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from quizcast.deploy.units import Places

START_S = 60.0
LIBC = ctypes.CDLL(None)
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65
TICK_S = 0.05

SYSTEMCTL = """#!{python}
import socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({door!r})
    line.sendall("\\0".join(sys.argv[1:]).encode())
    line.shutdown(socket.SHUT_WR)
    said = b"".join(iter(lambda: line.recv(4096), b"")).decode()
print(said, end="")
sys.exit(said.startswith("failed"))
"""


class Unit:
    """One unit file, for one instance."""

    def __init__(self, places: Places, name: str) -> None:
        self.name = name
        stem, _, instance = name.rpartition(".")[0].partition("@")
        path = places.units / (f"{stem}@.{name.rpartition('.')[2]}" if instance else name)
        self._values: dict[str, list[str]] = {}
        self._words = {"%i": instance, "%d": str(places.run / f"credentials/{name}"), "%%": "%"}
        for line in path.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                self._values.setdefault(key, []).append(value)

    def all(self, key: str) -> list[str]:
        """The values of a key, with `%` words in place."""
        return [re.sub("%[id%]", lambda found: self._words[found[0]], value) for value in self._values.get(key, [])]

    def one(self, key: str, default: str = "") -> str:
        """The last value of a key."""
        return (self.all(key) or [default])[-1]

    def confine(self) -> None:
        """What the kernel does for a unit without being process 1; to be called in the new process."""
        if files := self.one("LimitNOFILE"):
            most = min(int(files), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for key, option in (("NoNewPrivileges", PR_SET_NO_NEW_PRIVS), ("MemoryDenyWriteExecute", PR_SET_MDWE)):
            if self.one(key) == "yes":
                LIBC.prctl(option, 1, 0, 0, 0)  # a kernel before 6.3 does not know the second

    def command(self, line: str) -> list[str]:
        """The words of an `Exec…` line."""
        return [word.replace("$$", "$") for word in shlex.split(line.lstrip("-"))]


class Service:
    """A service while it runs: `states` is what it has told, in order."""

    def __init__(self, manager: "Manager", unit: Unit) -> None:
        self.unit = unit
        self.states: list[str] = []
        self._manager = manager
        self._lock = threading.Lock()
        self._wanted = True
        self._alive_at = 0.0
        door = manager.folder / f"{unit.name}.notify"
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(str(door))
        self._env = manager.environment(unit.name) | {"NOTIFY_SOCKET": str(door)}
        self.watchdog_s = float(unit.one("WatchdogSec", "0"))
        threading.Thread(target=self._listen, daemon=True).start()
        self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _run(self, key: str) -> None:
        for line in self.unit.all(key):
            done = subprocess.run(
                self.unit.command(line), env=self._env, stdout=self._manager.log, stderr=self._manager.log, check=False
            )
            if done.returncode and not line.startswith("-"):
                raise RuntimeError(f"{self.unit.name}: {key} ended with {done.returncode}")

    def _start(self) -> None:
        self._run("ExecStartPre")
        (line,) = self.unit.all("ExecStart")
        ready = len(self.states)
        log = self._manager.log
        self.process = subprocess.Popen(
            self.unit.command(line), env=self._env, stdout=log, stderr=log, preexec_fn=self.unit.confine
        )
        deadline = time.monotonic() + START_S
        if self.unit.one("Type") == "oneshot":
            if self.process.wait(START_S):
                raise RuntimeError(f"{self.unit.name} ended with {self.process.returncode}")
            return
        while "READY=1" not in self.states[ready:]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.unit.name} does not become ready")
            time.sleep(TICK_S)
        self._alive_at = time.monotonic()

    def _listen(self) -> None:
        while True:
            said = self._door.recv(4096).decode()
            self.states += said.splitlines()
            if "WATCHDOG=1" in said:
                self._alive_at = time.monotonic()

    def _watch(self) -> None:
        while self._wanted and self.watchdog_s:
            time.sleep(TICK_S)
            with self._lock:
                silent = time.monotonic() - self._alive_at > self.watchdog_s
                if not self._wanted or not (silent or self.process.poll() is not None):
                    continue
                if silent:
                    self.process.send_signal(signal.SIGABRT)
                    try:
                        self.process.wait(float(self.unit.one("TimeoutAbortSec")))
                    except subprocess.TimeoutExpired:
                        self.process.kill()
                self.process.wait()
                self._run("ExecStopPost")
                time.sleep(float(self.unit.one("RestartSec")))
                self._start()

    def stop(self) -> None:
        """As the unit says. Raises `RuntimeError` when it has to be killed."""
        with self._lock:
            self._wanted = False
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(float(self.unit.one("TimeoutStopSec", "90")))
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    raise RuntimeError(f"{self.unit.name} does not stop in time") from None
            self._run("ExecStopPost")
            (self._manager.folder / f"{self.unit.name}.notify").unlink()


class Manager:
    """The services that are installed below a root. `path` has a `systemctl` in it."""

    def __init__(self, places: Places, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.places = places
        self.folder = folder
        self.log = (folder / "journal").open("ab")
        self.services: dict[str, Service] = {}
        self.others: dict[str, subprocess.Popen[bytes]] = {}  # what is reloaded by SIGHUP, and not ours
        door = folder / "door"
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(door))
        self._door.listen()
        self.path = folder / "bin"
        self.path.mkdir()
        script = self.path / "systemctl"
        script.write_text(SYSTEMCTL.format(python=sys.executable, door=str(door)))
        script.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def environment(self, name: str) -> dict[str, str]:
        """What a unit's processes have for their environment; puts its credentials where that says."""
        unit = Unit(self.places, name)
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
        for line in unit.all("Environment"):
            env |= dict(pair.split("=", 1) for pair in shlex.split(line))
        for path in unit.all("EnvironmentFile"):
            lines = (line for line in Path(path).read_text().splitlines() if line and not line.startswith("#"))
            env |= dict(line.split("=", 1) for line in lines)
        for pair in unit.all("LoadCredential"):
            name, source = pair.split(":", 1)
            kept = self.places.run / f"credentials/{unit.name}" / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, kept)
        return env | {"WATCHDOG_USEC": str(int(float(unit.one("WatchdogSec", "0")) * 1e6))}

    def said(self) -> str:
        """The journal."""
        return (self.folder / "journal").read_text("utf-8", errors="replace")

    def start(self, name: str) -> None:
        """Start a unit and what it requires or wants; nothing happens when it runs."""
        unit = Unit(self.places, name)
        for needed in " ".join(unit.all("Requires") + unit.all("Wants")).split():
            if needed.startswith("quizcast") and not needed.endswith(".timer"):
                self.start(needed)
        if name.endswith(".service") and name not in self.services:
            self.services[name] = Service(self, unit)

    def stop(self, name: str) -> None:
        """Stop a unit, and with the target all that is part of it."""
        for one in list(self.services):
            if one == name or name in Unit(self.places, one).all("PartOf"):
                self.services.pop(one).stop()

    def end(self) -> None:
        """Stop everything."""
        self.stop("quizcast.target")
        self.log.close()

    def _do(self, verb: str, *words: str) -> str:
        names = [name if "." in name else f"{name}.service" for name in words if not name.startswith("-")]
        match verb:
            case "start" | "enable":
                for name in names:
                    self.start(name)
            case "stop" | "disable":
                for name in names:
                    self.stop(name)
            case "restart":
                for name in names:
                    self.stop(name)
                    self.start(name)
            case "reload":
                for name in names:
                    self.others[name].send_signal(signal.SIGHUP)
            case "daemon-reload":
                pass
            case "is-active":
                states = ["active" if name in self.services else "inactive" for name in names]
                return "".join(f"{state}\n" for state in states)
            case _:
                return f"failed: no such verb: {verb}\n"
        return ""

    def _serve(self) -> None:
        while True:
            line, _ = self._door.accept()
            with line:
                words = b"".join(iter(lambda line=line: line.recv(4096), b"")).decode().split("\0")  # type: ignore[misc]
                try:
                    said = self._do(*words)
                except Exception as error:
                    said = f"failed: {error}\n"
                line.sendall(said.encode())
