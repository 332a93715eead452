"""The process tree of one machine: embedded servers, web processes, workers, and the order of their lives; floor 8.

`start`, then `tend` ten times a second from the main thread, then `stop`. Invariants: the port is listened on from
start to stop, whoever dies in between; what participants were promised is in Postgres before the servers stop.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import msgspec

from quizcast import notify
from quizcast.embedded import DataDir, Services
from quizcast.errors import ProcessFailed, ServiceFailed
from quizcast.logs import settled
from quizcast.settings import Settings
from quizcast.supervisor import ports
from quizcast.supervisor.child import Child, Sink
from quizcast.supervisor.slot import Slot

TICK_S = 0.1
READY_TIMEOUT_S = 60.0
STOP_GRACE_S = 5.0  # over what a process may take by its own rules
WORKER_STOP_S = 30.0  # the batch at hand, and the last flush
# Between two restarts of an embedded server that does not stay up; doubles up to the second. There is no last try: a
# server stops on a full disk, for one, and when there is room again the games go on by themselves.
SERVER_PAUSE_S, SERVER_PAUSE_MAX_S = 0.25, 4.0
SERVER_STEADY_S = 60.0  # who lived so long is started again at once

log = logging.getLogger(__name__)


def to_stderr(line: bytes) -> None:
    """Where the children's lines go unless said otherwise."""
    with suppress(OSError, ValueError):  # our own reader has gone: no reason to stop
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


class Supervisor:
    """The tree. `sink` takes every line that a child writes."""

    def __init__(
        self, settings: Settings, *, host: str, port: int, web: int, workers: int, sink: Sink = to_stderr
    ) -> None:
        self._settings = msgspec.structs.replace(
            settings, data_dir=settings.data_dir.absolute(), log_format=settled(settings.log_format)
        )
        self._host = host
        self._port = port
        self._web = web
        self._workers = workers
        self._sink = sink
        self._sockets: list[socket.socket] = []
        self._services: Services | None = None
        self._data: DataDir | None = None
        self._web_slots: list[Slot] = []
        self._worker_slots: list[Slot] = []
        self._to_renew: deque[Slot] = deque()
        self._outages: dict[str, _Outage] = {}
        self._building: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where this machine reaches it; `port` 0 is a real one after `start`."""
        return ports.url(self._host, self._port)

    @property
    def public_url(self) -> str:
        """Where others reach it."""
        return self._settings.public_url or ports.public_url(self._host, self._port)

    def start(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Start everything and wait until every web process is ready; False when `stopping` said so first.

        Raises `OperatorError`s; call `stop` in any case.
        """
        self._sockets = ports.listen(self._host, self._port, self._web)
        self._port = self._sockets[0].getsockname()[1]
        self._data = DataDir(self._settings.data_dir)
        self._fresh_metrics()
        if self._settings.embedded:
            self._start_servers(self._data)
        if stopping():
            return False
        _check_keys(self._settings)
        _migrate(self._settings.database_url)
        self._web_slots = [self._slot("web", place) for place in range(self._web)]
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not all(slot.ready for slot in self._web_slots):
            if stopping():
                return False
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"the web processes are not ready after {READY_TIMEOUT_S:g} s; see what `quizcast doctor` says"
                )
            self.tend()
            time.sleep(TICK_S / 5)
        # Only now: loading the code is what a start consists of, and nobody waits for the workers.
        self._worker_slots = [self._slot("worker", place) for place in range(self._workers)]
        self._build_assets()
        return True

    def tend(self) -> None:
        """See to everything that has died; to be called about every `TICK_S`. Raises `OperatorError`s."""
        for slot in (*self._web_slots, *self._worker_slots):
            slot.tend()
        if self._to_renew and not self._to_renew[0].renewing:
            self._to_renew.popleft()
            if self._to_renew:
                self._to_renew[0].renew()
            else:
                notify.tell(notify.READY)
        if self._services is not None:
            for name in self._services.dead():
                self._restart_server(self._services, name)

    def reload(self) -> None:
        """Replace the web processes one at a time, each by one that is ready; goes on in `tend`."""
        if not self._to_renew:
            notify.tell(notify.reloading())
            log.info("replacing %d web processes, one at a time", len(self._web_slots))
            self._to_renew.extend(self._web_slots)
            self._to_renew[0].renew()
            self._build_assets()

    def stop(self, hurrying: Callable[[], bool] = lambda: False) -> None:
        """Drain the web processes, let the workers flush what is left, stop the servers; in bounded time.

        Once `hurrying`, the processes are killed and only the servers still stop in order.
        """
        for each in self._sockets:
            each.close()  # the web processes have theirs: what comes after they are gone is refused, not kept waiting
        _end(_children(self._web_slots), self._settings.drain_s + STOP_GRACE_S, hurrying)
        _end(_children(self._worker_slots), WORKER_STOP_S, hurrying)
        if self._services is not None:
            self._services.stop()
        if self._building is not None:
            self._building.join(STOP_GRACE_S)
        if self._data is not None:
            self._data.release()

    def _start_servers(self, data: DataDir) -> None:
        # They take a moment, which is as long as it takes to load what the migrations need.
        ahead = threading.Thread(target=import_module, args=("quizcast.store.db",), daemon=True)
        ahead.start()
        self._data = None  # it is theirs now, and released with them
        self._services = Services.start(self._settings, data=data)
        ahead.join()
        self._settings = msgspec.structs.replace(
            self._settings, redis_url=self._services.redis_url, database_url=self._services.database_url
        )

    def _fresh_metrics(self) -> None:
        folder = self._settings.data_dir / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        # Before anything in here loads the metrics: it counts restarts, and forgets processes that ended.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)

    def _build_assets(self) -> None:
        """Compress the pages' files, beside all else: until that is done they go out as they are."""
        if self._building is None or not self._building.is_alive():
            folder = self._settings.static_folder
            self._building = threading.Thread(target=_build, args=(folder,), name="assets", daemon=True)
            self._building.start()

    def _slot(self, kind: str, place: int) -> Slot:
        def start() -> Child:
            return Child(
                f"{kind} {place}",
                [kind, "--index", str(place)],
                env=os.environ | self._settings.to_env(),
                sockets=[self._sockets[place]] if kind == "web" else [],
                door=kind == "web",
                sink=self._sink,
            )

        return Slot(f"{kind} {place}", start, _forget)

    def _restart_server(self, services: Services, name: str) -> None:
        outage = self._outages.setdefault(name, _Outage())
        now = time.monotonic()
        if now < outage.due_at:
            return
        if now - outage.due_at > SERVER_STEADY_S:
            outage.pause_s = SERVER_PAUSE_S
        log.error("%s stopped; starting it again", name)
        _restarted(name)
        try:
            services.restart(name)
        except ServiceFailed as error:
            log.error("%s. It is tried again in %g s", error, outage.pause_s)
        else:
            log.info("%s is back", name)
        outage.due_at = time.monotonic() + outage.pause_s
        outage.pause_s = min(SERVER_PAUSE_MAX_S, 2 * outage.pause_s)


