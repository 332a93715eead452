"""The live store: every script against a real server, alone and in a crowd."""

import asyncio
import random
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

import msgspec
import pytest

from quizcast.domain.game import Close, CloseReason, Game, GameOptions, Lock, Open, step
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
    PinUnknown,
    QuestionClosed,
    QuestionNotOpen,
    RedisUnavailable,
    Unavailable,
)
from quizcast.live import games as games_module
from quizcast.live import presence as presence_module
from quizcast.live.games import Games, LiveGame, Standing
from quizcast.live.log import RedisLog
from quizcast.live.presence import Presence
from quizcast.live.redis import BESIDE, PRELUDE, SCRIPTS, Live
from quizcast.live.submissions import AnswerTry, JoinTry, Reading, Submissions, Taken, Welcome
from quizcast.live.views import Views
from quizcast.settings import Settings
from quizcast.wire.events import Closed, History, Leaderboard, Message, Position
from quizcast.wire.rows import AnswerRow, JoinRow, PhaseRow, RemovedRow, decode_row
from tests.integration.live_game import OPTIONS, answered, joined, new_game, now, until

BOARD = Leaderboard(top=[], participants=0)


@pytest.fixture(params=["redis_url", "cluster_url"])
async def live(request: pytest.FixtureRequest, redis_prefix: str) -> AsyncIterator[Live]:
    made = Live(Settings(redis_url=request.getfixturevalue(request.param), key_prefix=redis_prefix))
    yield made
    await made.close()


async def advanced(live: Live, game: Game, command: Any) -> Game:
    games = Games(live)
    before = await games.load(game.id)
    after, _ = step(before.game, await games.quiz(game.id), command, before.now)
    assert await games.advance(before, after)
    return after


async def opened(live: Live, game: Game, question: int | None = None, time_limit_ms: int | None = None) -> Game:
    return await advanced(live, game, Open(question=question, time_limit_ms=time_limit_ms))


