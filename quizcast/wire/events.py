"""What clients may learn: the events of a stream, who may see them, and their bytes; floor 4.

Invariant: nothing that a participant can see before `closed` tells what is correct. A `Question` event is made only
here, by `question_shown`, which copies what may be seen and never the question itself.

A kept event is logged and replayed. Its `server_now_at` is written by the script that logs it, so that the stamp
is the moment of publication: encoded events leave it out (UNSET).
"""

from enum import Enum, auto
from typing import Any, ClassVar, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from quizcast.domain import quiz
from quizcast.domain.game import CloseReason, Phase, QuestionOn
from quizcast.domain.scoring import Opening


class Audience(Enum):
    """Whom an event is for."""

    EVERYONE = auto()
    ONE = auto()  # a single participant


class Position(NamedTuple):
    """A place in a game's event log: `offset` counts from 1, `epoch` changes when history was lost."""

    epoch: int
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


def parse_position(text: str) -> Position | None:
    """`"1700000000000-12"` as a position; None for anything else, which a client may well send."""
    epoch, dash, offset = text.partition("-")
    if not (dash and epoch.isascii() and epoch.isdigit() and offset.isascii() and offset.isdigit()):
        return None
    return Position(int(epoch), int(offset)) if len(text) <= 40 else None


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    name: ClassVar[str]
    kept: ClassVar[bool] = False
    audience: ClassVar[Audience] = Audience.EVERYONE


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A choice, or an item to put in order, as participants see it."""

    text: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the leaderboard; `gained` is what the last question brought."""

    rank: int
    participant_id: str
    nickname: str
    score: int
    gained: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The participant's own part of a snapshot; `answered` speaks of the present question."""

    participant_id: str
    nickname: str
    score: int
    rank: int | None
    streak: int
    answered: bool
    answer: Any = None


# ── kept and replayed ─────────────────────────────────────────────────────────────────────────────────────────


class Question(_Event, frozen=True, kw_only=True):
    """A question is coming; it takes answers from `opens_at`."""

    name = "question"
    kept = True

    index: int
    count: int
    kind: str
    prompt: str
    choices: list[Listed] | UnsetType = UNSET
    min: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    media_url: str | UnsetType = UNSET
    points: int
    opens_at: int
    closes_at: int
    server_now_at: int | UnsetType = UNSET


class Extended(_Event, frozen=True, kw_only=True):
    """The open question closes later than was said."""

    name = "extended"
    kept = True

    index: int
    closes_at: int
    server_now_at: int | UnsetType = UNSET


class Closed(_Event, frozen=True, kw_only=True):
    """The question takes no more answers, and this is what was right."""

    name = "closed"
    kept = True

    index: int
    reason: CloseReason
    correct: Any
    counts: list[int] | dict[str, int]
    explanation: str | UnsetType = UNSET
    server_now_at: int | UnsetType = UNSET


class Leaderboard(_Event, frozen=True, kw_only=True):
    """The best so far."""

    name = "leaderboard"
    kept = True

    top: list[Place]
    participants: int
    server_now_at: int | UnsetType = UNSET


class Finished(_Event, frozen=True, kw_only=True):
    """The game is over; the podium."""

    name = "finished"
    kept = True

    top: list[Place]
    participants: int
    questions: int
    server_now_at: int | UnsetType = UNSET


Kept = Question | Extended | Closed | Leaderboard | Finished

# ── fleeting ──────────────────────────────────────────────────────────────────────────────────────────────────


class Snapshot(_Event, frozen=True, kw_only=True):
    """Where the game stands, first on every fresh connection.

    While a question is open, `progress` tells how many have answered. Once it has closed, `closed` adds what was right,
    and `result` what that meant for the participant.
    """

    name = "snapshot"

    phase: Phase
    question_index: int | None
    question_count: int
    participants: int
    pin: str
    title: str
    question_on: QuestionOn
    question: msgspec.Raw | UnsetType = UNSET
    progress: "Progress | UnsetType" = UNSET
    closed: msgspec.Raw | UnsetType = UNSET
    result: "Result | UnsetType" = UNSET
    leaderboard: msgspec.Raw | UnsetType = UNSET
    me: Me | UnsetType = UNSET
    server_now_at: int


class Result(_Event, frozen=True, kw_only=True):
    """What a closed question brought one participant; `answer` is null when there was none."""

    name = "result"
    audience = Audience.ONE

    index: int
    correct: bool | None
    points: int
    score: int
    rank: int
    streak: int
    answer: Any


class Lobby(_Event, frozen=True, kw_only=True):
    """How many take part, and the names of the latest."""

    name = "lobby"

    participants: int
    joined: list[str]


