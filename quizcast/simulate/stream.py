"""An event stream as a good client keeps it: split into frames, and resumed when it ends; floor 8."""

import asyncio
import random
import time
from array import array
from collections.abc import Callable

from quizcast.simulate.client import BUSY, Address, Wire, full_jitter
from quizcast.simulate.events import Drain, Event, Reader

SILENCE_S = 50.0  # three heartbeats missed: the line is dead, whatever TCP says


class EventLine(Wire):
    """One connection of an event stream.

    `on_open(at)` is called for a 200, then `on_frame(frame, at)` for each frame, without the empty line after it.
    """

    def __init__(self, on_open: Callable[[float], None], on_frame: Callable[[bytes, float], None]) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._on_open = on_open
        self._on_frame = on_frame
        self._rest = b""

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        super().on_headers_complete()
        if not self.answered.done():
            self.answered.set_result(self.status)
        if self.status == 200:
            self._on_open(self.at)

    def on_body(self, body: bytes) -> None:
        """Called by the parser: split off whole frames, keep the rest."""
        if self.status != 200:
            return
        if self._rest:
            body = self._rest + body
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n")
        *frames, self._rest = body.split(b"\n\n")
        for frame in frames:
            self._on_frame(frame, self.at)

    def on_message_complete(self) -> None:
        """Called by the parser: the stream ended in good order."""
        self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if not self.answered.done():
            self.answered.set_result(0)
        if not self.ended.done():
            self.ended.set_result(None)


class Stream:
    """One participant's or host's stream. `run` keeps it up until the game is over, it is kicked or `stop` is called.

    Times are epoch seconds. `refused` is the status that ended it for good, 0 for none.
    """

    def __init__(
        self,
        address: Address,
        path: str,
        token: str,
        *,
        reader: Reader,
        rng: random.Random,
        on_event: Callable[[Event, float], None],
    ) -> None:
        self.opened_at = 0.0
        self.open = False
        self.over = False
        self.kicked = False
        self.refused = 0
        self.resets = 0
        self.asked_at = 0.0
        self.resumes_ms = array("d")
        self._address = address
        self._path = path
        self.token = token
        self._reader = reader
        self._rng = rng
        self._on_event = on_event
        self._last_id = b""
        self._heard_at = 0.0
        self._drained_until = 0.0
        self._line: EventLine | None = None

    async def run(self) -> None:
        """Connect, listen, come back. Returns when the stream is over."""
        attempt, lost_at = 0, 0.0
        while not self.over:
            line = await self._connect()
            status = line.status if line else 0
            if self.over and line is not None:
                line.hang_up()
            elif line is not None and status == 200:
                if lost_at:
                    self.resumes_ms.append((self.opened_at - lost_at) * 1000)
                attempt = 0
                await line.ended
                self.open = False
                lost_at = time.time()
                wait_s = self._drained_until - lost_at
                self._drained_until = 0.0
                if wait_s <= 0:
                    wait_s = full_jitter(self._rng, 0)
            else:
                if line is not None:
                    line.hang_up()
                if status and status not in BUSY:
                    self.over = True
                    self.refused = 0 if status == 204 else status
                wait_s = full_jitter(self._rng, attempt, line.retry_after_s if line else 0.0)
                attempt += 1
            self._line = None
            if not self.over:
                await asyncio.sleep(wait_s)

    def sweep(self, now: float) -> None:
        """Hang up when the line has been silent for too long, so that `run` makes a new one."""
        if self.open and self._line is not None and now - self._heard_at > SILENCE_S:
            self._line.hang_up()

    def cut(self) -> None:
        """Lose the line, as phones do; `run` comes back."""
        if self._line is not None:
            self._line.hang_up()

    def stop(self) -> None:
        """Leave."""
        self.over = True
        self.cut()

    async def _connect(self) -> EventLine | None:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id.decode("latin-1")
        self.asked_at = time.time()
        try:
            line = await self._address.connect(lambda: EventLine(self._on_open, self._on_frame))
        except (OSError, TimeoutError):
            return None
        self._line = line
        line.write(self._address.head("GET", self._path, headers) + b"\r\n")
        try:
            async with asyncio.timeout(SILENCE_S):
                await line.answered
        except TimeoutError:
            line.hang_up()
            return None
        return line

    def _on_open(self, at: float) -> None:
        self.opened_at = self._heard_at = at
        self.open = True

    def _on_frame(self, frame: bytes, at: float) -> None:
        self._heard_at = at
        event = self._reader.read(frame)
        if event is None or self.over:
            return
        if event.id:
            self._last_id = event.id
        if event.name == "drain" and isinstance(event.body, Drain):
            self._leave_within(event.body.retry_ms / 1000)
        elif event.name == "reset":
            self.resets += 1
        elif event.name == "kicked":
            self.kicked = self.over = True
        self._on_event(event, at)

    def _leave_within(self, retry_s: float) -> None:
        # Listen on meanwhile: who hung up at once would miss what is still being sent.
        wait_s = retry_s * self._rng.uniform(1.0, 1.5)
        self._drained_until = time.time() + wait_s
        if self._line is not None:
            asyncio.get_running_loop().call_later(wait_s, self._line.hang_up)