async def rows_of(live: Live, game: Game) -> list[Any]:
    entries = await live.client.xrange(live.keys.rows(live.keys.shard_of(game.id)))
    return [row for _, fields in entries if (row := decode_row(fields[b"row"])).game_id == game.id]


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_two_hundred_different_answers_at_once_the_first_wins(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    await opened(live, game)
    submissions = Submissions(live)

    async def send(answer: int) -> Taken | Exception:
        one = AnswerTry(game.id, "p-Ada", Reading(0, b"%d" % answer))
        (verdict,), _ = await submissions.take_answers(live.keys.shard_of(game.id), [one])
        return verdict

    verdicts = await asyncio.gather(*(send(number) for number in range(200)))
    taken = [number for number, one in enumerate(verdicts) if isinstance(one, Taken)]
    assert len(taken) == 1
    assert sum(isinstance(one, AlreadyAnswered) for one in verdicts) == 199
    kept = await Games(live).answers(game.id, 0)
    assert kept["p-Ada"].answer == taken[0]
    assert [row.answer for row in await rows_of(live, game) if isinstance(row, AnswerRow)] == [str(taken[0])]


async def test_the_same_answer_twice_is_a_duplicate_with_the_first_time_even_after_the_bell(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    first = (await answered(live, game, 0, Ada=1))["Ada"]
    assert isinstance(first, Taken)
    assert not first.duplicate
    assert (await answered(live, game, 0, Ada=1))["Ada"] == Taken(first.received_at, True)
    assert isinstance((await answered(live, game, 0, Ada=2))["Ada"], AlreadyAnswered)
    await advanced(live, game, Close(reason=CloseReason.HOST))
    assert (await answered(live, game, 0, Ada=1))["Ada"] == Taken(first.received_at, True)
    assert isinstance((await answered(live, game, 0, Bob=1))["Bob"], QuestionClosed)
    assert abs(first.received_at - await now(live)) < 5_000


async def test_a_group_with_the_same_participant_twice_gets_both_verdicts_in_order(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    await opened(live, game)
    tries = [AnswerTry(game.id, "p-Ada", Reading(0, answer)) for answer in (b"2", b"2", b"3")]
    verdicts, complete = await Submissions(live).take_answers(live.keys.shard_of(game.id), tries)
    assert isinstance(verdicts[0], Taken)
    assert verdicts[1] == Taken(verdicts[0].received_at, True)
    assert isinstance(verdicts[2], AlreadyAnswered)
    assert complete == [(game.id, 0)]


async def test_that_nobody_is_awaited_is_told_again_to_who_sends_again_until_the_seal(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    await answered(live, game, 0, Ada=1)
    shard, bob = live.keys.shard_of(game.id), AnswerTry(game.id, "p-Bob", Reading(0, b"1"))
    for _ in range(2):  # the first reply may have been lost
        _, complete = await Submissions(live).take_answers(shard, [bob])
        assert complete == [(game.id, 0)]
    assert await Games(live).seal(game.id, 0, CloseReason.ALL_ANSWERED)
    assert (await Submissions(live).take_answers(shard, [bob]))[1] == []


async def test_a_group_may_be_larger_than_what_lua_can_hand_a_command(live: Live) -> None:
    game = await new_game(live)
    names = [str(number) for number in range(5000)]
    await joined(live, game, *names)
    await opened(live, game)
    verdicts = await answered(live, game, 0, **{name: int(name) % 4 for name in names})
    assert {type(one) for one in verdicts.values()} == {Taken}
    kept = await Games(live).answers(game.id, 0)
    assert {pid: one.answer for pid, one in kept.items()} == {f"p-{name}": int(name) % 4 for name in names}
    rows = [(row.participant_id, row.answer) for row in await rows_of(live, game) if isinstance(row, AnswerRow)]
    assert rows == [(f"p-{name}", str(int(name) % 4)) for name in names]
    assert await waiting(live, game) == set()


async def test_each_of_a_mixed_group_has_their_own_verdict_and_time(live: Live) -> None:
    one_shard = Live(msgspec.structs.replace(live.settings, shards=1))
    submissions, games, firsts = Submissions(one_shard), [await new_game(one_shard) for _ in range(2)], {}
    for game in games:
        await joined(one_shard, game, "Ada", "Bob", "Cyd", "Dan", "Eve")
        await opened(one_shard, game)
    for name in ("Ada", "Bob", "Cyd"):
        for game in games:
            firsts[game.id, name] = (await answered(one_shard, game, 0, **{name: 1}))[name]
            await asyncio.sleep(0.003)
    assert len({one.received_at for one in firsts.values() if isinstance(one, Taken)}) == 6
    mixed: list[tuple[AnswerTry, Taken | type[Exception]]] = []
    for game in games:
        for name in ("Ada", "Bob", "Cyd"):
            first = firsts[game.id, name]
            assert isinstance(first, Taken)
            again = AnswerTry(game.id, f"p-{name}", Reading(0, b"1"))
            mixed.append((again, Taken(first.received_at, True)))
        mixed += [
            (AnswerTry(game.id, "p-Ada", Reading(0, b"2")), AlreadyAnswered),
            (AnswerTry(game.id, "p-Dan", Reading(0, b"", "why")), AnswerInvalid),
            (AnswerTry(game.id, "p-Eve", Reading(0, b"3")), Taken),
            (AnswerTry(game.id, "p-Eve", Reading(1, b"3")), QuestionNotOpen),
            (AnswerTry(game.id, "p-Fay", Reading(0, b"3")), NotInGame),
        ]
    mixed.append((AnswerTry("nowhere", "p-Ada", Reading(0, b"1")), GameUnknown))
    for closed in (False, True):
        if closed:
            for game in games:
                await advanced(one_shard, game, Close(reason=CloseReason.HOST))
        random.Random(2).shuffle(mixed)
        verdicts, _ = await submissions.take_answers(0, [one for one, _ in mixed])
        for place, ((one, right), verdict) in enumerate(zip(mixed, verdicts, strict=True)):
            if isinstance(right, Taken):
                assert verdict == right
            elif right is Taken:
                assert isinstance(verdict, Taken)
                mixed[place] = (one, Taken(verdict.received_at, True))  # as it is from now on
            elif closed and right not in (NotInGame, GameUnknown):
                assert isinstance(verdict, QuestionNotOpen if one.reading.question else QuestionClosed)
            else:
                assert type(verdict) is right
                assert not isinstance(verdict, AnswerInvalid) or verdict.detail == "why"
    await one_shard.close()


async def test_a_group_of_several_games_and_questions_is_sorted_out(live: Live) -> None:
    settings = msgspec.structs.replace(live.settings, shards=1)
    one_shard = Live(settings)
    games = [await new_game(one_shard) for _ in range(3)]
    for game in games:
        await joined(one_shard, game, "Ada", "Bob")
        await opened(one_shard, game)
    tries = [
        AnswerTry(game.id, f"p-{name}", Reading(question, b"%d" % number))
        for number, game in enumerate(games)
        for name in ("Ada", "Bob")
        for question in (0, 1)
    ]
    tries.append(AnswerTry("nowhere", "p-Ada", Reading(0, b"0")))
    random.Random(1).shuffle(tries)
    verdicts, complete = await Submissions(one_shard).take_answers(0, tries)
    for one, verdict in zip(tries, verdicts, strict=True):
        if one.game_id == "nowhere":
            assert isinstance(verdict, GameUnknown)
        elif one.reading.question == 0:
            assert isinstance(verdict, Taken)
        else:
            assert isinstance(verdict, QuestionNotOpen)
    assert sorted(complete) == sorted((game.id, 0) for game in games)
    for number, game in enumerate(games):
        kept = await Games(one_shard).answers(game.id, 0)
        assert {given.answer for given in kept.values()} == {number}
    await one_shard.close()


async def test_an_answer_is_refused_before_opening_and_after_the_grace(live: Live) -> None:
    game = await new_game(live, options=GameOptions(lead_ms=150, grace_ms=150))
    await joined(live, game, "Ada", "Bob", "Cyd")
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], QuestionNotOpen)
    before = await Games(live).load(game.id)
    after, _ = step(before.game, await Games(live).quiz(game.id), Open(), before.now)
    assert after.opening is not None
    short = msgspec.structs.replace(after.opening, closes_at=after.opening.opens_at + 100)
    after = msgspec.structs.replace(after, opening=short)
    assert await Games(live).advance(before, after)
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], QuestionNotOpen)
    await asyncio.sleep(0.16)
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
    await asyncio.sleep(0.12)  # after `closes_at`, within the grace
    assert isinstance((await answered(live, game, 0, Bob=1))["Bob"], Taken)
    await asyncio.sleep(0.16)
    assert isinstance((await answered(live, game, 0, Cyd=1))["Cyd"], QuestionClosed)


