"""What Postgres refused, from the flush that put it aside to an operator who decides: nothing twice or by chance."""

import asyncio
import json
import subprocess

import msgspec
import pytest

from quizcast import deadletters
from quizcast.deadletters import Name
from quizcast.domain.game import Game
from quizcast.domain.scoring import Opening
from quizcast.flush import Bell, flush
from quizcast.live.redis import Live
from quizcast.live.rows import Rows
from quizcast.settings import Settings
from quizcast.store import results
from quizcast.store.db import Database
from quizcast.wire.rows import AnswerRow, JoinRow, OpeningRow, Row, encode_row
from tests.fix_store import QUIZ, ROWS_AT, append, stored
from tests.fix_tree import environment, quizcast

SHARD = 1


async def test_a_poison_row_waits_with_its_reason_while_its_batch_goes_through(
    live: Live, db: Database, game: Game, settings: Settings
) -> None:
    answers = [AnswerRow(game.id, 0, f"p{n}", "true") for n in range(9)]
    await append(live, SHARD, *answers[:4], AnswerRow(game.id, 0, "poison", '{"my": secret'), *answers[4:])
    assert await flush(Rows(live), db, SHARD, 100) == 9
    assert await stored(db) == [f"p{n}" for n in range(9)]

    done = await _run(settings, "list")
    assert done.returncode == 0
    [line] = done.stdout.splitlines()
    for part in (f"{SHARD}:", " s ", " answer ", " InvalidTextRepresentation ", f"game={game.id} question=0 "):
        assert part in line
    assert line.endswith("participant=poison")
    assert "secret" not in (await _run(settings, "list", "--json")).stdout

    assert """answer='{"my": secret'""" in (await _run(settings, "list", "--content")).stdout
    told = json.loads((await _run(settings, "list", "--json", "--content")).stdout)
    assert told["content"] == {"answer": '{"my": secret'}
    assert (told["kind"], told["appended_at"], told["participant_id"]) == ("answer", ROWS_AT, "poison")
    assert 0 <= told["age_ms"] < 60_000


async def test_every_kind_is_told_with_its_ids_and_what_cannot_be_read_as_such(live: Live, settings: Settings) -> None:
    opening = Opening(question=2, opens_at=ROWS_AT, closes_at=ROWS_AT + 1, shuffle=())
    await _dead(live, JoinRow("g", "p", "Ada\x1b[31m"), OpeningRow("g", opening))
    await live.client.xadd(live.keys.dead(SHARD), {"row": b"\xc1\x1b", "at": ROWS_AT, "reason": "unreadable"})
    told, total = await deadletters.waiting(settings)
    assert total == 3
    assert [(one.kind, one.game_id, one.question, one.participant_id) for one in told] == [
        ("join", "g", None, "p"),
        ("opening", "g", 2, None),
        ("unreadable", None, None, None),
    ]
    shown = (await _run(settings, "list", "--content")).stdout
    assert "Ada" in shown
    assert "\\xc1" in shown
    assert "\x1b" not in shown  # whatever the row says, the terminal is not told to do anything
    assert "Ada" not in (await _run(settings, "list")).stdout


async def test_where_none_wait_each_command_says_so(settings: Settings) -> None:
    assert (await _run(settings, "list")).stdout == "no dead letters wait\n"
    done = await _run(settings, "list", "--json")
    assert (done.stdout, done.stderr) == ("", "no dead letters wait\n")
    assert (await _run(settings, "retry", "--all")).stdout == "0 put back\n"
    assert (await _run(settings, "drop", "--all")).stdout == "0 deleted\n"


async def test_a_limit_shows_the_oldest_of_all_shards_and_how_many_more_there_are(
    live: Live, settings: Settings
) -> None:
    for at, shard in ((5, 0), (7, 1), (6, 3)):
        await live.client.xadd(live.keys.dead(shard), {"row": b"", "at": ROWS_AT, "reason": "r"}, id=f"{at}-0")
    done = await _run(settings, "list", "--limit", "2")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["0:5-0", "3:6-0"]
    assert done.stderr == "and 1 more\n"


async def test_once_the_cause_is_mended_a_retried_row_is_stored_once_with_its_own_time_and_number(
    live: Live, db: Database, game: Game, settings: Settings
) -> None:
    later = msgspec.structs.replace(game, id="later")
    await append(live, SHARD, AnswerRow("later", 0, "p", "true"))
    join = {"row": encode_row(JoinRow("later", "p", "Ada")), "at": ROWS_AT + 1, "number": 7}
    await live.client.xadd(live.keys.rows(SHARD), join)
    assert await flush(Rows(live), db, SHARD, 100) == 0
    assert [one.reason for one in (await deadletters.waiting(settings))[0]] == ["game_unknown"] * 2

    async with db.write() as conn:
        await results.create_game(conn, later, QUIZ)
    for _ in range(2):  # the second time there is nothing left to do
        done = await _run(settings, "retry", "--all")
        assert done.returncode == 0, done.stderr
        await flush(Rows(live), db, SHARD, 100)
    async with db.read() as conn:
        found = await conn.execute(b"SELECT participant_id, received_at FROM answers WHERE game_id = 'later'")
        assert await found.fetchall() == [("p", ROWS_AT)]
        found = await conn.execute(b"SELECT nickname, number, joined_at FROM participants WHERE game_id = 'later'")
        assert await found.fetchall() == [("Ada", 7, ROWS_AT + 1)]
    backlog = await Rows(live).backlog(SHARD)
    assert (backlog.rows, backlog.dead) == (0, 0)


