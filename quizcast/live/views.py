"""What one viewer is to be told: the snapshot on arrival, the result after a question; the hub's `Views`; floor 5."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from quizcast.domain.game import Game, Phase
from quizcast.errors import GameUnknown, NotInGame
from quizcast.live.games import Standing, decode_game, decode_standing
from quizcast.live.redis import Live
from quizcast.wire.events import Me, Message, Position, Progress, Result, Snapshot, frame_of

_EVENTS = ("question", "extended", "closed", "leaderboard")
_FIELDS = ("epoch", "offset", "state", "scored", *(f"event:{name}" for name in _EVENTS))
_FINAL = "event:finished"


class _Closed(msgspec.Struct, frozen=True):
    index: int


class _Extended(msgspec.Struct, frozen=True):
    index: int
    closes_at: int


_decode_closed = msgspec.json.Decoder(_Closed).decode
_decode_extended = msgspec.json.Decoder(_Extended).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Views:
    """Reads what depends on who looks."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._keys = live.keys

    async def belongs(self, game_id: str, participant_id: str) -> None:
        """Raise `NotInGame` unless they take part: who was kicked may still hold a token."""
        known = self._live.client.hexists(self._keys.people(game_id), participant_id)
        if not await self._live.do("belongs", known):
            raise NotInGame()

    async def removed(self, game_id: str, people: Sequence[str]) -> dict[str, str]:
        """Which of these the host has removed from the game, and why: `kicked` or `banned`."""
        async with self._live.client.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.people(game_id), list(people))
            pipe.smismember(self._keys.bans(game_id), list(people))
            pipe.smismember(self._keys.bans(game_id), [f"gone:{person}" for person in people])
            found = await self._live.do("belongs", pipe.execute())
        return {
            person: "banned" if banned else "kicked"
            for person, entry, banned, kicked in zip(people, *found, strict=True)
            if entry is None and (banned or kicked)
        }

    async def snapshot(self, game_id: str, participant_id: str | None) -> tuple[Position, bytes]:
        """Where the game stands, as a frame, and the position it stands at. Raises `GameUnknown`, `NotInGame`."""
        position, snapshot = await self.state(game_id, participant_id)
        return position, frame_of(snapshot)

    async def state(self, game_id: str, participant_id: str | None) -> tuple[Position, Snapshot]:
        """The same, not yet as a frame."""
        look = self._live.script("look", [self._keys.game(game_id)], [*_FIELDS, _FINAL])
        now, epoch, offset, state, scored, question, extended, closed, board, final = await look
        if state is None:
            raise GameUnknown()
        game = decode_game(state)
        size, progress, me, standing = await self._of_people(game, participant_id, int(scored))
        if game.phase is Phase.FINISHED:
            board = final or board
        asked = game.phase in (Phase.QUESTION, Phase.CLOSED)
        return Position(int(epoch), int(offset)), Snapshot(
            phase=game.phase,
            question_index=game.question_index,
            question_count=game.question_count,
            participants=size,
            pin=game.pin,
            title=game.title,
            question_on=game.options.question_on,
            question=_in_time(question, extended) if asked and question else UNSET,
            progress=progress or UNSET,
            closed=msgspec.Raw(closed) if game.phase is Phase.CLOSED and closed else UNSET,
            result=_result(int(scored), standing) if game.phase is Phase.CLOSED and standing else UNSET,
            leaderboard=msgspec.Raw(board) if board and game.phase is not Phase.QUESTION else UNSET,
            me=me or UNSET,
            server_now_at=int(now),
        )

    async def results(self, message: Message, game_id: str, people: Sequence[str]) -> Mapping[str, bytes]:
        """What a `closed` event meant for each of these participants, as frames; who was not scored is left out."""
        index = _decode_closed(message.data).index
        key = self._keys.outcomes(game_id, index)
        found = await self._live.do("results", self._live.client.hmget(key, list(people)))
        return {
            person: frame_of(_result(index, decode_standing(raw)))
            for person, raw in zip(people, found, strict=True)
            if raw is not None
        }

    async def _of_people(
        self, game: Game, participant_id: str | None, scored: int
    ) -> tuple[int, Progress | None, Me | None, Standing | None]:
        async with self._live.client.pipeline(transaction=False) as pipe:
            pipe.hlen(self._keys.people(game.id))
            pipe.scard(self._keys.done(game.id))
            pipe.scard(self._keys.waiting(game.id))
            if participant_id is not None:
                pipe.hget(self._keys.people(game.id), participant_id)
                pipe.hget(self._keys.outcomes(game.id, scored), participant_id)
                pipe.hget(self._keys.answers(game.id, game.question_index or 0), participant_id)
            size, done, waiting, *own = await self._live.do("snapshot", pipe.execute())
        progress = None
        if game.phase is Phase.QUESTION and game.question_index is not None:
            progress = Progress(index=game.question_index, answered=done, eligible=done + waiting)
        if participant_id is None:
            return size, progress, None, None
        person, outcome, answer = own
        if person is None:
            raise NotInGame()
        standing = decode_standing(outcome) if outcome else None
        asked = answer is not None and game.opening is not None
        me = Me(
            participant_id=participant_id,
            nickname=person.split(b":", 2)[2].decode(),
            score=standing.score if standing else 0,
            rank=standing.rank if standing else None,
            streak=standing.streak if standing else 0,
            answered=asked,
            answer=msgspec.Raw(answer.partition(b":")[2]) if asked else None,
        )
        return size, progress, me, standing


def _in_time(question: bytes, extended: bytes | None) -> msgspec.Raw:
    """A question's data with the end that was told last."""
    if extended is not None:
        later, asked = _decode_extended(extended), _decode_fields(question)
        if later.index == msgspec.json.decode(asked["index"]):
            return msgspec.Raw(msgspec.json.encode({**asked, "closes_at": later.closes_at}))
    return msgspec.Raw(question)


def _result(index: int, standing: Standing) -> Result:
    return Result(
        index=index,
        correct=standing.correct,
        points=standing.points,
        score=standing.score,
        rank=standing.rank,
        streak=standing.streak,
        answer=standing.answer,
    )
