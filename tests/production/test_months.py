"""Answers by month: prepared ahead, exported whole, and only then dropped."""

import csv
import gzip
import io
import itertools
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from quizcast.domain.game import Game
from quizcast.errors import AnswersDropped
from quizcast.ids import first_id, made_at, new_id
from quizcast.settings import Settings
from quizcast.store import accounts, months, results
from quizcast.store.db import Database, connections
from quizcast.store.rows import store_or_bisect, store_rows
from quizcast.wire.rows import AnswerRow, Entry
from tests.fix_replica import execute, one
from tests.fix_store import new_game
from tests.fix_tree import environment, quizcast

OLD = int(datetime(2024, 5, 20, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def env(settings: Settings) -> Mapping[str, str]:
    """For commands on this test's database."""
    return environment(redis_url=settings.redis_url, database_url=settings.database_url)


def answers(game_id: str, count: int) -> list[Entry]:
    """So many answers to a game's first question."""
    return [
        Entry(
            id=f"1-{place}",
            row=AnswerRow(game_id=game_id, question=0, participant_id=f"p{place}", answer='"a,\\n\\"b"'),
            at=1_700_000_000_000,
        )
        for place in range(count)
    ]


async def old_game(db: Database, host: accounts.Host, monkeypatch: pytest.MonkeyPatch, at: int = OLD) -> Game:
    """A game that was created then."""
    with monkeypatch.context() as patch:
        patch.setattr("tests.fix_store.new_id", lambda: first_id(at)[:-9] + new_id()[-9:])
        return await new_game(db, host.id)


def split_first(url: str, since: int, until: int) -> str:
    """Cut the first part at two moments, as if quizcast had been installed long ago; the name of the middle one."""
    name = datetime.fromtimestamp(since / 1000, UTC).strftime("answers_%Y_%m")
    words = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'answers_first'"
    bound = str(one(url, words)).split("'")[1]
    execute(
        url,
        "ALTER TABLE answers DETACH PARTITION answers_first",
        f"ALTER TABLE answers ATTACH PARTITION answers_first FOR VALUES FROM (MINVALUE) TO ('{first_id(since)}')",
        f"CREATE TABLE {name} PARTITION OF answers FOR VALUES FROM ('{first_id(since)}') TO ('{first_id(until)}')",
        f"CREATE TABLE answers_now PARTITION OF answers FOR VALUES FROM ('{first_id(until)}') TO ('{bound}')",
    )
    return name


def may(url: str) -> str:
    """A part for May 2024."""
    starts, ends = (int(datetime(2024, month, 1, tzinfo=UTC).timestamp() * 1000) for month in (5, 6))
    return split_first(url, starts, ends)


def test_an_id_tells_when_it_was_made() -> None:
    assert made_at(first_id(OLD)) == OLD
    assert made_at(first_id(OLD)[:9]) == OLD
    assert first_id(OLD) < first_id(OLD)[:9] + "z" * 16 < first_id(OLD + 1)


async def test_migrate_prepares_the_coming_months_and_answers_of_today_lie_in_the_first_part(
    db: Database, game: Game, env: Mapping[str, str], settings: Settings
) -> None:
    told = quizcast("migrate", env=env)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.split("applied answers_")) == 3  # the first part lasts until the end of the next month
    assert "up to date" in quizcast("migrate", env=env).stdout
    async with db.write() as conn:
        await store_rows(conn, answers(game.id, 3))
        parts = await months.parts(conn)
    assert all(made_at(this.until) == made_at(str(after.since)) for this, after in itertools.pairwise(parts))
    ahead = made_at(parts[-1].until) - datetime.now(UTC).timestamp() * 1000
    assert ahead > months.AHEAD * 28 * 86_400_000
    where = one(settings.database_url, "SELECT DISTINCT tableoid::regclass::text FROM answers")
    assert where == "answers_first"


async def test_answers_of_a_month_that_nobody_has_prepared_are_stored_and_sorted_in_later(
    db: Database, host: accounts.Host, settings: Settings, monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]
) -> None:
    later = int(datetime.now(UTC).timestamp() * 1000) + 75 * 86_400_000
    game = await old_game(db, host, monkeypatch, later)
    assert await store_or_bisect(db, entries := answers(game.id, 5)) == (entries, [])
    where = "SELECT DISTINCT tableoid::regclass::text FROM answers"
    assert one(settings.database_url, where) == "answers_rest"
    assert "belong to no month" in quizcast("doctor", env=env).stdout
    await months.prepare(settings.database_url)
    month = datetime.fromtimestamp(later / 1000, UTC).strftime("answers_%Y_%m")
    assert one(settings.database_url, where) == month
    assert await store_or_bisect(db, entries) == (entries, [])
    assert one(settings.database_url, "SELECT count(*) FROM answers") == 5
    execute(settings.database_url, f"DELETE FROM games WHERE id = '{game.id}'")  # the new part has the foreign key
    assert one(settings.database_url, "SELECT count(*) FROM answers") == 0
    assert "belong to no month" not in quizcast("doctor", env=env).stdout


