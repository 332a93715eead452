"""A line between quizcast and one of its servers that a test can slow down, silence or cut."""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable
from typing import Self

CHUNK = 65_536
END_OF_HEAD = b"\r\n\r\n"
STREAM = re.compile(rb"GET \S+/events[ ?]")


class Link:
    """One connection through the proxy. `silent`: bytes are taken and go nowhere, both ways; the line stays up."""

    def __init__(self, proxy: "Proxy", near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.silent = False
        self.subscribes = False  # it has asked Redis for a channel
        self.streams = False  # it has asked quizcast for a game's events
        self._proxy = proxy
        self._ends = (near, far)

    async def pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, asking: bool) -> None:
        """Hand on what comes, each piece `delay_s` after it came: slower, not narrower."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(self._deliver(waiting, to, asking=asking))
        try:
            while data := await source.read(CHUNK):
                self.subscribes = self.subscribes or (asking and b"SUBSCRIBE" in data)
                self.streams = self.streams or (asking and STREAM.search(data) is not None)
                if self.streams and self._proxy.holding and not asking:
                    head, end, _ = data.partition(END_OF_HEAD)
                    data = head + end if end else b""
                if data and not (self._proxy.lost and self._proxy.lost in data):
                    waiting.put_nowait((time.monotonic() + self._proxy.delay_s, data))
            waiting.put_nowait((time.monotonic() + self._proxy.delay_s, b""))
            await delivering  # or the last bytes would be lost with the line
        finally:
            delivering.cancel()
            self.cut()

    async def _deliver(
        self, waiting: asyncio.Queue[tuple[float, bytes]], to: asyncio.StreamWriter, *, asking: bool
    ) -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - time.monotonic())
            if not data:
                return
            if not (self.silent or self._proxy.silent or (self._proxy.mute and not asking)):
                to.write(data)
                await to.drain()

    def cut(self) -> None:
        """Hang up on both sides."""
        for end in self._ends:
            end.transport.abort()


class Proxy:
    """Listens on a port of the loopback, in a thread of its own; leaving the `with` block ends it.

    `delay_s` holds for what is sent from now on, in each direction; `silent` for all links, new ones too, and `mute`
    for what the far end says: requests arrive, replies do not. While it is `closed`, new connections are hung up on.
    While it is `holding`, only the head of an event stream gets through, as with proxies that wait for the whole. A
    piece with `lost` in it is lost.
    """

    def __init__(self, far: str | tuple[str, int]) -> None:
        """`far` is a unix socket's path, or host and port."""
        self.delay_s = 0.0
        self.silent = False
        self.mute = False
        self.closed = False
        self.holding = False
        self.lost = b""
        self.port = 0
        self.links: set[Link] = set()
        self._far = far
        self._answering: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._accept, "127.0.0.1")
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lead_to(self, far: str | tuple[str, int]) -> None:
        """Whither new connections go from now on."""
        self._far = far

    def cut(self, which: Callable[[Link], bool] = lambda _: True) -> int:
        """Hang up on all links, or on some; how many."""

        async def hang_up() -> int:
            chosen = [link for link in self.links if which(link)]
            for link in chosen:
                link.cut()
            return len(chosen)

        return asyncio.run_coroutine_threadsafe(hang_up(), self._loop).result()

    def silence(self, which: Callable[[Link], bool]) -> int:
        """Make a black hole of some of today's links; how many."""
        chosen = [link for link in self.links.copy() if which(link)]
        for link in chosen:
            link.silent = True
        return len(chosen)

    def heal(self) -> None:
        """A plain line again. What was swallowed stays lost, so the silenced links are cut."""
        held, self.holding = self.holding, False
        self.delay_s, self.silent, self.mute, self.closed, self.lost = 0.0, False, False, False, b""
        self.cut(lambda link: link.silent or (held and link.streams))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            writer.transport.abort()
            return
        if answering := asyncio.current_task():
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            opening = asyncio.open_unix_connection(self._far) if isinstance(self._far, str) else None
            far_reader, far_writer = await (opening or asyncio.open_connection(*self._far))
            link = Link(self, writer, far_writer)
            self.links.add(link)
            try:
                await asyncio.gather(
                    link.pump(reader, far_writer, asking=True),
                    link.pump(far_reader, writer, asking=False),
                    return_exceptions=True,
                )
            finally:
                self.links.discard(link)
        writer.transport.abort()

    async def _end(self) -> None:
        # A connection that is being accepted must not be cancelled, or its socket stays, nor lose its server: it hangs
        # up by itself. Called off is what is being answered; the server is closed when nothing is under way.
        self.closed = True
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._answering:
                task.cancel()
            await asyncio.wait(tasks)
        if self._server is not None:
            self._server.close()
