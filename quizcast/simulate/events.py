"""What a client reads from an event stream: shapes, and frames to events; floor 8.

The shapes are the contract's, written down a second time on purpose: a checker that read with the server's own
`wire` would share its mistakes. Frames that a whole crowd receives are read once and remembered by their bytes.
"""

from typing import Any

import msgspec

KEPT = frozenset({"question", "closed", "leaderboard", "finished"})
SHARED = KEPT | {"lobby", "progress", "heartbeat", "drain", "reset"}
FRAMES_REMEMBERED = 512  # several games' kept events, and the fleeting ones of the moment
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
    """What matters here of `heartbeat`."""

    server_now_at: int


class Place(msgspec.Struct, kw_only=True):
    """A line of the leaderboard."""

    rank: int
    nickname: str
    score: float


class Leaderboard(Stamped, kw_only=True):
    """What matters here of `leaderboard` and `finished`."""

    top: list[Place] = []


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
    "leaderboard": msgspec.json.Decoder(Leaderboard),
    "finished": msgspec.json.Decoder(Leaderboard),
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
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