class Progress(_Event, frozen=True, kw_only=True):
    """How many have answered, of how many that are there."""

    name = "progress"

    index: int
    answered: int
    eligible: int


class Heartbeat(_Event, frozen=True, kw_only=True):
    """The line is alive; `last_id` is the newest kept event's, so that a client can see a hole."""

    name = "heartbeat"

    server_now_at: int
    last_id: str


class Kicked(_Event, frozen=True, kw_only=True):
    """The host has removed you; the stream ends."""

    name = "kicked"
    audience = Audience.ONE

    reason: str


class Reset(_Event, frozen=True, kw_only=True):
    """What you asked to resume from is gone; a snapshot follows."""

    name = "reset"

    reason: str


class Drain(_Event, frozen=True, kw_only=True):
    """This process is going away; come back after `retry_ms`, to any other."""

    name = "drain"

    retry_ms: int


EVENTS: tuple[type[_Event], ...] = (
    Snapshot,
    Question,
    Extended,
    Closed,
    Result,
    Leaderboard,
    Finished,
    Lobby,
    Progress,
    Heartbeat,
    Kicked,
    Reset,
    Drain,
)

_encode = msgspec.json.Encoder().encode


def encode_data(event: _Event) -> bytes:
    """JSON on one line, for every reader: there are some who take Unicode's line ends for the protocol's."""
    data = _encode(event)
    for raw, escaped in _LINE_ENDS:
        if raw in data:
            data = data.replace(raw, escaped)
    return data


_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def frame(name: str, data: bytes, position: Position | None = None) -> bytes:
    """One event as it goes over the wire. `data` is JSON, so it holds no line end that could split the frame."""
    if position is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"event: %b\nid: %d-%d\ndata: %b\n\n" % (name.encode(), position.epoch, position.offset, data)


def with_retry(event: bytes, retry_ms: int) -> bytes:
    """A frame that also tells an EventSource how long to wait before it comes back."""
    return b"retry: %d\n%b" % (retry_ms, event)


def frame_of(event: _Event) -> bytes:
    """A fleeting event as a frame."""
    return frame(event.name, encode_data(event))


def question_shown(question: quiz.Question, opening: Opening, count: int) -> Question:
    """The only view of a question that participants get before it closes."""
    texts = quiz.listed(question, opening.shuffle)
    bounds = question if isinstance(question, quiz.Numeric) else None
    return Question(
        index=opening.question,
        count=count,
        kind=str(question.__struct_config__.tag),
        prompt=question.prompt,
        choices=UNSET if texts is None else [Listed(text=text) for text in texts],
        min=UNSET if bounds is None or bounds.min is None else bounds.min,
        max=UNSET if bounds is None or bounds.max is None else bounds.max,
        media_url=question.media_url or UNSET,
        points=quiz.worth(question),
        opens_at=opening.opens_at,
        closes_at=opening.closes_at,
    )


# ── between processes ─────────────────────────────────────────────────────────────────────────────────────────


class Message(NamedTuple):
    """One message of a game's channel: a kept event with its position, or a fleeting one, perhaps for one alone.

    On the channel it is `<head> <name> <json>`: head is `12-3` for a kept event, `*` for a fleeting one to
    everybody, `@<participant id>` for one alone.
    """

    name: str
    data: bytes
    position: Position | None = None
    only_for: str | None = None

    @property
    def frame(self) -> bytes:
        """The message as it goes over the wire to a client."""
        return frame(self.name, self.data, self.position)

    @property
    def published_at(self) -> int | None:
        """`server_now_at` of a kept event: the script that logs it writes it as the last field."""
        _, found, tail = self.data.rpartition(b'"server_now_at":')
        return int(tail[:-1]) if found and tail[:-1].isdigit() else None


class History(NamedTuple):
    """Kept events in order without a hole, and the position after the last of them (or of the log, when none)."""

    messages: list[Message]
    head: Position


class Gap(NamedTuple):
    """Some of what was asked for is gone; `reason` is what a `reset` will say."""

    reason: str


def parse_message(raw: bytes) -> Message | None:
    """A channel's message, or None for bytes that are none."""
    head, _, rest = raw.partition(b" ")
    name, space, data = rest.partition(b" ")
    if not space:
        return None
    try:
        if head == b"*":
            return Message(name.decode(), data)
        if head.startswith(b"@"):
            return Message(name.decode(), data, None, head[1:].decode())
        position = parse_position(head.decode())
        return Message(name.decode(), data, position) if position else None
    except UnicodeDecodeError:
        return None
