"""What travels through the answer streams to Postgres; floor 4.

One row is one stream entry with the fields `row` (MessagePack, below), `at` (ms, the server's clock, stamped by the
script that appended it) and, for joins, `number`. Rows may come twice; storing them is idempotent.
"""

from typing import TypeAlias

import msgspec

from quizcast.domain.game import Phase
from quizcast.domain.scoring import Opening


class JoinRow(msgspec.Struct, frozen=True, array_like=True, tag="join"):
    """Somebody joined."""

    game_id: str
    participant_id: str
    nickname: str


class AnswerRow(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """Somebody's first answer to a question; `answer` is JSON text in its canonical form.

    `trace` is the `traceparent` of one that is sampled. The version before this one reads past it.
    """

    game_id: str
    question: int
    participant_id: str
    answer: str
    trace: str = ""


class OpeningRow(msgspec.Struct, frozen=True, array_like=True, tag="opening"):
    """A question was opened."""

    game_id: str
    opening: Opening


class PhaseRow(msgspec.Struct, frozen=True, array_like=True, tag="phase"):
    """A game came to another phase."""

    game_id: str
    phase: Phase


class RemovedRow(msgspec.Struct, frozen=True, array_like=True, tag="removed"):
    """Somebody was kicked, and leaves the ranking."""

    game_id: str
    participant_id: str


Row: TypeAlias = JoinRow | AnswerRow | OpeningRow | PhaseRow | RemovedRow


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row with what its stream knows of it: the entry's id, when it was appended, and a join's number in its game."""

    id: str
    row: Row
    at: int
    number: int = 0


encode_row = msgspec.msgpack.Encoder().encode
decode_row = msgspec.msgpack.Decoder(Row).decode
