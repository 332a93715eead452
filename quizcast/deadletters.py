"""`quizcast deadletter`: what Postgres refused, and what an operator decides about it; floor 8.

Invariant: a dead letter is put back or dropped once, whoever else is at it, and only if it was named or seen before:
one that arrives meanwhile stays. What else a row holds than ids is personal, and shown only when asked for.
"""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import msgspec

from quizcast.embedded import running_redis
from quizcast.flush import Bell
from quizcast.live.redis import Live
from quizcast.live.rows import HEAD, UNREADABLE, DeadLetter, Rows
from quizcast.settings import Settings
from quizcast.wire.rows import OpeningRow

PAGE = 1000  # entries in one reply of Redis
# At most 19 digits: a stream's ids are 64-bit numbers.
NAME = re.compile(r"([0-9]{1,6}):([0-9]{1,19}-[0-9]{1,19})")
UNITS_S = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Name(NamedTuple):
    """What an operator calls a dead letter, `SHARD:ID`, where the id is the stream's."""

    shard: int
    id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` when it has another form."""
        if not (found := NAME.fullmatch(text)):
            raise ValueError(f"{text!r} has not the form of those that `list` shows, 0:1700000000000-0")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.shard}:{self.id}"


class Letter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dead letter as `list` tells of it; what its kind has not is None.

    `kind` is the row's, or `unreadable`; `appended_at` is when the row began its way to Postgres. `content` is the rest
    of the row, or all that came in where it cannot be read.
    """

    id: str
    age_ms: int
    kind: str
    reason: str
    refused_at: int
    appended_at: int | None = None
    game_id: str | None = None
    question: int | None = None
    participant_id: str | None = None
    content: dict[str, Any] | None = None

    def text(self) -> str:
        """One line."""
        told = {"game": self.game_id, "question": self.question, "participant": self.participant_id}
        told |= self.content or {}
        rest = " ".join(f"{name}={_shown(value)}" for name, value in told.items() if value is not None)
        return f"{self.id:<17}  {_age(self.age_ms):>6}  {self.kind:<10}  {_shown(self.reason)}  {rest}".rstrip()


async def waiting(settings: Settings, most: int | None = None, *, content: bool = False) -> tuple[list[Letter], int]:
    """The dead letters of all shards, the oldest first, at most so many; and how many there are.

    Raises `RedisUnavailable`, as all here do, or `ServerUnreachable`.
    """
    async with _opened(settings) as live:
        now = await live.clock()
        rows, found, total = Rows(live), list[tuple[int, DeadLetter]](), 0
        for shard in range(settings.shards):
            found += [(shard, dead) async for dead in _all(rows, shard, most)]
            total += (await rows.backlog(shard)).dead
    found.sort(key=lambda one: one[1].refused_at)
    return [_letter(shard, dead, now, content) for shard, dead in found[:most]], total


async def everything(settings: Settings) -> list[Name]:
    """The names of all that wait now."""
    async with _opened(settings) as live:
        return [Name(shard, dead.id) for shard in range(settings.shards) async for dead in _all(Rows(live), shard)]


async def retry(settings: Settings, names: Sequence[Name]) -> list[Name]:
    """Put them back to the rows of their shards and ask for a flush; those that were not there."""
    async with _opened(settings) as live:
        bell = Bell(live.settings, live)
        try:

            async def put_back(shard: int, ids: Sequence[str]) -> list[bool]:
                were_there = await Rows(live).put_back(shard, ids)
                if any(were_there):
                    bell.ring(shard)
                return were_there

            return await _each_shard(names, put_back)
        finally:
            await bell.close()


async def drop(settings: Settings, names: Sequence[Name]) -> list[Name]:
    """Delete them for good; those that were not there."""
    async with _opened(settings) as live:
        return await _each_shard(names, Rows(live).drop)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Live]:
    if settings.embedded:
        settings = msgspec.structs.replace(settings, redis_url=running_redis(settings.data_dir))
    live = Live(settings)
    try:
        yield live
    finally:
        await live.close()


async def _all(rows: Rows, shard: int, most: int | None = None) -> AsyncIterator[DeadLetter]:
    """A shard's dead letters, the oldest first; all, or whole pages until there are `most`."""
    after, count = HEAD, 0
    while (most is None or count < most) and (page := await rows.dead(shard, after, PAGE)):
        for dead in page:
            yield dead
        after, count = page[-1].id, count + len(page)


async def _each_shard(names: Sequence[Name], act: Callable[[int, Sequence[str]], Awaitable[list[bool]]]) -> list[Name]:
    of_shard = defaultdict[int, list[str]](list)
    for name in names:
        of_shard[name.shard].append(name.id)
    missing = []
    for shard, ids in of_shard.items():
        were_there = await act(shard, ids)
        missing += [Name(shard, one) for one, was_there in zip(ids, were_there, strict=True) if not was_there]
    return missing


def _letter(shard: int, dead: DeadLetter, now: int, content: bool) -> Letter:
    known: dict[str, Any] = {}
    if (entry := dead.entry) is None:
        kind = UNREADABLE
        rest: dict[str, Any] = {_text(name): _text(value) for name, value in dead.fields.items()}
    else:
        kind = str(entry.row.__struct_config__.tag)
        rest = {name: value for name, value in msgspec.structs.asdict(entry.row).items() if name != "trace"}
        known = {name: rest.pop(name) for name in ("game_id", "question", "participant_id") if name in rest}
        known["appended_at"] = entry.at
        if isinstance(entry.row, OpeningRow):
            known["question"] = entry.row.opening.question
    return Letter(
        id=str(Name(shard, dead.id)),
        age_ms=max(0, now - dead.refused_at),
        kind=kind,
        reason=dead.reason,
        refused_at=dead.refused_at,
        content=msgspec.to_builtins(rest) if content else None,
        **known,
    )


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _age(ms: int) -> str:
    size, unit = next((each for each in UNITS_S if ms >= each[0] * 1000), UNITS_S[-1])
    return f"{ms // (size * 1000)} {unit}"


def _shown(value: object) -> str:
    """Without what a terminal might obey: a refused row may hold anything."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
