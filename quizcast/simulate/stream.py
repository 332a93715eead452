"""An event stream as a good client keeps it: resumed by itself, its events read; floor 8.

The shapes below are the contract's, written down a second time on purpose: a checker that read with the server's
own `wire` would share its mistakes. Frames that a whole crowd receives are read once and remembered by their bytes.
"""

import asyncio
import random
import time
from array import array
from collections.abc import Callable
from typing import Any

import msgspec

from quizcast.simulate.client import BUSY, Address, EventLine, full_jitter

KEPT = frozenset({"question", "closed", "leaderboard", "finished"})
SHARED = KEPT | {"lobby", "progress", "heartbeat", "drain", "reset"}
FRAMES_REMEMBERED = 512  # several games' kept events, and the fleeting ones of the moment
SILENCE_S = 50.0  # three heartbeats missed: the line is dead, whatever TCP says
GIVEAWAYS = (b'"correct":', b'"accepted":', b'"tolerance":', b'"explanation":')


class Question(msgspec.Struct, kw_only=True, eq=False):
    """A question as participants see it. Compared by identity, so that it can be a key."""

    index: int
    kind: str
    opens_at: int
    closes_at: int
    choices: list[Any] = []
    min: float | None = None
    max: float | None = None
    server_now_at: int = 0


class Closed(msgspec.Struct, kw_only=True):
    """The question takes no more answers."""

    index: int
    reason: str
    server_now_at: int


class Stamped(msgspec.Struct, kw_only=True):
    """What matters here of `leaderboard`, `finished` and `heartbeat`."""

    server_now_at: int


class Result(msgspec.Struct, kw_only=True, gc=False):
    """What a question brought one participant."""

    index: int
    correct: bool | None
    points: float
    score: float
    rank: int | None
    streak: int
    answer: Any


class Snapshot(msgspec.Struct, kw_only=True):
    """Where the game stands."""

    phase: str
    server_now_at: int
    question: Question | None = None


class Drain(msgspec.Struct, kw_only=True):
    """Go away for so long."""

    retry_ms: float


Body = Question | Closed | Stamped | Result | Snapshot | Drain

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "question": msgspec.json.Decoder(Question),
    "closed": msgspec.json.Decoder(Closed),
    "leaderboard": msgspec.json.Decoder(Stamped),
    "finished": msgspec.json.Decoder(Stamped),
    "heartbeat": msgspec.json.Decoder(Stamped),
    "result": msgspec.json.Decoder(Result),
    "snapshot": msgspec.json.Decoder(Snapshot),
    "drain": msgspec.json.Decoder(Drain),
}


class Event(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One event: `id` is empty unless it is kept; `tells` when it gives away what is correct too early."""

    name: str
    id: bytes
    body: Body | None
    tells: bool = False

    @property
    def kept(self) -> bool:
        """Whether it is counted: named in the contract as kept, and with an id to resume from."""
        return bool(self.id) and self.name in KEPT


class Reader:
    """Frames to events; `malformed` lists what the contract does not allow."""

    def __init__(self) -> None:
        self.malformed: list[str] = []
        self._known: dict[bytes, Event | None] = {}

    def read(self, frame: bytes) -> Event | None:
        """The event in a frame; None for comments and for what is malformed."""
        try:
            return self._known[frame]
        except KeyError:
            pass
        event = self._parse(frame)
        if event is None or event.name in SHARED:
            if len(self._known) >= FRAMES_REMEMBERED:
                self._known.clear()
            self._known[frame] = event
        return event

    def _parse(self, frame: bytes) -> Event | None:
        name = ident = data = b""
        for line in frame.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data = value
            elif field == b"event":
                name = value
            elif field == b"id":
                ident = value
        if not data:
            return None
        text = name.decode("utf-8", "replace")
        decoder = _DECODERS.get(text)
        try:
            body: Body | None = decoder.decode(data) if decoder else None
        except msgspec.DecodeError as error:
            self.malformed.append(f"{text}: {error}")
            return None
        if text in KEPT and not ident:
            self.malformed.append(f"{text}: it has no id")
        return Event(name=text, id=ident, body=body, tells=_tells(text, body, data))


def _tells(name: str, body: Body | None, data: bytes) -> bool:
    secret = name not in ("closed", "result", "leaderboard", "finished")
    if isinstance(body, Snapshot):
        secret = body.phase in ("lobby", "question")
    return secret and any(giveaway in data for giveaway in GIVEAWAYS)


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
        self._token = token
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

    def stop(self) -> None:
        """Leave."""
        self.over = True
        if self._line is not None:
            self._line.hang_up()

    async def _connect(self) -> EventLine | None:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
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
