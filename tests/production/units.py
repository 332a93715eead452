"""What `systemctl` is on a machine without systemd: it starts and stops real processes, as the units would.

A program of that name is put on the path; it hands its words to `Units`, in the test's process, which has the
processes. They end with it.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.fix_tree import wait_until
from tests.fix_web import start_part, stop_parts

SYSTEMD = Path(__file__).parents[2] / "systemd"
PROGRAM = f"""#!{sys.executable} -ISE
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({{address!r}})
    line.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    status, said = json.loads(line.makefile().readline())
(sys.stderr if status else sys.stdout).write(said)
sys.exit(status)
"""


class Units:
    """The units that run; `done` is every word that systemctl was given but `show`. `refuses` makes it fail."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.done: list[str] = []
        self.refuses = ""
        self.nginx: int | None = None  # pid
        self.sockets = folder
        self._env = env
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / "systemctl.sock"))
        self._door.listen()
        self.path = folder / "bin"
        self.path.mkdir()
        program = self.path / "systemctl"
        program.write_text(PROGRAM.format(address=str(folder / "systemctl.sock")))
        program.chmod(0o755)
        # One thread for all of it: a process whose parent was a thread ends with that thread.
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def names(self, kind: str) -> list[str]:
        """The units of a kind that run."""
        return sorted(name for name in dict(self._running) if f"-{kind}@" in name)

    def pid(self, name: str) -> int:
        """The main process of a unit."""
        return self._running[name].pid

    def end(self) -> None:
        """Stop all."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self._door.getsockname())
            line.sendall(b"\n")
            line.recv(1)
        self._thread.join()
        self._door.close()

    def _serve(self) -> None:
        while True:
            line, _ = self._door.accept()
            with line, line.makefile() as words:
                asked = words.readline()
                if not asked.strip():
                    stop_parts(list(self._running.values()))
                    return
                try:
                    answer = (0, self._do(*json.loads(asked)))
                except Exception as error:
                    answer = (1, f"{error}\n")
                with contextlib.suppress(OSError):
                    line.sendall(json.dumps(answer).encode() + b"\n")

    def _do(self, verb: str, *words: str) -> str:
        if verb == "show":
            return self._show(*words)
        if self.refuses and words[0].startswith(self.refuses):
            raise RuntimeError(f"Job for {words[0]}.service failed.")
        self.done.append(f"{verb} {words[-1]}")
        match verb, words:
            case "try-reload-or-restart", ("nginx",):
                if self.nginx is not None:
                    os.kill(self.nginx, signal.SIGHUP)
            case "start", (name,):
                self._start(name)
            case "enable", ("--now", name):
                assert (SYSTEMD / name).is_file(), name
            case "stop", (name,):
                stop_parts([self._running.pop(name)])
            case _:
                raise RuntimeError(f"Unknown command verb {verb}.")
        return ""

    def _show(self, properties: str, *patterns: str) -> str:
        assert properties == "--property=Id,ActiveState,MainPID"
        blocks = []
        for name, process in self._running.items():
            if any(fnmatch(f"{name}.service", pattern) for pattern in patterns):
                state = "active" if process.poll() is None else "failed"
                blocks.append(f"MainPID={process.pid}\nId={name}.service\nActiveState={state}\n")
        return "\n".join(blocks)

    def _start(self, name: str) -> None:
        kind, _, number = name.removeprefix("quizcast-").partition("@")
        door = self.sockets / f"web-{number}.sock"
        words = [kind, "--index", number, *(["--uds", str(door)] if kind == "web" else [])]
        process = start_part(self.sockets / f"{kind}-{number}.log", self._env, *words)
        self._running[name] = process
        if kind == "web":  # Type=notify: it runs once it listens
            wait_until(lambda: process.poll() is not None or _listens(door))
        if process.poll() is not None:
            raise RuntimeError(f"Job for {name}.service failed.")


@contextlib.contextmanager
def systemctl(folder: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Units]:
    """`systemctl` on the path, and no unit yet."""
    units = Units(folder, env)
    try:
        monkeypatch.setenv("PATH", f"{units.path}:{os.environ['PATH']}")
        yield units
    finally:
        units.end()


def _listens(door: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(door)) == 0
