"""Contest 1, fan-out: one event to thousands of streams, by one server process on one core."""

import contextlib
import functools
import socket
import string
import sys
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from bench.backstage import Backstage, Web, python_app
from bench.contest import Contest, Contestant, Goal, Metric
from bench.machine import PEERS, SERVER_CORE
from bench.native import Reader, program
from quizcast.wire.events import Leaderboard, Place, encode_data

EVENT_BYTES = 450  # a leaderboard of five
EVENTS = 60
WARMUP = 3  # the first events find cold caches and buffers that have yet to grow
OPEN_TIMEOUT_S = 120
EVENT_TIMEOUT_S = 30
BUDGET_S = 20  # a contestant who needs seconds per event is measured on fewer of them
SETTLE_S = 1.0
PAUSE_S = 0.05
UNSTAMPED = len(',"server_now_at":1700000000000')  # what quizcast's script adds to the event's data

WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
WEBSOCKET += "Sec-WebSocket-Key: cXVpemNhc3QgYmVuY2ghIQ==\r\n"


def leaderboard(at_us: int, size: int = EVENT_BYTES) -> Leaderboard:
    """An event of `size` bytes of JSON that tells the reader when it was published."""
    return _board(at_us, size - _unfilled())


def _board(at_us: int, filling: int) -> Leaderboard:
    names = [f"~t{at_us:016d}", "Marie", "Émile", "Sofia", "n" * filling]
    top = [
        Place(rank=rank, participant_id=f"p{rank}", nickname=name, score=9000 - rank, gained=900)
        for rank, name in enumerate(names, start=1)
    ]
    return Leaderboard(top=top, participants=1000)


@functools.cache  # the clock of an event runs while it is being made
def _unfilled() -> int:
    return len(encode_data(_board(0, 0)))


def invitation(game_id: str, token: str) -> str:
    """The head of a request for a game's stream; an empty line ends it."""
    return f"GET /api/v1/games/{game_id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"


class Publisher(Contestant):
    """A contestant of the fan-out."""

    protocol = "sse"

    @abstractmethod
    def invite(self, streams: int) -> list[bytes]:
        """The request that opens each stream."""

    @abstractmethod
    def publish(self) -> None:
        """Publish one event, marked with the moment just before."""


