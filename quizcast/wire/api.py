"""What clients may say and what they are answered: the bodies of the HTTP API; floor 4.

Field names are the contract's and fixed. Times end in `_at` (ms since the epoch, the server's clock), durations in
`_ms`. Unknown fields are ignored, so that a newer client can talk to an older server.
"""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from quizcast.domain.game import TIME_LIMIT_MAX_MS, GameOptions, Phase
from quizcast.wire.events import Listed

T = TypeVar("T")

# Python's `$` also matches before a line end, hence what follows it.
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$(?!\n)")]
Password = Annotated[str, Meta(min_length=8, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$(?!\n)")]


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    pass


# ── errors and pages ──────────────────────────────────────────────────────────────────────────────────────────


class _Private(_Body, frozen=True, kw_only=True):
    """A body with a password, a token or a PIN, which no traceback or log may show."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class FieldProblem(_Body, frozen=True, kw_only=True):
    """One thing wrong with the request: where, and what."""

    path: str
    message: str


class ProblemDocument(_Body, frozen=True, kw_only=True):
    """RFC 9457; `code` is stable and what clients branch on."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] | UnsetType = UNSET


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Part of a list; pass `next_cursor` as `?cursor=` for the part after it, until it is null."""

    items: list[T]
    next_cursor: str | None


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────────────────


class Register(_Private, frozen=True, kw_only=True):
    """A new host's account."""

    email: Email
    password: Password
    name: Name


class Login(_Private, frozen=True, kw_only=True):
    """An address and its password."""

    email: Annotated[str, Meta(max_length=254)]
    password: Annotated[str, Meta(max_length=200)]


class RefreshRequest(_Private, frozen=True, kw_only=True):
    """The refresh token to spend or to end."""

    refresh_token: Annotated[str, Meta(max_length=500)]


class HostView(_Body, frozen=True, kw_only=True):
    """A host, as the host sees it."""

    id: str
    email: str
    name: str


class Session(_Private, frozen=True, kw_only=True):
    """What a login brings; `expires_in` in seconds, of the access token. Without tokens where cookies carry them."""

    access_token: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    expires_in: int
    host: HostView
    token_type: str = "Bearer"


# ── quizzes: the bodies are the domain's `QuizContent` and `Quiz` ─────────────────────────────────────────────


class QuizSummary(_Body, frozen=True, kw_only=True):
    """A quiz as lists show it."""

    id: str
    title: str
    description: str
    language: str
    version: int
    question_count: int
    updated_at: int


class Imported(_Body, frozen=True, kw_only=True):
    """The quizzes that a file became, of how many questions, and what in it could not be used or was mended."""

    quizzes: list[QuizSummary]
    found: int
    warnings: list[FieldProblem]


class MediaView(_Body, frozen=True, kw_only=True):
    """An image of a host; `url`, a path of this server, goes into a question's `media_url`. `bytes` is its size."""

    id: str
    url: str
    content_type: str
    bytes: int


# ── games ─────────────────────────────────────────────────────────────────────────────────────────────────────


class CreateGame(_Body, frozen=True, kw_only=True):
    """Open a lobby for a quiz."""

    quiz_id: str
    options: GameOptions = GameOptions()


class OpenQuestion(_Body, frozen=True, kw_only=True):
    """Which question to ask (default: the next), and for how long (default: as the quiz says)."""

    question: Annotated[int, Meta(ge=0)] | None = None
    time_limit_ms: Annotated[int, Meta(ge=1000, le=TIME_LIMIT_MAX_MS)] | None = None


class ExtendRequest(_Body, frozen=True, kw_only=True):
    """Until when the open question takes answers now; a moment before the present end changes nothing."""

    closes_at: Annotated[int, Meta(ge=0, le=2**53)]


class LeaderboardRequest(_Body, frozen=True, kw_only=True):
    """How many places to show."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class LockRequest(_Body, frozen=True, kw_only=True):
    """Whether new participants are kept out."""

    locked: bool


class GameView(_Body, frozen=True, kw_only=True):
    """A game as its host sees it."""

    id: str
    pin: str
    quiz_id: str
    title: str
    join_url: str
    phase: Phase
    question_index: int | None
    question_count: int
    participants: int
    locked: bool
    options: GameOptions
    created_at: int


class ParticipantView(_Body, frozen=True, kw_only=True):
    """A participant as the host sees it; `rank` is null before the first question has closed."""

    participant_id: str
    nickname: str
    connected: bool
    score: int
    rank: int | None


class Connections(_Body, frozen=True, kw_only=True):
    """How the participants' streams are: `slow` are behind with reading, `gone` have none."""

    healthy: int
    slow: int
    gone: int


class ScreenToken(_Private, frozen=True, kw_only=True):
    """A read-only token for the projector's page, and that page's address."""

    token: str
    url: str


class ResultQuestion(_Body, frozen=True, kw_only=True):
    """A question of the quiz: what is right, and what was said how often; `opens_at` is there once it was asked."""

    index: int
    kind: str
    prompt: str
    choices: list[Listed] | UnsetType = UNSET
    points: int
    opens_at: int | UnsetType = UNSET
    closes_at: int | UnsetType = UNSET
    correct: Any
    counts: list[int] | dict[str, int]


class ResultAnswer(_Body, frozen=True, kw_only=True):
    """One stored answer; `correct` is null where nothing can be right."""

    question: int
    answer: Any
    correct: bool | None
    points: int
    received_at: int


class ResultRow(_Body, frozen=True, kw_only=True):
    """One participant's place; `answers` has an entry per question of the quiz, null for no answer."""

    rank: int
    participant_id: str
    nickname: str
    score: int
    answers: list[ResultAnswer | None]


class Results(_Body, frozen=True, kw_only=True):
    """The whole ranking, and every answer that is in Postgres."""

    game: GameView
    questions: list[ResultQuestion]
    ranking: list[ResultRow]


# ── participants ──────────────────────────────────────────────────────────────────────────────────────────────


class Join(_Private, frozen=True, kw_only=True):
    """Take part in the game with this PIN; `participant_token` comes back as the same participant."""

    pin: Annotated[str, Meta(max_length=20)]
    nickname: Annotated[str, Meta(max_length=200)]
    participant_token: Annotated[str, Meta(max_length=1000)] | None = None


class Joined(_Private, frozen=True, kw_only=True):
    """You are in: who you are, the token that proves it, and where to listen and to answer."""

    game_id: str
    participant_id: str
    nickname: str
    token: str
    events_url: str
    answers_url: str


class AnswerRequest(_Body, frozen=True, kw_only=True):
    """An answer to the question with this index; its type goes by the question's kind."""

    question: int
    answer: bool | int | float | str | list[int] | None


class AnswerReceipt(_Body, frozen=True, kw_only=True):
    """A promise: the answer is on disk. `duplicate` when it was there already."""

    question: int
    received_at: int
    duplicate: bool


decode_answer_json = msgspec.json.Decoder(AnswerRequest).decode
decode_answer_msgpack = msgspec.msgpack.Decoder(AnswerRequest).decode
encode_json = msgspec.json.Encoder().encode
encode_msgpack = msgspec.msgpack.Encoder().encode
