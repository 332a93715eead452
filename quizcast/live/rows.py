"""The answer streams as the flush sees them: read, acknowledged, reclaimed, put aside; floor 5.

Invariant: an entry leaves its stream only after `commit`, which the flush calls when Postgres has it. Nothing is ever
trimmed by length: that would drop what nobody has stored yet.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError, ResponseError

from quizcast.errors import RedisUnavailable
from quizcast.live.redis import Live
from quizcast.wire.rows import Entry, decode_row

GROUP = "flush"
RECLAIM_IDLE_MS = 10_000  # a batch takes well under a second; its worker is dead or frozen after ten
UNREADABLE = "unreadable"


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits on a shard: rows, the age of the oldest in seconds, and refused rows."""

    rows: int
    age_s: float
    dead: int


class Rows:
    """The consumer's side of the answer streams."""

    def __init__(self, live: Live, consumer: str) -> None:
        self._live = live
        self._keys = live.keys
        self._consumer = consumer

    async def prepare(self, shard: int) -> None:
        """See that the consumer group is there, from the stream's beginning."""
        create = self._live.client.xgroup_create(self._keys.rows(shard), GROUP, id="0", mkstream=True)
        try:
            await create
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise RedisUnavailable(str(error)) from error
        except RedisError as error:
            raise RedisUnavailable() from error

    async def read(self, shard: int, most: int, block_ms: int) -> list[Entry]:
        """New entries, up to `most`; waits up to `block_ms` for the first."""
        reply = await self._live.do(
            "read_rows",
            self._live.client.xreadgroup(
                GROUP, self._consumer, {self._keys.rows(shard): ">"}, count=most, block=block_ms
            ),
        )
        return await self._entries(shard, reply[0][1] if reply else [])

    async def reclaim(self, shard: int, most: int) -> list[Entry]:
        """Entries that another worker took and never committed."""
        _, found, *_ = await self._live.do(
            "reclaim_rows",
            self._live.client.xautoclaim(self._keys.rows(shard), GROUP, self._consumer, RECLAIM_IDLE_MS, count=most),
        )
        return await self._entries(shard, found)

    async def commit(self, shard: int, ids: Sequence[str]) -> None:
        """Let go of entries that Postgres has."""
        key = self._keys.rows(shard)
        async with self._live.client.pipeline(transaction=True) as pipe:
            for first in range(0, len(ids), 1000):
                pipe.xack(key, GROUP, *ids[first : first + 1000])
                pipe.xdel(key, *ids[first : first + 1000])
            await self._live.do("commit_rows", pipe.execute())

    async def put_aside(self, shard: int, refused: Sequence[tuple[str, str]]) -> None:
        """Move entries (id, reason) to the dead-letter stream, both halves at once."""
        key = self._keys.rows(shard)
        for entry_id, reason in refused:
            found = await self._live.do("put_aside", self._live.client.xrange(key, entry_id, entry_id))
            async with self._live.client.pipeline(transaction=True) as pipe:
                for _, fields in found:
                    pipe.xadd(self._keys.dead(shard), {**fields, b"reason": reason.encode()})
                pipe.xack(key, GROUP, entry_id)
                pipe.xdel(key, entry_id)
                await self._live.do("put_aside", pipe.execute())

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
        """A flush is at work: nobody has to ask for one."""
        await self._live.do("ring", self._live.client.set(self._keys.rung(shard), "1", px=life_ms))

    async def answer_ring(self, shard: int) -> None:
        """A flush ends: what arrives from now on asks for another."""
        await self._live.do("answer_ring", self._live.client.delete(self._keys.rung(shard)))

    async def _entries(self, shard: int, raw: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Entry]:
        entries, unreadable = [], []
        for entry_id, fields in raw:
            if fields is None:  # deleted while it was pending: committed by the worker it was reclaimed from
                continue
            try:
                entries.append(_entry(entry_id.decode(), fields))
            except (KeyError, ValueError, msgspec.MsgspecError):
                unreadable.append((entry_id.decode(), UNREADABLE))
        await self.put_aside(shard, unreadable)
        return entries


def _entry(entry_id: str, fields: dict[bytes, Any]) -> Entry:
    return Entry(
        id=entry_id,
        row=decode_row(fields[b"row"]),
        at=int(fields[b"at"]),
        number=int(fields.get(b"number", 0)),
    )