async def test_retention_exports_a_month_drops_it_and_the_results_say_so(
    db: Database,
    host: accounts.Host,
    game: Game,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    env: Mapping[str, str],
    tmp_path: Path,
) -> None:
    name = may(settings.database_url)
    old = await old_game(db, host, monkeypatch)
    async with db.write() as conn:
        await store_rows(conn, answers(old.id, 1000) + answers(game.id, 3))

    refused = quizcast("retention", "--months", "12", env=env)
    assert refused.returncode == 2
    assert "--export" in refused.stderr
    told = quizcast("retention", "--months", "12", "--export", str(tmp_path / "kept"), "--dry-run", env=env)
    assert f"{name} would go: up to 2024-05" in told.stdout
    assert one(settings.database_url, "SELECT count(*) FROM answers") == 1003

    told = quizcast("retention", "--months", "12", "--export", str(tmp_path / "kept"), env=env)
    assert told.returncode == 0, told.stderr
    file = tmp_path / "kept" / f"{name}.csv.gz"
    assert f"{name} is dropped: 1,000 answers, {file}" in told.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(file.read_bytes()).decode())))
    assert {row["participant_id"] for row in rows} == {f"p{place}" for place in range(1000)}
    assert {(row["game_id"], row["answer"], row["received_at"]) for row in rows} == {
        (old.id, '"a,\\n\\"b"', "1700000000000")
    }
    async with db.read() as conn:
        assert len((await results.load_results(conn, game.id)).answers[0]) == 3
        assert (await results.get_game(conn, host.id, old.id)).game.id == old.id
        with pytest.raises(AnswersDropped):
            await results.load_results(conn, old.id)
    assert "nothing is old enough" in quizcast("retention", "--months", "12", "--no-export", env=env).stdout

    # The way back, as docs/operations.md has it.
    copy = b"COPY answers FROM STDIN (FORMAT csv, HEADER)"
    with psycopg.connect(settings.database_url) as again, again.cursor().copy(copy) as copying:
        copying.write(gzip.decompress(file.read_bytes()))
    execute(settings.database_url, f"DELETE FROM answers_dropped WHERE part = '{name}'")
    async with db.read() as conn:
        assert len((await results.load_results(conn, old.id)).answers[0]) == 1000


async def test_what_cannot_be_exported_is_not_dropped_and_goes_with_the_next_run(
    db: Database,
    host: accounts.Host,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    env: Mapping[str, str],
    tmp_path: Path,
) -> None:
    name = may(settings.database_url)
    old = await old_game(db, host, monkeypatch)
    async with db.write() as conn:
        await store_rows(conn, answers(old.id, 10))
    (tmp_path / "file").touch()
    nowhere = quizcast("retention", "--months", "12", "--export", str(tmp_path / "file" / "below"), env=env)
    assert (nowhere.returncode, "nothing was dropped" in nowhere.stderr) == (1, True)
    async with db.read() as conn:  # a folder that is no good is seen at once, and costs nobody their results
        assert len((await results.load_results(conn, old.id)).answers[0]) == 10
    in_the_way = tmp_path / f"{name}.csv.gz.part"
    in_the_way.mkdir()
    failed = quizcast("retention", "--months", "12", "--export", str(tmp_path), env=env)
    assert failed.returncode == 1
    assert "nothing was dropped" in failed.stderr
    in_the_way.rmdir()
    assert one(settings.database_url, f"SELECT count(*) FROM {name}") == 10
    async with db.read() as conn:
        with pytest.raises(AnswersDropped):  # and not a ranking without points
            await results.load_results(conn, old.id)
    told = quizcast("retention", "--months", "12", "--export", str(tmp_path), env=env)
    assert f"{name} is dropped: 10 answers" in told.stdout
    assert one(settings.database_url, f"SELECT to_regclass('{name}')") is None


def test_doctor_adds_up_the_connections_of_all_processes(env: Mapping[str, str], settings: Settings) -> None:
    assert connections(settings, web=24, workers=4) == (24 * 4 + 4 * 2 + 5, 96)
    fits = quizcast("doctor", "--web", "8", "--workers", "2", env=env).stdout
    assert "8 web processes × 4 + 2 workers × 2 + 5 for commands = 41 of 97" in fits
    told = quizcast("doctor", "--web", "24", "--workers", "4", env=env)
    assert "= 109 of 97" in told.stdout
    assert "raise max_connections by 12 or more, lower QUIZCAST_DB_POOL_MAX to 3, or put pgbouncer" in told.stdout
    assert told.returncode == 0  # a pooler may stand there, which doctor cannot see