async def test_an_answer_to_another_question_is_refused(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    await opened(live, game, 1)
    assert isinstance((await answered(live, game, 2, Ada=1))["Ada"], QuestionNotOpen)
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], QuestionNotOpen)
    assert await Games(live).answers(game.id, 0) == {}


async def test_strangers_and_the_kicked_may_not_answer(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    await opened(live, game)
    assert isinstance((await answered(live, game, 0, Eve=1))["Eve"], NotInGame)
    assert await Games(live).remove(game.id, "p-Ada", "ada", ban=False)
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], NotInGame)
    assert await Games(live).answers(game.id, 0) == {}


async def test_after_the_seal_no_answer_slips_in(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    await answered(live, game, 0, Ada=1)
    assert await Games(live).seal(game.id, 0, CloseReason.HOST)
    assert await Games(live).seal(game.id, 0, CloseReason.TIME)  # whoever takes over
    assert isinstance((await answered(live, game, 0, Bob=1))["Bob"], QuestionClosed)
    assert not await Games(live).seal(game.id, 1, CloseReason.HOST)


async def test_a_seal_needs_its_reason_to_hold(live: Live) -> None:
    game = await new_game(live)
    assert not await Games(live).seal(game.id, 0, CloseReason.HOST)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    assert not await Games(live).seal(game.id, 0, CloseReason.TIME)
    assert not await Games(live).seal(game.id, 0, CloseReason.ALL_ANSWERED)
    await answered(live, game, 0, Ada=1)
    assert not await Games(live).seal(game.id, 0, CloseReason.ALL_ANSWERED)
    await answered(live, game, 0, Bob=1)
    assert await Games(live).seal(game.id, 0, CloseReason.ALL_ANSWERED)


# ── joins ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_names_that_look_alike_are_taken(live: Live) -> None:
    game = await new_game(live)
    first, case, width, looks, other = await joined(live, game, "Anna", "ANNA", "Ａｎｎａ", "Аnnа", "Bob")
    assert first == Welcome("Anna", False)
    assert {type(one) for one in (case, width, looks)} == {NicknameTaken}
    assert other == Welcome("Bob", False)


async def test_who_joins_again_is_let_in_under_the_first_name_whatever_the_door(live: Live) -> None:
    game = await new_game(live, options=msgspec.structs.replace(OPTIONS, max_participants=1))
    await joined(live, game, "Ada: the 1st")
    again = JoinTry(game.id, "p-Ada: the 1st", "Other", "other")
    shard = live.keys.shard_of(game.id)
    assert await Submissions(live).take_joins(shard, [again]) == [Welcome("Ada: the 1st", True)]
    await advanced(live, game, Lock(locked=True))
    assert await Submissions(live).take_joins(shard, [again]) == [Welcome("Ada: the 1st", True)]
    assert await Games(live).count(game.id) == 1
    assert len([row for row in await rows_of(live, game) if isinstance(row, JoinRow)]) == 1


async def test_a_locked_game_takes_nobody_and_an_unlocked_one_does_again(live: Live) -> None:
    game = await new_game(live)
    await advanced(live, game, Lock(locked=True))
    assert isinstance((await joined(live, game, "Ada"))[0], GameLocked)
    await advanced(live, game, Lock(locked=False))
    assert isinstance((await joined(live, game, "Ada"))[0], Welcome)


async def test_without_late_join_the_first_question_shuts_the_door(live: Live) -> None:
    game = await new_game(live, options=msgspec.structs.replace(OPTIONS, late_join=False))
    await joined(live, game, "Ada")
    await opened(live, game)
    assert isinstance((await joined(live, game, "Bob"))[0], GameLocked)


async def test_a_game_is_full_at_exactly_its_size_however_many_come_at_once(live: Live) -> None:
    game = await new_game(live, options=msgspec.structs.replace(OPTIONS, max_participants=50))
    names = [f"player {number:03} x" for number in range(150)]
    groups = [names[first : first + 7] for first in range(0, 150, 7)]
    told = await asyncio.gather(*(joined(live, game, *group) for group in groups))
    verdicts = [one for group in told for one in group]
    assert sum(isinstance(one, Welcome) for one in verdicts) == 50
    assert sum(isinstance(one, GameFull) for one in verdicts) == 100
    people = await Games(live).people(game.id)
    assert [person.number for person in people.values()] == list(range(1, 51))


async def test_a_banned_participant_stays_out_under_either_name_and_a_kicked_one_may_return_as_somebody_new(
    live: Live,
) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    games = Games(live)
    assert await games.remove(game.id, "p-Ada", "ada", ban=True)
    assert await games.remove(game.id, "p-Bob", "bob", ban=False)
    assert not await games.remove(game.id, "p-Bob", "bob", ban=False)
    people = ["p-Ada", "p-Bob", "p-Eve"]  # whom a lost join may have, and the host has not removed
    assert await Views(live).removed(game.id, people) == {"p-Ada": "banned", "p-Bob": "kicked"}
    shard = live.keys.shard_of(game.id)
    tries = [
        JoinTry(game.id, "p-Ada", "Other", "other"),
        JoinTry(game.id, "p-new", "Ada", "ada"),
        JoinTry(game.id, "p-Bob", "Bob", "bob"),
        JoinTry(game.id, "p-Bob again", "Bob", "bob"),
    ]
    verdicts = await Submissions(live).take_joins(shard, tries)
    assert [type(one) for one in verdicts] == [Banned, Banned, NotInGame, Welcome]
    removed = [row.participant_id for row in await rows_of(live, game) if isinstance(row, RemovedRow)]
    assert removed == ["p-Ada", "p-Bob"]


async def test_nobody_joins_a_game_that_is_over_or_not_there(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    before = await Games(live).load(game.id)
    over = msgspec.structs.replace(before.game, phase=games_module.Phase.FINISHED)
    assert await Games(live).advance(before, over)
    bob, ada = await joined(live, game, "Bob", "Ada")
    assert isinstance(bob, GameOver)
    assert ada == Welcome("Ada", True)
    nowhere = JoinTry("nowhere", "p", "n", "n")
    assert isinstance((await Submissions(live).take_joins(live.keys.shard_of("nowhere"), [nowhere]))[0], GameUnknown)


# ── state, log and publication ────────────────────────────────────────────────────────────────────────────────


async def test_state_log_and_publication_change_together(live: Live) -> None:
    game = await new_game(live)
    log, heard = RedisLog(live), list[Message]()
    await log.start(lambda _, message: heard.append(message), lambda: None)
    await log.listen(game.id)
    games = Games(live)
    before = await games.load(game.id)
    after, _ = step(before.game, await games.quiz(game.id), Open(), before.now)
    assert await games.advance(before, after, [BOARD, BOARD], [PhaseRow(game.id, after.phase)])
    loaded = await games.load(game.id)
    assert loaded.game == after
    history = await log.recent(game.id, 10)
    assert [message.position for message in history.messages] == [Position(game.created_at, at) for at in (1, 2)]
    await until(lambda: len(heard) == 2)
    assert heard == history.messages
    stamp = msgspec.json.decode(heard[0].data)["server_now_at"]
    assert abs(stamp - await now(live)) < 2_000
    assert await rows_of(live, game) == [PhaseRow(game.id, after.phase)]
    await log.stop()


@pytest.mark.parametrize("live", ["redis_url"], indirect=True)  # it looks through all keys
async def test_who_loses_the_race_changes_nothing(live: Live) -> None:
    game = await new_game(live)
    games = Games(live)
    before = await games.load(game.id)
    quiz = await games.quiz(game.id)
    first, _ = step(before.game, quiz, Open(), before.now)
    second, _ = step(before.game, quiz, Lock(locked=True), before.now)
    assert await games.advance(before, first)
    keys = await live.client.keys(f"{live.keys.prefix}*")
    dumped = [await live.client.dump(key) for key in sorted(keys)]
    assert not await games.advance(before, second, [BOARD], [PhaseRow(game.id, second.phase)])
    keys = await live.client.keys(f"{live.keys.prefix}*")
    assert [await live.client.dump(key) for key in sorted(keys)] == dumped
    gone = LiveGame(game=msgspec.structs.replace(first, id="nowhere"), revision="0", now=0)
    assert not await games.advance(gone, gone.game)


async def test_of_many_who_save_at_once_one_wins(live: Live) -> None:
    game = await new_game(live)
    games = Games(live)
    before = await games.load(game.id)
    after = msgspec.structs.replace(before.game, locked=True)
    saved = await asyncio.gather(*(games.advance(before, after, [BOARD]) for _ in range(30)))
    assert sum(saved) == 1
    history = await RedisLog(live).since(game.id, Position(game.created_at, 0))
    assert isinstance(history, History)
    assert len(history.messages) == 1


async def test_two_games_never_hear_each_other(live: Live) -> None:
    """On one shard, with one process listening to both."""
    one_shard = Live(msgspec.structs.replace(live.settings, shards=1))
    games = Games(one_shard)
    ours, theirs = await new_game(one_shard), await new_game(one_shard)
    log, heard = RedisLog(one_shard), list[tuple[str, Message]]()
    await log.start(lambda game_id, message: heard.append((game_id, message)), lambda: None)
    await log.listen(ours.id)
    await log.listen(theirs.id)
    await joined(one_shard, theirs, "Ada", "Bob")
    await opened(one_shard, theirs)
    await answered(one_shard, theirs, 0, Ada=1)
    before = await games.load(theirs.id)
    assert await games.advance(before, before.game, [BOARD])
    await games.remove(theirs.id, "p-Bob", "bob", ban=True)
    await until(lambda: len(heard) >= 5)
    await asyncio.sleep(0.05)
    assert {game_id for game_id, _ in heard} == {theirs.id}
    assert await games.count(ours.id) == 0
    assert (await games.load(ours.id)).game == ours
    assert await games.answers(ours.id, 0) == {}
    assert isinstance((await answered(one_shard, ours, 0, Ada=1))["Ada"], NotInGame)
    assert isinstance((await joined(one_shard, ours, "Bob"))[0], Welcome)
    await log.stop()
    await one_shard.close()


async def test_a_script_cache_that_was_flushed_is_filled_again(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    await live.client.script_flush()
    await opened(live, game)
    await live.client.script_flush()
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
    assert isinstance((await answered(live, game, 0, Ada=1))["Ada"], Taken)
    await live.client.script_flush()
    for _ in range(2):
        clocks = await live.scripts("look", [([live.keys.game(game.id)], ["phase"])] * 3)
        assert [phase for _, phase in clocks] == [b"question"] * 3


async def test_only_deadlines_that_are_near_are_read(live: Live) -> None:
    games = Games(live)
    await games.due(0)  # so that the clock is known
    soon, later = await new_game(live), await new_game(live)
    await advanced(live, soon, Open(time_limit_ms=5_000))
    await advanced(live, later, Open(time_limit_ms=60_000))
    ((game_id, in_s),) = await games.due(10)
    assert game_id == soon.id
    assert 4 < in_s <= 5
    assert {game_id for game_id, _ in await games.due(100)} == {soon.id, later.id}
    await live.client.zadd(live.keys.due(live.keys.shard_of(soon.id)), {soon.id: 1})
    assert [game_id for game_id, _ in await games.due(0)] == [soon.id], "overdue is near"


# ── PINs ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_two_games_have_one_pin_and_when_none_is_free_it_is_said(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = random.Random(3)
    monkeypatch.setattr(games_module.secrets, "randbelow", lambda _: drawn.randrange(8))
    games = Games(live)
    pins = await asyncio.gather(*(games.claim_pin(f"g{number}") for number in range(8)))
    assert sorted(pins) == [str(100_000 + number) for number in range(8)]
    with pytest.raises(Unavailable):
        await games.claim_pin("one too many")
    assert [await games.find(pin) for pin in pins] == [f"g{number}" for number in range(8)]
    await games.release_pin(pins[0])
    with pytest.raises(PinUnknown):
        await games.find(pins[0])
    assert await games.claim_pin("next") == pins[0]


async def test_pins_have_six_digits_and_do_not_follow_each_other(live: Live) -> None:
    pins = [await Games(live).claim_pin(f"g{number}") for number in range(20)]
    assert all(len(pin) == 6 and pin.isdigit() and pin[0] != "0" for pin in pins)
    assert sorted(pins) != pins


@pytest.mark.parametrize("live", ["redis_url"], indirect=True)  # it looks through all keys
async def test_everything_of_a_game_lives_as_long_as_the_game(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await Games(live).remove(game.id, "p-Bob", "bob", ban=True)
    played = await opened(live, game)
    await answered(live, game, 0, Ada=1)
    await Games(live).write_standings(game.id, 0, {"p-Ada": Standing(True, 1, 1, 1, 1, 1)})
    await Presence(live, lambda _: None).report()
    keys = [key async for key in live.client.scan_iter(f"{live.keys.prefix}*{game.id}*")]
    for key in keys:
        assert await live.client.ttl(key) > 0, key
        await live.client.expire(key, 100)
    before = await Games(live).load(game.id)
    assert await Games(live).advance(before, before.game)
    await Games(live).keep(played)
    short = {key.decode() for key in keys if await live.client.ttl(key) <= 100}
    assert {key.rsplit(":", 1)[-1] for key in short} <= {"here", "waiting", "done"}


# ── presence ──────────────────────────────────────────────────────────────────────────────────────────────────


# How long `brief` presence is believed, and what is surely after it. A busy machine may stand still for half a second.
HERE_MS, GONE_MS = 1600, 600
AFTER_HERE_S, AFTER_GONE_S = 2.0, 0.8


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "HERE_MS", HERE_MS)
    monkeypatch.setattr(presence_module, "GONE_MS", GONE_MS)


async def waiting(live: Live, game: Game) -> set[str]:
    return {one.decode() for one in await live.client.smembers(live.keys.waiting(game.id))}


async def test_a_dropped_line_is_believed_only_after_a_while(live: Live, brief: None) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    presence = Presence(live, lambda _: None)
    presence.arrived(game.id, "p-Ada")
    await presence.report()
    presence.left(game.id, "p-Ada")
    await presence.report()
    assert await Games(live).connected(game.id) == {"p-Ada"}
    presence.arrived(game.id, "p-Ada")
    await presence.report()
    await asyncio.sleep(AFTER_GONE_S)
    await presence.report()
    assert await Games(live).connected(game.id) == {"p-Ada"}
    presence.left(game.id, "p-Ada")
    await presence.report()
    await asyncio.sleep(AFTER_GONE_S)
    await presence.report()
    assert await live.client.zcard(live.keys.here(game.id)) == 0


async def test_who_is_connected_stays_so_by_being_confirmed(live: Live, brief: None) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    presence, other = Presence(live, lambda _: None), Presence(live, lambda _: None)
    presence.arrived(game.id, "p-Ada")
    other.arrived(game.id, "p-Bob")  # a process that dies
    await presence.report()
    await other.report()
    for _ in range(3):
        await asyncio.sleep(AFTER_GONE_S)
        await presence.report(everybody=True)
    assert "p-Ada" in await Games(live).connected(game.id)
    assert "p-Bob" not in await Games(live).connected(game.id)


def test_confirmations_come_before_a_departure_is_believed() -> None:
    """One process may learn of a dead line long after another has the new one."""
    assert presence_module.CONFIRM_EVERY_S + presence_module.REPORT_EVERY_S < presence_module.GONE_MS / 1000


async def test_with_two_streams_somebody_is_here_until_both_have_ended(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    presence = Presence(live, lambda _: None)
    presence.arrived(game.id, "p-Ada")
    presence.arrived(game.id, "p-Ada")
    presence.left(game.id, "p-Ada")
    await presence.report()
    score = await live.client.zscore(live.keys.here(game.id), "p-Ada")
    presence.left(game.id, "p-Ada")
    await presence.report()
    assert await live.client.zscore(live.keys.here(game.id), "p-Ada") < score


async def test_those_connected_are_waited_for_and_newcomers_too(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    assert await waiting(live, game) == {"p-Ada", "p-Bob"}
    await joined(live, game, "Cyd")
    assert await waiting(live, game) == {"p-Ada", "p-Bob", "p-Cyd"}
    submissions, shard = Submissions(live), live.keys.shard_of(game.id)
    flags = []
    for name in ("Ada", "Bob", "Cyd"):
        tries = [AnswerTry(game.id, f"p-{name}", Reading(0, b"1"))]
        flags.append(bool((await submissions.take_answers(shard, tries))[1]))
    assert flags == [False, False, True]
    presence = Presence(live, lambda _: None)
    presence.arrived(game.id, "p-Ada")  # has answered, comes back
    await presence.report()
    assert await waiting(live, game) == set()


async def test_when_the_last_to_be_waited_for_goes_it_is_told_once(live: Live, brief: None) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    await answered(live, game, 0, Ada=1)
    told: list[str] = []
    presence = Presence(live, told.append)
    presence.arrived(game.id, "p-Bob")
    await presence.report()
    presence.left(game.id, "p-Bob")
    await presence.report()
    assert told == []
    await asyncio.sleep(AFTER_GONE_S)
    await presence.report()
    await presence.report()
    assert told == [game.id]


async def test_who_was_seen_and_came_no_more_is_waited_for_no_more(live: Live, brief: None) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    await answered(live, game, 0, Ada=1)
    told: list[str] = []
    presence = Presence(live, told.append)
    presence.seen(game.id, "p-Bob")
    await presence.report()
    await asyncio.sleep(AFTER_HERE_S)
    await presence.report()
    assert told == [game.id]


async def test_a_departure_that_redis_was_away_for_is_found_out_later(
    live: Live, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    await answered(live, game, 0, Ada=1)
    told: list[str] = []
    presence = Presence(live, told.append)
    presence.arrived(game.id, "p-Bob")
    await presence.report()
    presence.left(game.id, "p-Bob")

    async def away(*_: Any) -> list[Any]:
        raise RedisUnavailable()

    with monkeypatch.context() as broken:
        broken.setattr(live, "scripts", away)
        with pytest.raises(RedisUnavailable):
            await presence.report()
    await asyncio.sleep(AFTER_HERE_S)
    await presence.report()
    assert told == [game.id]


async def test_nobody_waited_for_and_nobody_answered_is_not_everybody_answered(live: Live) -> None:
    game = await new_game(live)
    await opened(live, game)
    told: list[str] = []
    presence = Presence(live, told.append)
    presence.seen(game.id, "nobody")
    presence.seen("nowhere", "nobody")
    await presence.report()
    assert told == []
    await joined(live, game, "Ada")
    await answered(live, game, 0, Ada=1)
    presence.seen(game.id, "nobody")
    await presence.report()
    assert told == [game.id]


async def test_many_games_are_confirmed_in_few_round_trips(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    games = [await new_game(live) for _ in range(100)]
    presence = Presence(live, lambda _: None)
    for game in games:
        await joined(live, game, "Ada", "Bob")
        presence.arrived(game.id, "p-Ada")
        presence.arrived(game.id, "p-Bob")
    trips: list[int] = []
    run = live.scripts

    async def counting(name: str, calls: Any) -> list[Any]:
        trips.append(len(calls))
        return await run(name, calls)

    monkeypatch.setattr(live, "scripts", counting)
    await presence.report(everybody=True)
    assert sum(trips) == 100
    assert len(trips) <= 10
    for game in games:
        assert await Games(live).connected(game.id) == {"p-Ada", "p-Bob"}


async def test_the_kicked_are_not_waited_for_even_if_reported_here_a_moment_later(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada", "Bob")
    await opened(live, game)
    presence = Presence(live, lambda _: None)
    presence.arrived(game.id, "p-Bob")
    await answered(live, game, 0, Ada=1)
    await Games(live).remove(game.id, "p-Bob", "bob", ban=False)
    await presence.report()
    assert await waiting(live, game) == set()
    assert await Games(live).connected(game.id) == {"p-Ada"}


async def test_a_big_hall_is_reported_in_pieces(live: Live) -> None:
    game = await new_game(live)
    names = [f"n{number}" for number in range(2_500)]
    await joined(live, game, *names)
    presence = Presence(live, lambda _: None)
    for name in names:
        presence.arrived(game.id, f"p-{name}")
    await presence.report()
    assert len(await Games(live).connected(game.id)) == 2_500
    await opened(live, game)
    assert len(await waiting(live, game)) == 2_500
    for name in names:
        presence.left(game.id, f"p-{name}")
    await presence.report()
    assert len(await Games(live).people(game.id)) == 2_500


# ── views ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_snapshot_tells_where_the_game_stands_and_where_you_do(live: Live) -> None:
    game = await new_game(live)
    await joined(live, game, "Ada")
    views = Views(live)
    position, snapshot = await views.state(game.id, "p-Ada")
    assert position == Position(game.created_at, 0)
    assert snapshot.phase == "lobby"
    assert snapshot.me is not msgspec.UNSET
    assert not snapshot.me.answered
    await opened(live, game)
    await answered(live, game, 0, Ada=2)
    _, snapshot = await views.state(game.id, "p-Ada")
    assert snapshot.me is not msgspec.UNSET
    assert snapshot.me.answered
    assert snapshot.me.answer == msgspec.Raw(b"2")
    _, staff = await views.state(game.id, None)
    assert staff.me is msgspec.UNSET
    with pytest.raises(NotInGame):
        await views.state(game.id, "p-Eve")
    with pytest.raises(NotInGame):
        await views.belongs(game.id, "p-Eve")
    await views.belongs(game.id, "p-Ada")
    with pytest.raises(GameUnknown):
        await views.state("nowhere", None)


async def test_results_are_told_to_those_who_were_scored(live: Live) -> None:
    game = await new_game(live)
    await Games(live).write_standings(game.id, 0, {"p-Ada": Standing(True, 900, 900, 1, 1, 2)})
    closed = Message("closed", msgspec.json.encode(Closed(index=0, reason=CloseReason.TIME, correct=1, counts=[])))
    frames = await Views(live).results(closed, game.id, ["p-Ada", "p-late"])
    assert list(frames) == ["p-Ada"]
    assert b'"points":900' in frames["p-Ada"]


# ── the door to Redis ─────────────────────────────────────────────────────────────────────────────────────────


async def test_more_calls_at_once_than_connections_wait_their_turn(live: Live) -> None:
    game = await new_game(live)
    few = Live(msgspec.structs.replace(live.settings, redis_connections=3))
    loaded = await asyncio.gather(*(Games(few).load(game.id) for _ in range(300)))
    assert {one.game.id for one in loaded} == {game.id}
    await few.close()


async def test_a_server_that_is_away_is_said_in_quizcasts_words(tmp_path: Any) -> None:
    nowhere = Live(Settings(redis_url=f"unix://{tmp_path}/none"))
    with pytest.raises(RedisUnavailable) as raised:
        await Games(nowhere).load("g")
    assert raised.value.retry_after_s
    with pytest.raises(RedisUnavailable):
        await nowhere.check()
    await nowhere.close()


def test_every_script_is_known_and_says_what_it_takes_and_returns() -> None:
    folder = resources.files("quizcast.live").joinpath("lua")
    sources = {file.name.removesuffix(".lua"): file.read_text("utf-8") for file in folder.iterdir()}
    del sources[PRELUDE]
    assert sorted(sources) == sorted([*SCRIPTS, BESIDE])
    for name, source in sources.items():
        head = source.split("\nlocal", 1)[0]
        for word in ("-- KEYS", "-- ARGV", "-- returns"):
            assert word in head, f"{name}: {word}"


@pytest.mark.parametrize("name", ["advance", "seal", "remove", "presence", "look"])
async def test_callers_pass_the_keys_that_a_scripts_header_numbers(
    name: str, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: dict[str, int] = {}
    run, run_all = live.script, live.scripts

    async def counting(script: str, keys: Any, args: Any) -> Any:
        passed[script] = len(keys)
        return await run(script, keys, args)

    async def counting_all(script: str, calls: Any) -> Any:
        passed[script] = len(calls[0][0])
        return await run_all(script, calls)

    monkeypatch.setattr(live, "script", counting)
    monkeypatch.setattr(live, "scripts", counting_all)
    game = await new_game(live)
    await joined(live, game, "Ada")
    await opened(live, game)
    presence = Presence(live, lambda _: None)
    presence.seen(game.id, "p-Ada")
    await presence.report()
    await Games(live).seal(game.id, 0, CloseReason.HOST)
    await Games(live).remove(game.id, "p-Ada", "ada", ban=True)
    source = resources.files("quizcast.live").joinpath("lua", f"{name}.lua").read_text("utf-8")
    header = source.partition("-- KEYS")[2].partition("-- ARGV")[0]
    numbers = [int(word) for word in header.split() if word.isdigit()]
    assert numbers == list(range(1, passed[name] + 1))
    used = {int(part.split("]")[0]) for part in source.split("KEYS[")[1:]}
    assert used <= set(numbers)


async def test_a_call_that_is_cancelled_ends_however_far_it_was(live: Live) -> None:
    """A process that stops cancels what it is doing, and waits for it."""

    async def busily() -> None:
        while True:
            await Games(live).due(1)

    chance = random.Random(5)
    await live.check()
    for _ in range(150):
        task = asyncio.create_task(busily())
        await asyncio.sleep(chance.random() * 0.005)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done, "the cancellation was swallowed"
    await live.check()
