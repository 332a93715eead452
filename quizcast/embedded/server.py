"""One server process: start, probe, stop, start again after any death; part of floor 5.

Start from a thread that lives as long as the server: the kernel ties it to the thread that forked it.
A pidfile is believed only when the process it names shows our own path in its command line.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from quizcast.embedded import launch
from quizcast.errors import ServiceFailed

START_TIMEOUT_S = 60.0  # a crash recovery reads the whole log; an ordinary start takes a tenth of a second
LEFTOVER_TIMEOUT_S = 10.0  # what a server of a killed supervisor may take to go
KILL_TIMEOUT_S = 5.0
POLL_S = 0.01
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_LINES_SHOWN = 12
# Nothing of the caller's: PGHOST, NOTIFY_SOCKET and their like would reach the servers.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What one server is made of. `stop` is the ladder of (signal, seconds to wait) that ends it."""

    name: str
    command: tuple[str, ...]
    identity: str
    folder: Path
    log: Path
    pidfile: Path
    mark: str  # stands in the command line of this server, and of no other process
    sockets: tuple[Path, ...]
    url: str
    ready: Callable[[], bool]
    stop: tuple[tuple[signal.Signals, float], ...]
    death_signal: signal.Signals
    nice: int = 0
    busy: tuple[str, ...] = ()  # log lines that mean: the last one's children are not gone yet, try again


class Server:
    """A running server. `url` stays the same over restarts."""

    def __init__(self, program: Program) -> None:
        """Spawn it; `wait_ready` says when it takes requests. Raises `ServiceFailed`."""
        self._program = program
        self._asked_to_stop = False
        self._log_start = 0  # where this run's lines begin
        self._process = self._spawn()

    @property
    def name(self) -> str:
        """`redis` or `postgres`."""
        return self._program.name

    @property
    def url(self) -> str:
        """The address that clients connect to."""
        return self._program.url

    @property
    def pid(self) -> int:
        """The process id (of Postgres, the postmaster's)."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once it takes requests. Raises `ServiceFailed` with the end of its log when it does not."""
        deadline = time.monotonic() + timeout_s
        while not (self.alive and self._program.ready()):
            overdue = time.monotonic() > deadline
            if not self.alive and any(line in self._log_tail() for line in self._program.busy) and not overdue:
                time.sleep(10 * POLL_S)
                self._process = self._spawn()
            elif overdue or not self.alive:
                what = "is not ready" if self.alive else f"stopped (exit status {self._process.returncode})"
                self.stop()
                raise ServiceFailed(f"{self.name} {what}; the end of {self._program.log}:\n{self._log_tail()}")
            time.sleep(POLL_S)

    def restart(self) -> None:
        """Start it again, whether it died or runs, and wait until it is ready."""
        self.stop()
        self._process = self._spawn()
        self.wait_ready()

    def ask_to_stop(self) -> None:
        """Begin an orderly stop without waiting for it."""
        if self.alive and not self._asked_to_stop:
            self._process.send_signal(self._program.stop[0][0])
            self._asked_to_stop = True

    def stop(self) -> None:
        """Stop it in bounded time, ever less politely; nothing happens if it has stopped."""
        self.ask_to_stop()
        for step, (number, patience_s) in enumerate((*self._program.stop, (signal.SIGKILL, KILL_TIMEOUT_S))):
            if not self.alive:
                return
            if step > 0:
                self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = self._program
        end_leftover(program.pidfile, program.mark, program.death_signal)
        # Postgres would believe a stale lock whose process id is somebody's again.
        for socket in program.sockets:
            socket.unlink(missing_ok=True)
        self._asked_to_stop = False
        with program.log.open("ab") as log:
            if log.tell() > LOG_BYTES_MAX:
                log.truncate(0)
            self._log_start = os.fstat(log.fileno()).st_size
            process = subprocess.Popen(
                launcher(program.identity, program.command, program.death_signal),
                cwd=program.folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches the supervisor alone, which stops things in order
            )
        os.setpriority(os.PRIO_PROCESS, process.pid, program.nice)  # inherited by whatever it forks from now on
        return process

    def _log_tail(self) -> str:
        with self._program.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read(LOG_BYTES_MAX).decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])


def launcher(identity: str, command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """The command line that runs `command` as `identity` and dies with this process (see `launch`)."""
    script = [sys.executable, "-I", "-S", launch.__file__]
    return [*script, str(os.getpid()), str(int(death_signal)), identity, *command]


def run(identity: str, command: Sequence[str], *, cwd: Path, text: str = "") -> str:
    """Run a helper program to its end and return its output. Raises `ServiceFailed` with it when it fails."""
    done = subprocess.run(
        launcher(identity, command, signal.SIGKILL),
        cwd=cwd,
        env=ENVIRONMENT,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=START_TIMEOUT_S,
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceFailed(f"{Path(command[0]).name} failed: {done.stdout.strip()}")
    return done.stdout


def end_leftover(pidfile: Path, mark: str, number: signal.Signals) -> None:
    """End the server that a killed supervisor left behind, if the pidfile names one.

    On Linux it is dying already; elsewhere nobody has told it. Raises `ServiceFailed` when it stays.
    """
    try:
        pid = int(pidfile.read_text().split(maxsplit=1)[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    if mark not in command_line(pid):
        if command_line(pid):  # the id is another process's now; Postgres would take that for itself
            pidfile.unlink()
        return
    for signal_now in (number, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, signal_now)
        deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
        while time.monotonic() < deadline:
            if mark not in command_line(pid):
                return
            time.sleep(POLL_S)
    raise ServiceFailed(f"a server from before (process {pid}) does not stop")


def command_line(pid: int) -> str:
    """A process's arguments, joined by blanks; empty when it is gone or a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()