async def test_while_the_cause_remains_a_retried_row_comes_back_as_a_new_dead_letter(
    live: Live, db: Database, game: Game, settings: Settings
) -> None:
    await append(live, SHARD, AnswerRow("nowhere", 0, "p", "true"))
    await flush(Rows(live), db, SHARD, 100)
    [before], _ = await deadletters.waiting(settings)
    assert (await _run(settings, "retry", before.id)).stdout == "1 put back\n"
    await flush(Rows(live), db, SHARD, 100)
    [after], _ = await deadletters.waiting(settings)
    assert after.id != before.id
    assert (after.reason, after.appended_at) == ("game_unknown", ROWS_AT)
    done = await _run(settings, "retry", before.id)
    assert done.returncode == 1
    assert done.stderr == f"{before.id}: no such dead letter, or not any more\n"


async def test_a_retry_asks_for_a_flush_of_the_shards_that_got_rows(
    live: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Bell, "_enqueue", lambda _, shard: asked.append(shard))
    await _dead(live, JoinRow("g", "p", "Ada"))
    names = await deadletters.everything(settings)
    assert await deadletters.retry(settings, [*names, Name(0, "1-0")]) == [Name(0, "1-0")]
    assert asked == [SHARD]


async def test_what_is_put_back_is_what_was_put_aside(live: Live) -> None:
    fields = {b"row": b"\xc1", b"at": b"x", b"reason": b"its own"}
    await live.client.xadd(live.keys.rows(SHARD), fields)
    [(entry_id, _)] = await live.client.xrange(live.keys.rows(SHARD))
    await Rows(live).put_aside(SHARD, [(entry_id.decode(), "unreadable")])
    [dead] = await Rows(live).dead(SHARD, "0-0", 10)
    assert dead.reason == "unreadable"
    assert await Rows(live).put_back(SHARD, [dead.id, dead.id]) == [True, False]
    [(_, after)] = await live.client.xrange(live.keys.rows(SHARD))
    assert after == fields


async def test_dropping_asks_first_and_takes_no_silence_for_a_yes(live: Live, settings: Settings) -> None:
    await _dead(live, JoinRow("g", "p", "Ada"), JoinRow("g", "q", "Ben"), JoinRow("g", "r", "Cy"))
    first, *_ = await deadletters.everything(settings)
    for typed, status in (("n\n", 1), ("", 130)):
        done = await _run(settings, "drop", "--all", typed=typed)
        assert done.returncode == status
        assert "Delete 3 for good?" in done.stderr
        assert (await Rows(live).backlog(SHARD)).dead == 3
    assert (await _run(settings, "drop", str(first), typed="y\n")).stdout == "1 deleted\n"
    assert first not in await deadletters.everything(settings)
    assert (await _run(settings, "drop", "--all", "--yes")).stdout == "2 deleted\n"
    backlog = await Rows(live).backlog(SHARD)
    assert (backlog.rows, backlog.dead) == (0, 0)


async def test_of_two_operators_at_once_one_gets_each_row(live: Live, settings: Settings) -> None:
    await _dead(live, *(JoinRow("g", f"p{n}", "Ada") for n in range(2500)))
    names = await deadletters.everything(settings)
    assert len(names) == 2500
    missing = await asyncio.gather(
        deadletters.retry(settings, names), deadletters.drop(settings, names), deadletters.retry(settings, names[::-1])
    )
    assert sum(len(names) - len(some) for some in missing) == 2500
    backlog = await Rows(live).backlog(SHARD)
    assert (backlog.rows, backlog.dead) == (len(missing[1]), 0)  # what was not dropped was put back


async def test_unknown_ids_are_told_and_the_others_are_seen_to(live: Live, settings: Settings) -> None:
    await _dead(live, JoinRow("g", "p", "Ada"))
    [known] = await deadletters.everything(settings)
    done = await _run(settings, "drop", "--yes", f"{SHARD}:1-0", str(known), str(known), "99:1-0")
    assert done.returncode == 1
    assert done.stdout == "1 deleted\n"
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [f"{SHARD}:1-0", "99:1-0"]


async def test_a_redis_that_is_away_is_said_in_one_line(settings: Settings) -> None:
    away = msgspec.structs.replace(settings, redis_url="redis://:hunter2@127.0.0.1:9/0")
    for words in (["list"], ["retry", "--all"], ["drop", "--yes", "0:1-0"]):
        done = await _run(away, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: The live store does not answer; `quizcast doctor` looks why\n"


async def _run(settings: Settings, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    env = environment() | settings.to_env()
    return await asyncio.to_thread(quizcast, "deadletter", *words, env=env, typed=typed)


async def _dead(live: Live, *rows: Row) -> None:
    async with live.client.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.xadd(live.keys.dead(SHARD), {"row": encode_row(row), "at": ROWS_AT, "reason": "game_unknown"})
        await pipe.execute()
