"""A lean HTTP/1.1 client: connections for calls, lines for event streams; floor 8.

The simulator shares its machine with the server that it measures, so a call costs one write, one parse and one
callback: no pool, no task, no request object. A connection carries one call at a time. Receipt is stamped
(`at`, seconds since the epoch by this machine's clock) when the bytes arrive, before anything is parsed.
"""

import asyncio
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httptools
import msgspec

from quizcast.errors import ServerUnreachable

CONNECT_TIMEOUT_S = 10.0  # enough for a lost SYN to be sent again three times (after 1, 2 and 4 s)
ATTEMPT_TIMEOUT_S = 15.0  # for one call; a server that lets people wait longer should have said 503
BACKOFF_BASE_S = 0.25
BACKOFF_MAX_S = 8.0
BUSY = frozenset({429, 500, 502, 503, 504})  # try again, after `Retry-After` where it is given

P = TypeVar("P", bound=asyncio.BaseProtocol)


def full_jitter(rng: random.Random, attempt: int, at_least_s: float = 0.0) -> float:
    """Seconds to wait after failed try `attempt` (0, 1, …): anywhere in a doubling span, atop what was asked for."""
    return at_least_s + rng.uniform(0.0, min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 10)))


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is, looked up once; `prefix` is the URL's path, in front of `/api/v1`."""

    host: str
    port: int
    ip: str
    authority: str
    prefix: str
    tls: ssl.SSLContext | None

    @classmethod
    async def resolve(cls, url: str) -> Self:
        """Look the URL's host up and take its first address that answers. Raises `ServerUnreachable`."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerUnreachable(f"{url!r} is not an http:// or https:// address")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ServerUnreachable(f"{parts.hostname}: {error}") from error
        trouble: Exception | None = None
        for *_, sockaddr in found:
            address = cls(
                host=parts.hostname,
                port=port,
                ip=str(sockaddr[0]),
                authority=parts.netloc.rpartition("@")[2],
                prefix=parts.path.rstrip("/"),
                tls=tls,
            )
            try:
                probe = await address.connect(Wire)
            except (OSError, TimeoutError) as error:
                trouble = error
            else:
                probe.hang_up()
                return address
        raise ServerUnreachable(f"{url}: {trouble}. Is the server running?") from trouble

    @property
    def loopback(self) -> bool:
        """Whether server and simulator surely read the same clock."""
        return ipaddress.ip_address(self.ip.partition("%")[0]).is_loopback

    async def connect(self, factory: Callable[[], P]) -> P:
        """One new connection. Raises `OSError`, `TimeoutError`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, protocol = await loop.create_connection(
                factory, self.ip, self.port, ssl=self.tls, server_hostname=self.host if self.tls else None
            )
        return protocol

    def head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        """A request's first lines, up to where `Content-Length` and the body go (see `with_body`)."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n"


def with_body(head: bytes, body: bytes = b"") -> bytes:
    """A whole request: `Address.head` and a body."""
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def local_path(url: str) -> str:
    """Path and query of a URL that the server handed out, which may name its public address instead of ours."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


class Wire(asyncio.Protocol):
    """One TCP connection and the replies on it.

    `status` and the headers kept are those of the last reply; `retry_after_s` is 0 where the server did not say.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.retry_after_s = 0.0
        self.msgpack = False
        self.at = 0.0

    def hang_up(self) -> None:
        """Drop the connection without a word."""
        if self.transport is not None:
            self.transport.abort()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self.transport is not None:
            self.transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop, always with a full-duplex transport."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Called by the loop: stamp, then parse."""
        self.at = time.time()
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.hang_up()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self.retry_after_s = 0.0
        self.msgpack = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser; the few headers that matter here are told apart by length first."""
        if len(name) == 12 and name.lower() == b"content-type":
            self.msgpack = value.startswith(b"application/msgpack")
        elif len(name) == 11 and name.lower() == b"retry-after" and value.isdigit():
            self.retry_after_s = float(value)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self.status = self.parser.get_status_code()


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