class _Outage:
    """How long to wait before a server is started yet again."""

    def __init__(self) -> None:
        self.pause_s = SERVER_PAUSE_S
        self.due_at = 0.0


def _check_keys(settings: Settings) -> None:
    from quizcast.auth import Keyring  # not before the servers are under way

    Keyring.load(settings)  # makes the key file, and says once what every web process would say in its turn


def _migrate(database_url: str) -> None:
    from quizcast.store.months import prepare  # loaded ahead, while the servers start
    from quizcast.store.schema import migrate

    for name in asyncio.run(migrate(database_url)):
        log.info("migrated: %s", name)
    asyncio.run(prepare(database_url))


def _build(folder: Path) -> None:
    from quizcast.assets import Assets, build  # nobody waits for it

    try:
        build(Assets.shipped(), folder)
    except OSError as error:
        log.warning("the pages' files stay uncompressed: %s", error)


def _forget(child: Child) -> None:
    from quizcast.metrics import forget_process  # not before its folder is known

    forget_process(child.pid)


def _restarted(server: str) -> None:
    from quizcast.metrics import SERVER_RESTARTS  # likewise

    SERVER_RESTARTS.labels(server).inc()


def _children(slots: list[Slot]) -> list[Child]:
    return [child for slot in slots for child in slot.children]


def _end(children: list[Child], patience_s: float, hurrying: Callable[[], bool]) -> None:
    for child in children:
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while running := [child for child in children if child.status is None]:
        if hurrying() or time.monotonic() > deadline:
            for child in running:
                log.warning("%s (process %d) does not end in time and is killed", child.name, child.pid)
                child.send(signal.SIGKILL)
            patience_s = deadline = float("inf")
            hurrying = _never
        time.sleep(TICK_S / 5)


def _never() -> bool:
    return False
