"""The ground of a lean HTTP/1.1 client: addresses, connections as bytes, clocks and waiting; floor 8.

The simulator shares its machine with the server that it measures, so nothing here has a pool, a task or a request
object. Receipt is stamped (`at`, epoch seconds by this machine's clock) when the bytes arrive, before any parsing.
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
LOOK_EVERY_S = 0.01  # how often a wait looks whether it is over; a hundredth of the answer window
BUSY = frozenset({429, 500, 502, 503, 504})  # try again, after `Retry-After` where it is given

P = TypeVar("P", bound=asyncio.BaseProtocol)


def full_jitter(rng: random.Random, attempt: int, at_least_s: float = 0.0) -> float:
    """Seconds to wait after failed try `attempt` (0, 1, …): anywhere in a doubling span, atop what was asked for."""
    return at_least_s + rng.uniform(0.0, min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 10)))


async def until(true: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until the condition holds; False when `timeout_s` passed first."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


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


class Clock:
    """The server's clock as seen from here: `offset_ms` is to be added to ours. On loopback they are one clock.

    Elsewhere it is taken from the exchange with the shortest round trip, so it is off by at most half of that.
    """

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.offset_ms = 0.0
        self.rtt_ms = float("inf")

    def heard(self, asked_at: float, at: float, server_at_ms: int) -> None:
        """Learn from one exchange: asked and answered by our clock (s), stamped by the server's (ms) in between."""
        rtt_ms = (at - asked_at) * 1000
        if not self.shared and rtt_ms < self.rtt_ms:
            self.rtt_ms = rtt_ms
            self.offset_ms = server_at_ms - (asked_at + at) * 500

    def now(self) -> float:
        """The server's time in epoch seconds."""
        return time.time() + self.offset_ms / 1000
