"""A game's state in Redis: created, loaded, advanced by compare-and-set, sealed, scored; floor 5.

Invariants: state, log and publication change together (`advance.lua`) or not at all; an answer is taken before a
question is sealed or not at all; standings are written before the `closed` event that makes them visible.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from quizcast.domain.game import CloseReason, Game, Phase
from quizcast.domain.quiz import QuizContent, Shuffle
from quizcast.domain.scoring import Given, Outcome
from quizcast.errors import GameUnknown, PinUnknown, Unavailable
from quizcast.live.redis import Live, some
from quizcast.wire.events import Kept, Kicked, encode_data
from quizcast.wire.rows import RemovedRow, Row, encode_row

PIN_TRIES = 50
PIN_AFTER_END_S = 600  # so that who comes late reads "over" and not "unknown"
TAKEOVER_MS = 1500  # scoring 10,000 answers takes a tenth of that; longer, and the one who sealed has died
AHEAD_MAX_MS = 11_000  # no lead is longer: a question that opens later was asked before the clock was set back
# Of quizzes in Redis's form, which one process plays at once: 11,000 of 20 questions, or 16 of the largest. More only
# costs a read each. In memory long texts take up to four times as much, and fifty answers of a letter each ten times.
QUIZZES_KEPT_BYTES = 64 * 2**20
HASH_CHUNK = 2000  # fields per HSET and per HSCAN: no command holds the server for more than a few ms

_encode_game = msgspec.msgpack.Encoder().encode
decode_game = msgspec.msgpack.Decoder(Game).decode
_encode_quiz = msgspec.json.Encoder().encode
_decode_quiz = msgspec.json.Decoder(QuizContent).decode
_decode_answer = msgspec.json.Decoder(bool | int | float | str | Shuffle).decode


class LiveGame(msgspec.Struct, frozen=True, kw_only=True):
    """A game as loaded: its state, the revision to save against, and the server's clock at that moment."""

    game: Game
    revision: str
    now: int


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part: the how-manieth to join, when, and as whom."""

    number: int
    joined_at: int
    nickname: str


class Standing(Outcome, frozen=True, array_like=True):
    """An outcome with the rank it led to and the answer it was for (None for none)."""

    rank: int
    answer: Any


encode_standing = msgspec.msgpack.Encoder().encode
decode_standing = msgspec.msgpack.Decoder(Standing).decode


class Games:
    """The live games."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._keys = live.keys
        self._ttl = live.settings.game_ttl_s
        self._quizzes: OrderedDict[str, tuple[QuizContent, int]] = OrderedDict()  # the one used last at the end
        self._quizzes_bytes = 0
        self._reading: dict[str, asyncio.Task[QuizContent]] = {}

    async def claim_pin(self, game_id: str) -> str:
        """A PIN of six digits that no live game has. Drawn at random, so that no PIN tells the next."""
        for _ in range(PIN_TRIES):
            pin = f"{100_000 + secrets.randbelow(900_000)}"
            claim = self._live.client.set(self._keys.pin(pin), game_id, nx=True, ex=self._ttl)
            if await self._live.do("claim_pin", claim):
                return pin
        raise Unavailable("no PIN is free; end some games", retry_after_s=60)

    async def release_pin(self, pin: str) -> None:
        """Give back a PIN that no game needs after all."""
        await self._live.do("release_pin", self._live.client.delete(self._keys.pin(pin)))

    async def discard(self, game: Game) -> None:
        """Undo `claim_pin` and `create`: the game is not to be after all."""
        await self.release_pin(game.pin)
        keys = self._keys.game(game.id), self._keys.quiz(game.id)
        await self._live.do("discard", self._live.client.delete(*keys))

    async def keep(self, game: Game) -> None:
        """Let what a game needs to go on live as long as the game; and its PIN not for long after its end."""
        keys = self._keys
        whole = [keys.quiz, keys.people, keys.names, keys.bans]
        async with self._live.client.pipeline(transaction=False) as pipe:
            pin_s = min(PIN_AFTER_END_S, self._ttl) if game.phase is Phase.FINISHED else self._ttl
            pipe.expire(keys.pin(game.pin), pin_s)
            for key in [build(game.id) for build in whole]:
                pipe.expire(key, self._ttl)
            for question in game.played:
                pipe.expire(keys.outcomes(game.id, question), self._ttl)
                pipe.expire(keys.answers(game.id, question), self._ttl)
            await self._live.do("keep", pipe.execute())

    async def find(self, pin: str) -> str:
        """The id of the game with this PIN. Raises `PinUnknown`."""
        game_id = await self._live.do("find", self._live.client.get(self._keys.pin(pin)))
        if game_id is None:
            raise PinUnknown()
        return str(game_id.decode())

    async def create(self, game: Game, quiz: QuizContent) -> None:
        """Put a new game and its own copy of the quiz in place."""
        key = self._keys.game(game.id)
        async with self._live.client.pipeline(transaction=True) as pipe:
            fields: dict[str, str | int | bytes] = {
                "state": _encode_game(game),
                "revision": 0,
                "epoch": game.created_at,
                "offset": 0,
                "joins": 0,
                "max": game.options.max_participants,
                **_checked(game),
            }
            pipe.hset(key, mapping=fields)  # type: ignore[arg-type]
            pipe.expire(key, self._ttl)
            pipe.set(self._keys.quiz(game.id), _encode_quiz(quiz), ex=self._ttl)
            await self._live.do("create", pipe.execute())

    async def load(self, game_id: str) -> LiveGame:
        """The game now. Raises `GameUnknown`."""
        now, state, revision = await self.look(game_id, "state", "revision")
        if state is None:
            raise GameUnknown()
        return LiveGame(game=decode_game(state), revision=revision.decode(), now=int(now))

    async def look(self, game_id: str, *fields: str) -> list[Any]:
        """The server's clock (ms, as bytes) and fields of the game's hash, read at one moment."""
        values = await self._live.script("look", [self._keys.game(game_id)], fields)
        return list(values)

    async def load_many(self, game_ids: Sequence[str]) -> dict[str, tuple[Game, int]]:
        """Those of the games that are live, each with its number of participants."""
        async with self._live.client.pipeline(transaction=False) as pipe:
            for game_id in game_ids:
                pipe.hget(self._keys.game(game_id), "state")
                pipe.hlen(self._keys.people(game_id))
            replies = await self._live.do("load_many", pipe.execute())
        found = zip(game_ids, replies[::2], replies[1::2], strict=True)
        return {game_id: (decode_game(state), size) for game_id, state, size in found if state}

    def quiz_at_hand(self, game_id: str) -> QuizContent | None:
        """The game's own quiz, when this process has read it."""
        if (kept := self._quizzes.get(game_id)) is None:
            return None
        self._quizzes.move_to_end(game_id)
        return kept[0]

    async def quiz(self, game_id: str) -> QuizContent:
        """The game's own quiz, which never changes, so each process reads it once. Raises `GameUnknown`."""
        if (known := self.quiz_at_hand(game_id)) is not None:
            return known
        # A hall answers its first question within a second: one of them reads, the others wait for that.
        reading = self._reading.get(game_id)
        if reading is None:
            reading = self._reading[game_id] = asyncio.create_task(self._read_quiz(game_id), name="read quiz")
            reading.add_done_callback(lambda _: self._reading.pop(game_id, None))
        return await asyncio.shield(reading)

    async def _read_quiz(self, game_id: str) -> QuizContent:
        raw = await self._live.do("quiz", self._live.client.get(self._keys.quiz(game_id)))
        if raw is None:
            raise GameUnknown()
        quiz = _decode_quiz(raw)
        self._quizzes[game_id] = quiz, len(raw)
        self._quizzes_bytes += len(raw)
        while self._quizzes_bytes > QUIZZES_KEPT_BYTES:
            _, (_, size) = self._quizzes.popitem(last=False)
            self._quizzes_bytes -= size
        return quiz

    async def advance(
        self, before: LiveGame, after: Game, events: Sequence[Kept] = (), rows: Sequence[Row] = ()
    ) -> bool:
        """Save the next state with its events and rows; False, and nothing done, when somebody was quicker."""
        keys, game_id = self._keys, after.id
        opened = after.phase is Phase.QUESTION and before.game.phase is not Phase.QUESTION
        extended = after.phase is Phase.QUESTION and not opened and after.opening != before.game.opening
        fields = _checked(after)
        due = after.accepts_until if after.phase is Phase.QUESTION else ""
        told = [part for event in events for part in (event.name, encode_data(event))]
        reply = await self._live.script(
            "advance",
            [
                keys.game(game_id),
                keys.log(game_id),
                keys.due(keys.shard_of(game_id)),
                keys.rows(keys.shard_of(game_id)),
                keys.waiting(game_id),
                keys.done(game_id),
                keys.here(game_id),
                keys.channel(game_id),
            ],
            [
                game_id,
                before.revision,
                _encode_game(after),
                *(fields[name] for name in ("phase", "question", "opens_at", "until", "shut", "scored")),
                due,
                self._ttl,
                self._live.settings.log_events_max,
                "opens" if opened else "goes on" if extended else "",
                len(rows),
                *map(encode_row, rows),
                *told,
            ],
        )
        return bool(reply[0])

    async def seal(self, game_id: str, question: int, reason: CloseReason) -> CloseReason | None:
        """Take no more answers to the open question; for which reason it was sealed first.

        None when this reason does not hold, or the question is not open.
        """
        keys = self._keys
        sealed = await self._live.script(
            "seal",
            [
                keys.game(game_id),
                keys.due(keys.shard_of(game_id)),
                keys.waiting(game_id),
                keys.done(game_id),
            ],
            [game_id, question, reason.value, TAKEOVER_MS, AHEAD_MAX_MS],
        )
        return CloseReason(sealed.decode()) if sealed else None

    async def people(self, game_id: str) -> dict[str, Person]:
        """Everybody who takes part, in the order of joining."""
        found = {pid.decode(): _person(raw) async for pid, raw in self._scan(self._keys.people(game_id))}
        return dict(sorted(found.items(), key=lambda item: item[1].number))

    async def count(self, game_id: str) -> int:
        """How many take part."""
        return int(await self._live.do("count", self._live.client.hlen(self._keys.people(game_id))))

    async def connected(self, game_id: str) -> set[str]:
        """Who is there right now."""
        here = self._live.client.zrangebyscore(self._keys.here(game_id), self._live.now(), "+inf")
        return {pid.decode() for pid in await self._live.do("connected", here)}

    async def answers(self, game_id: str, question: int) -> dict[str, Given]:
        """All answers taken to a question, by participant."""
        found = {}
        async for pid, raw in self._scan(self._keys.answers(game_id, question)):
            received_at, _, answer = raw.partition(b":")
            found[pid.decode()] = Given(_decode_answer(answer), int(received_at))
        return found

    async def standings(self, game_id: str, question: int) -> dict[str, Standing]:
        """Where everybody stood after a question; empty for a question that was not scored."""
        found = self._scan(self._keys.outcomes(game_id, question))
        return {pid.decode(): decode_standing(raw) async for pid, raw in found}

    async def write_standings(self, game_id: str, question: int, standings: Mapping[str, Standing]) -> None:
        """Put the outcomes of a sealed question in place, ahead of the event that tells of them."""
        key = self._keys.outcomes(game_id, question)
        rows = [(pid, encode_standing(standing)) for pid, standing in standings.items()]
        async with self._live.client.pipeline(transaction=False) as pipe:
            for first in range(0, len(rows), HASH_CHUNK):
                pipe.hset(key, mapping=dict(rows[first : first + HASH_CHUNK]))
            pipe.expire(key, self._ttl)
            await self._live.do("write_standings", pipe.execute())

    async def remove(self, game_id: str, participant_id: str, skeleton: str, *, ban: bool) -> bool:
        """Kick, or kick and ban; False when there is no such participant."""
        keys = self._keys
        removed = await self._live.script(
            "remove",
            [
                keys.game(game_id),
                keys.people(game_id),
                keys.names(game_id),
                keys.bans(game_id),
                keys.here(game_id),
                keys.waiting(game_id),
                keys.done(game_id),
                keys.rows(keys.shard_of(game_id)),
                keys.channel(game_id),
            ],
            [
                participant_id,
                skeleton,
                int(ban),
                encode_row(RemovedRow(game_id, participant_id)),
                encode_data(Kicked(reason="banned" if ban else "kicked")),
                self._ttl,
            ],
        )
        return bool(removed)

    async def known(self, game_id: str, participant_id: str) -> bool:
        """Whether this participant takes part or is banned; somebody who was only kicked is a stranger again."""
        async with self._live.client.pipeline(transaction=False) as pipe:
            pipe.hexists(self._keys.people(game_id), participant_id)
            pipe.sismember(self._keys.bans(game_id), participant_id)
            return any(await self._live.do("known", pipe.execute()))

    async def person(self, game_id: str, participant_id: str) -> Person | None:
        """One of those who take part."""
        raw = await self._live.do("person", self._live.client.hget(self._keys.people(game_id), participant_id))
        return _person(raw) if raw else None

    async def due(self, within_s: float) -> list[tuple[str, float]]:
        """Games whose question has to be closed within so many seconds, each with how many (negative: overdue).

        When Redis's clock was set back, all of them: their openings may lie in its future now.
        """
        found, now = await self._due(self._live.now() + within_s * 1000)  # `now` was set right by the reading before
        if self._live.set_clock(now) < 0:
            found, _ = await self._due("+inf")
            return [(game_id, 0.0) for game_id, _ in found]
        return [(game_id, (at - now) / 1000) for game_id, at in found]

    async def _due(self, until: float | str) -> tuple[list[tuple[str, float]], float]:
        """Games with their deadlines up to `until`, and what time it is. Without those whose server is away."""

        async def ask() -> list[Any]:
            async with self._live.client.pipeline(transaction=False) as pipe:
                for shard in range(self._keys.shards):
                    pipe.time()
                    pipe.zrangebyscore(self._keys.due(shard), "-inf", until, withscores=True)
                return some(await pipe.execute(raise_on_error=False))

        replies = await self._live.do("due", ask())
        found = [(game_id.decode(), at) for shard in replies[1::2] if shard for game_id, at in shard]
        seconds, micros = next(filter(None, replies[::2]))
        return found, seconds * 1000 + micros / 1000

    @property
    def clock_steps(self) -> int:
        """How many steps Redis's clock has made, as far as `due` has noticed."""
        return self._live.clock_steps

    async def forget_due(self, game_id: str) -> None:
        """Take a game off the list of deadlines, because it is gone."""
        due = self._keys.due(self._keys.shard_of(game_id))
        await self._live.do("forget_due", self._live.client.zrem(due, game_id))

    async def _scan(self, key: str) -> AsyncIterator[tuple[bytes, bytes]]:
        cursor = 0
        while True:
            page = self._live.client.hscan(key, cursor, count=HASH_CHUNK)
            cursor, fields = await self._live.do("scan", page)
            for field in fields.items():
                yield field
            if not cursor:
                return


def _checked(game: Game) -> dict[str, str | int]:
    """What the scripts look at, as fields beside the state that they do not read."""
    scored = game.played[-1] if game.played and game.phase is not Phase.QUESTION else None
    if game.phase is Phase.QUESTION and len(game.played) > 1:
        scored = game.played[-2]
    late = game.phase is not Phase.LOBBY and not game.options.late_join
    return {
        "phase": game.phase.value,
        "question": -1 if game.question_index is None else game.question_index,
        "opens_at": game.opening.opens_at if game.opening else 0,
        "until": game.accepts_until,
        "shut": int(game.locked or late),
        "scored": -1 if scored is None else scored,
    }


def _person(raw: bytes) -> Person:
    number, joined_at, nickname = raw.split(b":", 2)
    return Person(number=int(number), joined_at=int(joined_at), nickname=nickname.decode())
