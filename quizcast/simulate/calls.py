"""Calls over HTTP/1.1: one connection, one call at a time, one write, one parse and one callback each; floor 8."""

import asyncio
import random
import time
from collections.abc import Callable

import msgspec

from quizcast.simulate.client import ATTEMPT_TIMEOUT_S, BUSY, Address, Wire, full_jitter


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came back on a call; `at` is the receipt of its last byte."""

    status: int
    body: bytes
    at: float
    retry_after_s: float = 0.0
    msgpack: bool = False


Taker = Callable[[Reply | None], None]


class Connection:
    """One call after the other to one server; connects by itself, and anew when the server has hung up.

    With `hold=False` it hangs up after each reply: a connect per call, and no descriptor in between.
    """

    def __init__(self, address: Address, *, hold: bool = True) -> None:
        self.waiting_since = 0.0  # epoch seconds; 0 when no call is under way
        self.asked_at = 0.0  # when the last call began
        self.connects = 0
        self._address = address
        self._hold = hold
        self._wire: CallWire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._request = b""
        self._taker: Taker | None = None

    def call(self, request: bytes, taker: Taker) -> None:
        """Send a request. `taker` gets the reply, or None when the connection broke first."""
        self._request, self._taker = request, taker
        self.waiting_since = self.asked_at = time.time()
        wire = self._wire
        if wire is None or wire.transport is None or wire.transport.is_closing():
            self._connect()
        else:
            wire.send(request)

    async def ask(self, request: bytes, timeout_s: float = ATTEMPT_TIMEOUT_S) -> Reply | None:
        """`call` as a coroutine; None also when `timeout_s` passed."""
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()

        def taker(reply: Reply | None) -> None:
            if not future.done():
                future.set_result(reply)

        self.call(request, taker)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            self.abort()
            return None

    def abort(self) -> None:
        """Give up the call under way: its taker gets None."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._wire is not None:
            self._wire.owner = None
            self._wire.hang_up()
            self._wire = None
        self._finish(None)

    def close(self) -> None:
        """Hang up; the taker of a call under way is not called any more."""
        self._taker = None
        self.abort()

    def _connect(self) -> None:
        self._wire = None
        self.connects += 1
        self._connecting = asyncio.get_running_loop().create_task(self._connect_and_send())

    async def _connect_and_send(self) -> None:
        try:
            wire = await self._address.connect(lambda: CallWire(self))
        except (OSError, TimeoutError):
            self._connecting = None
            self._finish(None)
        else:
            self._connecting = None
            self._wire = wire
            wire.send(self._request)

    def _finish(self, reply: Reply | None) -> None:
        self.waiting_since = 0.0
        taker, self._taker = self._taker, None
        if taker is not None:
            taker(reply)

    def replied(self, wire: "CallWire", reply: Reply) -> None:
        """Called by the wire."""
        if not (self._hold and wire.parser.should_keep_alive()):
            self._wire = wire.owner = None
            wire.hang_up()
        self._finish(reply)

    def lost(self, wire: "CallWire") -> None:
        """Called by the wire: the server hung up."""
        if wire is not self._wire:
            return  # it was known to be ending: the call under way has another
        self._wire = None
        if self._taker is None:
            return
        if wire.calls > 1 and not wire.begun:
            # It hung up on an idle connection just as a call went out; every call here is safe to repeat.
            self._connect()
        else:
            self._finish(None)


class CallWire(Wire):
    """The TCP connection under a `Connection`."""

    def __init__(self, owner: Connection) -> None:
        super().__init__()
        self.owner: Connection | None = owner
        self.calls = 0
        self.begun = False
        self._parts: list[bytes] = []

    def send(self, request: bytes) -> None:
        """Write a request."""
        self.calls += 1
        self.begun = False
        self.write(request)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        super().on_message_begin()
        self.begun = True

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        body, self._parts = b"".join(self._parts), []
        if self.owner is not None and self.status >= 200:
            reply = Reply(
                status=self.status,
                body=body,
                at=self.at,
                retry_after_s=self.retry_after_s,
                msgpack=self.msgpack,
            )
            self.owner.replied(self, reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self.owner is not None:
            self.owner.lost(self)


async def insist(
    connection: Connection,
    request: bytes,
    rng: random.Random,
    *,
    timeout_s: float,
    attempt_s: float = ATTEMPT_TIMEOUT_S,
) -> Reply | None:
    """Send until the server says something final; None when `timeout_s` passed in vain."""
    deadline = time.monotonic() + timeout_s
    attempt = 0
    while (left_s := deadline - time.monotonic()) > 0:
        reply = await connection.ask(request, min(left_s, attempt_s))
        if reply is not None and reply.status not in BUSY:
            return reply
        await asyncio.sleep(min(left_s, full_jitter(rng, attempt, reply.retry_after_s if reply else 0.0)))
        attempt += 1
    return None