class Quizcast(Web, Publisher):
    """The event takes the whole road: script, log, pub/sub, hub. Each stream shows a token of its own."""

    def invite(self, streams: int) -> list[bytes]:
        """Every participant of a new game."""
        self.stage.hall.fill(streams)
        return self.invitations()

    def invitations(self) -> list[bytes]:
        """Every participant of the game that is there."""
        hall = self.stage.hall
        return [f"{invitation(hall.game_id, token)}\r\n".encode() for token in hall.tokens]

    def publish(self) -> None:
        """By the script that logs and publishes what the host does."""
        self.stage.hall.tell(lambda: leaderboard(time.monotonic_ns() // 1000, EVENT_BYTES - UNSTAMPED))


class Peer(Publisher):
    """A server to which an event is posted."""

    path = "/events"
    headers = "Accept: text/event-stream\r\n"

    def __init__(self) -> None:
        super().__init__()
        self._line: socket.socket | None = None

    def invite(self, streams: int) -> list[bytes]:
        """The same request for all; no token is asked for."""
        return [f"GET {self.path} HTTP/1.1\r\nHost: x\r\n{self.headers}\r\n".encode()] * streams

    def publish(self) -> None:
        """By a POST, written at once; its reply is read when the next is due."""
        line = self._line = self._open_line()
        head = b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        head = head % EVENT_BYTES + b"X-EventSource-Event: leaderboard\r\n\r\n"
        line.sendall(head + encode_data(leaderboard(time.monotonic_ns() // 1000)))

    def _open_line(self) -> socket.socket:
        """The connection of the last event, unless the server has hung up on it."""
        if self._line is not None:
            with contextlib.suppress(OSError):  # of a server that is no more
                if self._line.getpeername()[1] == self.port and self._line.recv(65536):
                    return self._line
        return socket.create_connection(("127.0.0.1", self.port), 5)


class Floor(Peer):
    """send() in a loop, in C."""

    name = "bare loop"

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """`floor.c`."""
        return [program("floor"), str(self.port)], {}


class Nchan(Peer):
    """nginx with Debian's nchan, one worker."""

    name = "nchan"

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """nginx in the foreground, with `nchan.conf`."""
        module = "/usr/lib/nginx/modules/ngx_nchan_module.so"
        template = string.Template((PEERS / "nchan.conf").read_text())
        config = folder / "nginx.conf"
        config.write_text(template.substitute(port=self.port, folder=folder, module=module))
        return ["nginx", "-c", str(config), "-e", str(folder / "error.log")], {}


class SocketIO(Peer):
    """socket.io with its Redis adapter, over WebSocket."""

    name = "socket.io"
    protocol = "socketio"
    path = "/socket.io/?EIO=4&transport=websocket"
    headers = WEBSOCKET

    def __init__(self, stage: Backstage) -> None:
        super().__init__()
        self._env = stage.peers_env

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Node, as it comes."""
        return ["node", str(PEERS / "socketio.js")], {**self._env, "PORT": str(self.port), "NODE_ENV": "production"}


class IdiomaticSse(Peer):
    """sse-starlette with a queue per stream."""

    name = "sse-starlette"

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """uvicorn."""
        return [sys.executable, "-m", *python_app("idiomatic_sse", self.port)], {}


class FanOut(Contest[Publisher]):
    """One event at a time, to all streams."""

    name = "fanout"
    title = "Fan-out"
    says = (
        f"One server process on core {SERVER_CORE}; publisher, reader and Redis share the other. An event is "
        f"{EVENT_BYTES} bytes of JSON and carries the microsecond of its publication; {EVENTS} of them per round go "
        "out one after the other, after a warm-up, and the delay is from just before publishing (what a host's act "
        "reads beforehand, to decide, is not in it) to the receipt on each stream. quizcast's event takes its whole "
        "road (script, log synced to disk, pub/sub, hub) and each of its streams has shown a token of its own; the "
        "peers get theirs by a POST and ask for no token. *reader* is what the load reader itself costs: while that "
        "is below what the server costs, and the bare loop is ahead of all, it is the servers that are measured."
    )
    unit = "streams"
    metrics = (
        Metric(key="p50_ms", title="p50 (ms)", ratio=True),
        Metric(key="p99_ms", title="p99 (ms)", ratio=True),
        Metric(key="max_ms", title="max (ms)"),
        Metric(key="cpu_s", title="CPU s per million", digits=2, ratio=True),
        Metric(key="reader_s", title="reader (CPU s per million)", digits=2),
        Metric(key="kb", title="KB per stream"),
        Metric(key="lost", title="lost", digits=0),
    )
    plotted = ("p50_ms", "p99_ms", "cpu_s", "kb")
    floors = ("bare loop", "nchan")
    quick_floors = ("bare loop",)
    sizes = (1000, 2000, 5000, 10000)
    quick_sizes = (2000, 5000)
    goals = (
        *(
            Goal(metric=metric, size=size, over="nchan", at_most=0.9)
            for size in sizes
            for metric in ("p50_ms", "p99_ms")
        ),
        *(Goal(metric="p99_ms", size=size, over="bare loop", at_most=1.35) for size in (5000, 10000)),
        *(Goal(metric="kb", size=size, over=None, at_most=10) for size in (5000, 10000)),
    )

    def __init__(self, stage: Backstage) -> None:
        self.contestants = (Quizcast(stage), Nchan(), SocketIO(stage), IdiomaticSse(), Floor())

    def measure(self, contestant: Publisher, size: int) -> dict[str, float]:
        """Open the streams, publish, read."""
        with contestant.running(SERVER_CORE):
            before_kb = contestant.pss_kb()
            requests = contestant.invite(size)
            with Reader(contestant.port, requests, contestant.protocol, EVENTS, WARMUP) as reader:
                if reader.line(OPEN_TIMEOUT_S) is None:
                    raise RuntimeError(f"{contestant.name} did not open {size} streams")
                time.sleep(SETTLE_S)
                for _ in range(WARMUP):
                    self._publish(contestant, reader)
                memory_kb, cpu_s = contestant.pss_kb() - before_kb, contestant.cpu_s()
                until = time.monotonic() + BUDGET_S
                for _ in range(EVENTS):
                    self._publish(contestant, reader)
                    if time.monotonic() > until:
                        break
                cpu_s = contestant.cpu_s() - cpu_s
                seen = reader.result()
        millions = max(1, seen.received) / 1e6
        return {
            "p50_ms": seen.p50_us / 1000,
            "p99_ms": seen.p99_us / 1000,
            "max_ms": seen.max_us / 1000,
            "cpu_s": cpu_s / millions,
            "reader_s": seen.cpu_s / millions,
            "kb": memory_kb / size,
            "lost": seen.events * size - seen.received,
        }

    def _publish(self, contestant: Publisher, reader: Reader) -> None:
        contestant.publish()
        reader.line(EVENT_TIMEOUT_S)
        time.sleep(PAUSE_S)
