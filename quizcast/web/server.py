"""One web process: uvicorn around the app, with an end that loses nobody; at the top of `web`.

On SIGTERM the process first sends its streams elsewhere, spread over `drain_s`, while it goes on answering; then it
shuts its door, answers who is inside, and only then does uvicorn close what is idle. A second signal hurries.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
from pathlib import Path
from types import FrameType

import uvicorn

from quizcast import notify, tracing
from quizcast.settings import Settings
from quizcast.web.app import App
from quizcast.web.protocol import LOOK_S, QuizcastProtocol, cut_slow

# Requests leave next to no cycles behind, and a collection looks at every stream and token: a seventh of the time in a
# burst of answers on 1,000 connections. Rarer, then, and rarest of all the ones that look at everything.
GC_THRESHOLDS = (50_000, 20, 1000)
BACKLOG = 4096  # a whole hall connects within a second
# libuv accepts one connection of a listening socket in each turn of its loop. When thousands come back at once, anybody
# else who connects stands behind them all; they are let in sixteen at a time, by as many handles of the same socket.
HANDLES = 16
KEEP_ALIVE_S = 75  # above nginx's 60 s, so that it is the proxy who closes an idle connection
GRACE_S = 10  # for requests that are under way when the streams have gone
LINGER_S = 1.0  # with the door shut, while a line is left: who is inside sends a request within that, or has none
LOOK_EVERY_S = 0.1
# On every reply: nothing is to be taken for another type than it says, and no address, which may hold a token, told on.
HEADERS = [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]
FILES_SPARE = 1000  # open files beyond the streams: answers' connections, Redis, Postgres

log = logging.getLogger(__name__)


class WebServer(uvicorn.Server):
    """uvicorn's server, whose first signal begins a drain."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        config.callback_notify, config.timeout_notify = self._look, LOOK_S
        self._app = app
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. What is there by now stays for good: the collector need never look at it again."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        await self._widen_door()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        if self.started:
            notify.tell(notify.READY)

    async def _widen_door(self) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> QuizcastProtocol:
            return QuizcastProtocol(self.config, self.server_state, self.lifespan.state)

        for one in [one for server in self.servers for one in server.sockets]:
            for _ in range(HANDLES - 1):
                handle = socket.socket(fileno=os.dup(one.fileno()))
                self.servers.append(await loop.create_server(protocol, sock=handle, backlog=BACKLOG))

    async def _look(self) -> None:
        notify.tell(notify.ALIVE)
        cut_slow(self.server_state.connections, asyncio.get_running_loop().time())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn's signal handlers: drain first, stop afterwards; the second signal stops at once."""
        if self._draining is None and self._loop is not None and not self.should_exit:
            self._loop.call_soon_threadsafe(self._begin_drain, sig, frame)
        else:
            super().handle_exit(sig, frame)

    def _begin_drain(self, sig: int, frame: FrameType | None) -> None:
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain(sig, frame))

    async def _drain(self, sig: int, frame: FrameType | None) -> None:
        notify.tell(notify.STOPPING)
        if (services := self._app.services) is not None:
            log.info("draining %d streams", services.hub.open_streams)
            await services.hub.drain(services.settings.drain_s)
        self._shut_door()
        for _ in range(round(LINGER_S / LOOK_EVERY_S)):
            await asyncio.sleep(LOOK_EVERY_S)
            if not self.server_state.connections:
                break
        super().handle_exit(sig, frame)

    def _shut_door(self) -> None:
        """Let nobody in any more. Nobody who is in, or waits to be, may be turned out: their request has been sent."""
        if self.config.uds:  # nobody else accepts who waits there, so we go on until uvicorn closes it
            with contextlib.suppress(OSError):
                Path(self.config.uds).unlink()
        else:
            for server in self.servers:
                server.close()


def run_web(
    settings: Settings,
    *,
    sockets: list[socket.socket] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    uds: str = "",
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Listens on `sockets` if given, else on `uds` or `host:port`."""
    tracing.start("web")
    _allow_files(settings.max_streams * 2 + FILES_SPARE)
    # A unix socket has no addresses; who may open it is up to the folder's permissions.
    app = App(settings, trusted="*" if uds or _unix(sockets) else settings.trusted_proxies)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        uds=uds or None,
        loop="uvloop",
        http=QuizcastProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=HEADERS,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        interface="asgi3",
        proxy_headers=False,  # the app sees to them, where an address matters: not on the hot routes
    )
    server = WebServer(config, app)
    server.run(sockets)
    return 0 if server.started else 1


def _unix(sockets: list[socket.socket] | None) -> bool:
    return bool(sockets) and all(one.family == socket.AF_UNIX for one in sockets or ())


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
