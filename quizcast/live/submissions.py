"""Answers and joins on their way in: whole groups of them in one script call; floor 5.

Each of a group gets its own verdict: what was taken, or the error that says why not. A group may hold several games
of one shard.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import msgspec

from quizcast.errors import (
    AlreadyAnswered,
    AnswerInvalid,
    Banned,
    GameFull,
    GameLocked,
    GameOver,
    GameUnknown,
    NicknameTaken,
    NotInGame,
    QuestionClosed,
    QuestionNotOpen,
    QuizcastError,
)
from quizcast.live.redis import Live
from quizcast.wire.rows import AnswerRow, JoinRow, encode_row

JOINED_HERE_MS = 60_000  # a newcomer counts as connected for so long before the stream has to say so

TAKEN, TAKEN_BEFORE = "0", "1"
_ANSWER_REFUSALS: dict[str, type[QuizcastError]] = {
    "2": AlreadyAnswered,
    "3": QuestionNotOpen,
    "4": QuestionClosed,
    "5": NotInGame,
    "6": GameUnknown,
    "7": AnswerInvalid,
}
_JOIN_REFUSALS: dict[int, type[QuizcastError]] = {
    2: NicknameTaken,
    3: GameLocked,
    4: GameFull,
    5: GameOver,
    6: Banned,
    7: GameUnknown,
    8: NotInGame,
}


class Reading(msgspec.Struct, frozen=True):
    """What an answer says; `answer` is its canonical JSON, or empty for one that does not fit: `unfit` says why."""

    question: int
    answer: bytes
    unfit: str = ""


class AnswerTry(msgspec.Struct, frozen=True):
    """Somebody's answer."""

    game_id: str
    participant_id: str
    reading: Reading
    trace: str = ""  # goes into its row


class Taken(msgspec.Struct, frozen=True):
    """An answer is on disk since `received_at`; `duplicate` when it was before this try."""

    received_at: int
    duplicate: bool


class JoinTry(msgspec.Struct, frozen=True):
    """Somebody wants in, under a nickname that is fit to be seen."""

    game_id: str
    participant_id: str
    nickname: str
    skeleton: str


class Welcome(msgspec.Struct, frozen=True):
    """Somebody is in, under this nickname."""

    nickname: str
    again: bool


class Submissions:
    """The two scripts, by the group."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._keys = live.keys
        self._ttl = live.settings.game_ttl_s

    async def take_answers(
        self, shard: int, tries: Sequence[AnswerTry]
    ) -> tuple[list[Taken | QuizcastError], list[tuple[str, int]]]:
        """Verdicts in the order of `tries`, and the (game, question) pairs for which nobody is waited for any more.

        All must be of this shard. Raises `RedisUnavailable`, and then nothing is known to be taken.
        """
        groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for place, one in enumerate(tries):
            groups[one.game_id, one.reading.question].append(place)
        keys, args = [self._keys.rows(shard)], list[str | int | bytes]()
        for (game_id, question), places in groups.items():
            keys += [
                self._keys.game(game_id),
                self._keys.answers(game_id, question),
                self._keys.people(game_id),
                self._keys.waiting(game_id),
                self._keys.done(game_id),
                self._keys.channel(game_id),
            ]
            some = [tries[place] for place in places]
            args += [question, len(some), self._ttl]
            args += [one.participant_id for one in some]
            args += [one.reading.answer for one in some]
            args += [
                encode_row(AnswerRow(game_id, question, one.participant_id, one.reading.answer.decode(), one.trace))
                for one in some
            ]
        reply = await self._live.script("answers", keys, args)
        complete = [group for group, flag in zip(groups, reply, strict=False) if flag]
        stamp, codes, *earlier = reply[len(groups) :]
        now, before = Taken(int(stamp), False), iter(earlier)
        verdicts: list[Taken | QuizcastError] = [now] * len(tries)
        for place, digit in zip(chain.from_iterable(groups.values()), codes.decode(), strict=True):
            if digit == TAKEN:
                continue
            if digit == TAKEN_BEFORE:
                verdicts[place] = Taken(int(next(before)), True)
                continue
            refusal = _ANSWER_REFUSALS[digit]
            verdicts[place] = refusal(tries[place].reading.unfit) if refusal is AnswerInvalid else refusal()
        return verdicts, complete

    async def take_joins(self, shard: int, tries: Sequence[JoinTry]) -> list[Welcome | QuizcastError]:
        """Verdicts in the order of `tries`; `NotInGame` on the id of who was kicked. All must be of this shard.

        Raises `RedisUnavailable`.
        """
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(tries):
            groups[one.game_id].append(place)
        keys, args = [self._keys.rows(shard)], list[str | int | bytes]()
        for game_id, places in groups.items():
            keys += [
                self._keys.game(game_id),
                self._keys.people(game_id),
                self._keys.names(game_id),
                self._keys.bans(game_id),
                self._keys.here(game_id),
                self._keys.waiting(game_id),
                self._keys.channel(game_id),
            ]
            args += [len(places), self._ttl, JOINED_HERE_MS]
            for place in places:
                one = tries[place]
                row = JoinRow(game_id, one.participant_id, one.nickname)
                args += [one.participant_id, one.nickname, one.skeleton, encode_row(row)]
        reply = iter(await self._live.script("joins", keys, args))
        verdicts: list[Welcome | QuizcastError] = [GameUnknown()] * len(tries)
        for places in groups.values():
            for place in places:
                code, nickname = next(reply), next(reply)
                refusal = _JOIN_REFUSALS.get(code)
                verdicts[place] = refusal() if refusal else Welcome(nickname.decode(), code == 1)
        return verdicts
