"""The answer streams as the flush sees them: read from the head, let go of, put aside, and put back; floor 5.

Invariant: an entry leaves its stream only by `let_go`, which the flush calls when Postgres has it, or by `put_aside`;
what was put aside stays until an operator has it put back or dropped.
Reading changes nothing, so that what a dead worker had in hand is simply still there. A consumer group would keep and
sync a record of each entry that is read and of each that is done: 8 µs of Redis for a row, where this takes one.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from quizcast.live.redis import Live
from quizcast.metrics import DEAD_LETTERS
from quizcast.wire.rows import Entry, decode_row

HEAD = "0-0"
UNREADABLE = "unreadable"
PART = 1000  # entries that one call moves: Redis does nothing else meanwhile

T = TypeVar("T")

log = logging.getLogger(__name__)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Entries as they follow each other in a stream, and the id of the last; what cannot be read is not among them."""

    entries: list[Entry]
    last: str


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was put aside: its id in that stream, the reason, the fields as they came in.

    `entry` is what they say, or None when they cannot be read.
    """

    id: str
    reason: str
    fields: Mapping[bytes, bytes]
    entry: Entry | None

    @property
    def refused_at(self) -> int:
        """When it was put aside, in ms."""
        return int(self.id.partition("-")[0])


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits on a shard: rows, the age of the oldest in seconds, and refused rows."""

    rows: int
    age_s: float
    dead: int


class Rows:
    """The consumer's side of the answer streams."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._keys = live.keys

    async def read(self, shard: int, after: str, most: int, block_ms: int) -> Batch | None:
        """Up to `most` entries that follow an id; waits up to `block_ms` for the first. None when there is none.

        None too where they are gone again. What it gives no failover takes back: an answer that is lost there is sent
        again, and gets another time, with which an older one in Postgres would not agree. Raises `RedisUnavailable`,
        also while replicas lack it.
        """
        stream = self._keys.rows(shard)
        reply = await self._live.do("read_rows", self._live.client.xread({stream: after}, count=most, block=block_ms))
        if not reply:
            return None
        last = reply[0][1][-1][0].decode()
        if not await self._live.vouched(stream, last):
            return None
        entries, unreadable = list[Entry](), []
        for entry_id, fields in reply[0][1]:
            if entry := _entry(entry_id.decode(), fields):
                entries.append(entry)
            else:
                unreadable.append((entry_id.decode(), UNREADABLE))
        await self.put_aside(shard, unreadable)
        return Batch(entries=entries, last=last)

    async def let_go(self, shard: int, last: str) -> None:
        """Drop all entries up to this one: Postgres has them."""
        ms, _, serial = last.partition("-")
        trim = self._live.client.xtrim(self._keys.rows(shard), minid=f"{ms}-{int(serial) + 1}", approximate=False)
        await self._live.do("let_go_rows", trim)

    async def put_aside(self, shard: int, refused: Sequence[tuple[str, str]]) -> None:
        """Move entries (id, reason) to the dead-letter stream; each once, whoever else is at it."""
        for part in _parts(refused):
            words = [word for pair in part for word in pair]
            moved = await self._live.script("put_aside", [self._keys.rows(shard), self._keys.dead(shard)], words)
            DEAD_LETTERS.inc(moved)
            if moved:
                log.error("%d rows of shard %d are dead letters now, the first: %s", moved, shard, part[0][1])

    async def dead(self, shard: int, after: str, most: int) -> list[DeadLetter]:
        """Up to `most` dead letters that follow an id, the oldest first."""
        reply = await self._live.do(
            "read_dead", self._live.client.xrange(self._keys.dead(shard), min=f"({after}", count=most)
        )
        return [_dead_letter(entry_id.decode(), fields) for entry_id, fields in reply]

    async def put_back(self, shard: int, ids: Sequence[str]) -> list[bool]:
        """Move dead letters back to the rows; for each id whether it was there: each once, whoever else is at it."""
        were_there: list[bool] = []
        for part in _parts(ids):
            keys = [self._keys.dead(shard), self._keys.rows(shard)]
            were_there += map(bool, await self._live.script("put_back", keys, part))
        return were_there

    async def drop(self, shard: int, ids: Sequence[str]) -> list[bool]:
        """Delete dead letters for good; for each id whether it was there."""
        were_there: list[bool] = []
        for part in _parts(ids):
            async with self._live.client.pipeline(transaction=False) as pipe:
                for one in part:
                    pipe.xdel(self._keys.dead(shard), one)
                were_there += map(bool, await self._live.do("drop_dead", pipe.execute()))
        return were_there

    async def backlog(self, shard: int) -> Backlog:
        """What waits on a shard."""
        async with self._live.client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.xlen(self._keys.rows(shard))
            pipe.xrange(self._keys.rows(shard), count=1)
            pipe.xlen(self._keys.dead(shard))
            (seconds, _), rows, oldest, dead = await self._live.do("backlog", pipe.execute())
        since_ms = int(oldest[0][0].split(b"-")[0]) if oldest else seconds * 1000
        return Backlog(rows=rows, age_s=max(0.0, seconds - since_ms / 1000), dead=dead)

    async def ring(self, shard: int, life_ms: int) -> bool:
        """Claim the right to enqueue a flush; False when one has been asked for and not begun."""
        rung = self._live.client.set(self._keys.rung(shard), "1", nx=True, px=life_ms)
        return bool(await self._live.do("ring", rung))

    async def renew_ring(self, shard: int, life_ms: int) -> None:
        """A flush is at work: nobody has to ask for one. No write that a full Redis refuses."""
        await self._live.do("ring", self._live.client.pexpire(self._keys.rung(shard), life_ms))

    async def answer_ring(self, shard: int) -> None:
        """A flush ends: what arrives from now on asks for another."""
        await self._live.do("answer_ring", self._live.client.delete(self._keys.rung(shard)))


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[first : first + PART] for first in range(0, len(items), PART))


def _entry(entry_id: str, fields: Mapping[bytes, Any]) -> Entry | None:
    try:
        return Entry(
            id=entry_id,
            row=decode_row(fields[b"row"]),
            at=int(fields[b"at"]),
            number=int(fields.get(b"number", 0)),
        )
    except (KeyError, ValueError, msgspec.MsgspecError):
        return None


def _dead_letter(entry_id: str, fields: dict[bytes, bytes]) -> DeadLetter:
    return DeadLetter(
        id=entry_id,
        reason=fields.get(b"reason", b"").decode(errors="replace"),
        fields={name: value for name, value in fields.items() if name != b"reason"},
        entry=_entry(entry_id, fields),
    )
