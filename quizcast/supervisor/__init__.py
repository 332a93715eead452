"""`serve`: the process tree of one machine under one supervisor, and the signals it obeys; floor 8.

SIGTERM and SIGINT stop in order, a second SIGINT in a hurry; SIGHUP replaces the web processes one at a time.
"""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

from quizcast import notify
from quizcast.settings import Settings
from quizcast.supervisor.child import Sink
from quizcast.supervisor.tree import TICK_S, Supervisor, to_stderr

__all__ = ["TICK_S", "Signals", "Sink", "Supervisor", "serve", "to_stderr"]


class Signals:
    """What the process has been asked to do; a `with` block long. From the main thread only."""

    def __init__(self) -> None:
        self.stopping = False
        self.hurrying = False
        self._reload = False
        self._had_terminal = _has_terminal()
        self._before: dict[signal.Signals, object] = {}

    def reload_asked(self) -> bool:
        """Whether there was a SIGHUP since the last look."""
        asked, self._reload = self._reload, False
        return asked

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, _frame: FrameType | None) -> None:
        # A closed terminal says SIGHUP as well, and nobody could end us then.
        if number == signal.SIGHUP and not (self._had_terminal and not _has_terminal()):
            self._reload = True
            return
        self.hurrying = self.stopping and number == signal.SIGINT
        self.stopping = True


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    web: int,
    workers: int,
    on_ready: Callable[[Supervisor], None],
) -> int:
    """Run the tree until a signal ends it; the exit status.

    `on_ready` is told once every web process takes requests. Raises `OperatorError`s; everything is stopped then.
    """
    tree = Supervisor(settings, host=host, port=port, web=web, workers=workers)
    with Signals() as signals:
        try:
            if tree.start(lambda: signals.stopping):
                on_ready(tree)
                notify.tell(notify.READY)
            while not signals.stopping:
                if signals.reload_asked():
                    tree.reload()
                notify.tell(notify.ALIVE)
                tree.tend()
                time.sleep(TICK_S)
        finally:
            notify.tell(notify.STOPPING)
            tree.stop(lambda: signals.hurrying)
    return 0


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
