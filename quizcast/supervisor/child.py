"""One web process or worker: its start, its life on a lifeline, the last lines it wrote; part of floor 8."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

LINES_KEPT = 15
# How long the supervisor lets itself be held up by one process that does not answer. Longer than `/readyz` ever takes:
# a process whose servers are slow is ready all the same.
PROBE_TIMEOUT_S = 2.5
GOODBYE_S = 1.0  # for the last lines of a dead process, unless a grandchild holds the pipe
# What hangs is killed after 5 to 6 s, before its people are taken for gone and a question closes without them.
LOOK_EVERY_S = 1.0
LOOK_TIMEOUT_S = 2.0
SILENCES_MAX = 2  # in a row; counted and not timed, since this process may have stood still as well

Sink = Callable[[bytes], object]

log = logging.getLogger(__name__)


class Child:
    """A running process. What it writes to stderr goes to `sink`, line by line; `last_words` are the last of it."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        sockets: Sequence[socket.socket] = (),
        door: bool = False,
        sink: Sink,
    ) -> None:
        """Start `quizcast ARGUMENTS` with the sockets as `--fd N`.

        With `door` it gets a socket of its own on a free loopback port besides, to ask this one process how it is;
        once it has answered there it is killed when it hangs.
        Call from the main thread: on Linux the child dies with the thread that forked it.
        """
        self.name = name
        self.started_at = time.monotonic()
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._sink = sink
        own = [socket.create_server(("127.0.0.1", 0))] if door else []
        self._door: tuple[str, int] | None = own[0].getsockname() if own else None
        inherited = [each.fileno() for each in (*sockets, *own)]
        options = [word for number in inherited for word in ("--fd", str(number))]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "quizcast", *arguments, *options, "--parent", str(os.getpid())],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                start_new_session=True,  # so that Ctrl-C reaches the supervisor alone, which stops things in order
            )
        finally:
            for each in own:
                each.close()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name=name, daemon=True)
        self._reader.start()
        if self._door is not None:
            threading.Thread(target=self._watch, args=(self._door,), name=f"{name} watch", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status (negative: the signal), None while it runs."""
        return self._process.poll()

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started_at

    @property
    def ready(self) -> bool:
        """Whether it answers `/readyz` with 200 at its own door; without a door, whether it runs.

        Waits up to `PROBE_TIMEOUT_S` for the answer: a process that is starting gives it once it can.
        """
        return self.status is None and (self._door is None or _answers(self._door))

    @property
    def last_words(self) -> str:
        """The end of what it wrote."""
        self._reader.join(GOODBYE_S)
        return "\n".join(self._lines)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _watch(self, door: tuple[str, int]) -> None:
        lives, silences = False, 0
        while self.status is None:
            try:
                lives = bool(_ask(door, "/livez", LOOK_TIMEOUT_S)) or lives
                silences = 0
            except TimeoutError:  # before its first answer it is starting
                silences += lives
            except OSError:  # its door is shut: it is going
                silences = 0
            if silences == SILENCES_MAX:
                log.error("%s (process %d) hangs and is killed", self.name, self.pid)
                self.send(signal.SIGKILL)
                return
            time.sleep(LOOK_EVERY_S)

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._lines.append(line.decode(errors="replace").rstrip())
                self._sink(line)


def _answers(door: tuple[str, int]) -> bool:
    with suppress(OSError):
        return _ask(door, "/readyz", PROBE_TIMEOUT_S).startswith(b"HTTP/1.1 200 ")
    return False


def _ask(door: tuple[str, int], path: str, timeout_s: float) -> bytes:
    with socket.create_connection(door, timeout_s) as probe:
        probe.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return probe.recv(64)
