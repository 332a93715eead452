"""Accounts, quizzes and games in Postgres, and the pools on the way there."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from psycopg import AsyncConnection

from quizcast.domain.game import Game, Phase
from quizcast.domain.quiz import Numeric, QuizContent
from quizcast.errors import (
    CursorInvalid,
    EmailTaken,
    GameUnknown,
    InvalidInput,
    MediaFull,
    MigrationFailed,
    PostgresUnavailable,
    QuizUnknown,
    RefreshInvalid,
    Stale,
    TokenInvalid,
)
from quizcast.ids import new_id
from quizcast.settings import Settings
from quizcast.store import accounts, library, media, results
from quizcast.store.db import Database
from quizcast.store.shipped import queries
from tests.fix_store import QUIZ, new_game
from tests.unit.quizzes import quizzes

LIFE_S = 3600


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_account_is_found_by_its_address_in_any_case(db: Database, host: accounts.Host) -> None:
    async with db.read() as conn:
        found = await accounts.host_by_email(conn, "aDA@EXAMPLE.org")
        assert found is not None
        assert (found.id, found.email, found.name) == (host.id, "Ada@example.org", "Ada")
        assert await accounts.host_by_id(conn, host.id) == host
        assert await accounts.host_by_id(conn, new_id()) is None
        assert "argon2" not in repr(found)


async def test_an_address_is_taken_in_any_case_and_the_transaction_lives_on(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        with pytest.raises(EmailTaken):
            await accounts.create_host(conn, email=host.email.upper(), name="Eve", password_hash="x")
        await accounts.update_password(conn, host.id, "new hash")
    async with db.read() as conn:
        found = await accounts.host_by_email(conn, host.email)
    assert found is not None
    assert found.password_hash == "new hash"


async def test_an_address_that_postgres_cannot_hold_is_invalid_and_no_fault(db: Database) -> None:
    with pytest.raises(InvalidInput):
        async with db.read() as conn:
            await accounts.host_by_email(conn, "a\0@example.org")


async def test_a_refresh_token_is_spent_for_the_next(db: Database, host: accounts.Host) -> None:
    family = await _logged_in(db, host)
    assert await accounts.rotate_login(db, family, b"1", b"2", LIFE_S) == host
    assert await accounts.rotate_login(db, family, b"2", b"3", LIFE_S) == host


async def test_a_spent_refresh_token_shown_again_ends_the_family(db: Database, host: accounts.Host) -> None:
    family, other = await _logged_in(db, host), await _logged_in(db, host)
    await accounts.rotate_login(db, family, b"1", b"2", LIFE_S)
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"1", b"thief", LIFE_S)
    with pytest.raises(RefreshInvalid):  # what the rightful owner holds is worth nothing any more
        await accounts.rotate_login(db, family, b"2", b"3", LIFE_S)
    assert await accounts.rotate_login(db, other, b"1", b"2", LIFE_S) == host


async def test_of_many_who_spend_a_token_at_once_exactly_one_wins_and_the_family_ends(
    db: Database, host: accounts.Host
) -> None:
    family = await _logged_in(db, host)
    tries = [accounts.rotate_login(db, family, b"1", b"next%d" % turn, LIFE_S) for turn in range(8)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, RefreshInvalid)] == [host]
    for turn in range(8):
        with pytest.raises(RefreshInvalid):
            await accounts.rotate_login(db, family, b"next%d" % turn, b"x", LIFE_S)


async def test_who_comes_with_the_spent_token_and_the_same_next_is_told_the_same_for_a_while(
    db: Database, host: accounts.Host
) -> None:
    family = await _logged_in(db, host)
    tries = [accounts.rotate_login(db, family, b"1", b"2", LIFE_S, grace_s=30) for _ in range(8)]
    assert await asyncio.gather(*tries) == [host] * 8
    await asyncio.sleep(0.3)  # and what is told again does not begin the while anew
    assert await accounts.rotate_login(db, family, b"1", b"2", LIFE_S, grace_s=30) == host
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"1", b"2", LIFE_S, grace_s=0.2)
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"2", b"3", LIFE_S, grace_s=30)


async def test_the_grace_is_for_the_same_next_alone(db: Database, host: accounts.Host) -> None:
    family = await _logged_in(db, host)
    await accounts.rotate_login(db, family, b"1", b"2", LIFE_S, grace_s=30)
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"1", b"thief", LIFE_S, grace_s=30)
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"2", b"3", LIFE_S, grace_s=30)


async def test_a_login_of_the_version_before_goes_on(db: Database, host: accounts.Host) -> None:
    family = await _logged_in(db, host)
    async with db.write() as conn:  # as that version spends a token
        await conn.execute("UPDATE logins SET digest = %s WHERE family = %s", [b"2", family])
    assert await accounts.rotate_login(db, family, b"2", b"3", LIFE_S, grace_s=30) == host


async def test_a_login_ends_when_its_time_is_over_or_the_host_logs_out(db: Database, host: accounts.Host) -> None:
    family = await _logged_in(db, host, life_s=-1)
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"1", b"2", LIFE_S)
    family = await _logged_in(db, host)
    async with db.write() as conn:
        await accounts.end_login(conn, family)
    with pytest.raises(RefreshInvalid):
        await accounts.rotate_login(db, family, b"1", b"2", LIFE_S)


async def test_logins_that_have_run_out_are_forgotten_at_the_next(db: Database, host: accounts.Host) -> None:
    for _ in range(3):
        await _logged_in(db, host, life_s=-1)
    await _logged_in(db, host)
    assert await _count(db, "logins") == 1


async def _logged_in(db: Database, host: accounts.Host, life_s: int = LIFE_S) -> str:
    family = new_id()
    async with db.write() as conn:
        await accounts.start_login(conn, host.id, family, b"1", life_s)
    return family


# ── quizzes ───────────────────────────────────────────────────────────────────────────────────────────────────


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=quizzes)
async def test_a_quiz_comes_back_as_it_was_stored(db: Database, host: accounts.Host, content: QuizContent) -> None:
    async with db.write() as conn:
        stored = await library.create_quiz(conn, host.id, content)
    fields = {name: getattr(stored, name) for name in QuizContent.__struct_fields__}
    assert QuizContent(**fields) == content
    assert stored.version == 1


async def test_numbers_at_the_edges_come_back_as_they_were(db: Database, host: accounts.Host) -> None:
    edges = (1e300, 5e-324, 1.7976931348623157e308, 0.1, -0.1, 123456789.12345679)
    content = QuizContent(title="t", questions=tuple(Numeric(prompt="?", correct=edge) for edge in edges))
    async with db.write() as conn:
        stored = await library.create_quiz(conn, host.id, content)
    assert stored.questions == content.questions


async def test_another_hosts_quiz_is_not_there(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        eve = await accounts.create_host(conn, email="eve@example.org", name="Eve", password_hash="x")
        quiz = await library.create_quiz(conn, host.id, QUIZ)
        assert (await library.list_quizzes(conn, eve.id, 10)).items == []
        for attempt in (
            library.get_quiz(conn, eve.id, quiz.id),
            library.update_quiz(conn, eve.id, quiz.id, QUIZ),
            library.delete_quiz(conn, eve.id, quiz.id),
        ):
            with pytest.raises(QuizUnknown):
                await attempt
        assert await library.get_quiz(conn, host.id, quiz.id) == quiz


async def test_a_retried_creation_makes_one_quiz_even_while_the_first_is_under_way(
    db: Database, host: accounts.Host
) -> None:
    async def create() -> str:
        async with db.write() as conn:
            return (await library.create_quiz(conn, host.id, QUIZ, "key")).id

    assert len(set(await asyncio.gather(*(create() for _ in range(6))))) == 1
    async with db.read() as conn:
        assert len((await library.list_quizzes(conn, host.id, 10)).items) == 1


async def test_of_concurrent_updates_to_one_version_exactly_one_wins(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        quiz = await library.create_quiz(conn, host.id, QUIZ)

    async def update(title: str) -> str:
        changed = msgspec.structs.replace(QUIZ, title=title)
        async with db.write() as conn:
            return (await library.update_quiz(conn, host.id, quiz.id, changed, quiz.version)).title

    outcomes = await asyncio.gather(*(update(f"title {turn}") for turn in range(6)), return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(winners) == 1
    assert all(isinstance(outcome, str | Stale) for outcome in outcomes)
    async with db.read() as conn:
        now = await library.get_quiz(conn, host.id, quiz.id)
    assert (now.title, now.version) == (winners[0], 2)


async def test_an_update_without_a_version_goes_over_whatever_is_there(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        quiz = await library.create_quiz(conn, host.id, QUIZ)
        for version in (2, 3):
            assert (await library.update_quiz(conn, host.id, quiz.id, QUIZ)).version == version


async def test_pages_hold_everything_once_newest_first(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        made = [(await library.create_quiz(conn, host.id, QUIZ)).id for _ in range(7)]
        seen: list[str] = []
        cursor = None
        for size in (3, 3, 1):
            page = await library.list_quizzes(conn, host.id, 3, cursor)
            assert len(page.items) == size
            seen += [one.id for one in page.items]
            cursor = page.next_cursor
    assert cursor is None
    assert seen == sorted(made, reverse=True)


async def test_a_full_last_page_has_no_next(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        for _ in range(3):
            await library.create_quiz(conn, host.id, QUIZ)
        assert (await library.list_quizzes(conn, host.id, 3)).next_cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "0" * 34, "' OR 1=1", "a" * 5000, "====", "AA\0A"])
async def test_a_cursor_that_no_list_gave_out_is_refused(db: Database, host: accounts.Host, cursor: str) -> None:
    async with db.read() as conn:
        with pytest.raises(CursorInvalid):
            await library.list_quizzes(conn, host.id, 10, cursor)
        with pytest.raises(CursorInvalid):
            await results.list_games(conn, host.id, 10, cursor)


# ── games ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_game_comes_back_as_it_was_stored(db: Database, game: Game) -> None:
    async with db.read() as conn:
        stored = await results.get_game(conn, game.host_id, game.id)
        assert stored == results.StoredGame(game=game, participants=0, openings=())
        assert (await results.list_games(conn, game.host_id, 10)).items == [stored]
        assert (await results.load_results(conn, game.id)).quiz == QUIZ


async def test_another_hosts_game_is_not_there(db: Database, game: Game) -> None:
    async with db.write() as conn:
        eve = await accounts.create_host(conn, email="eve@example.org", name="Eve", password_hash="x")
        assert (await results.list_games(conn, eve.id, 10)).items == []
        with pytest.raises(GameUnknown):
            await results.get_game(conn, eve.id, game.id)
        with pytest.raises(GameUnknown):
            await results.load_results(conn, new_id())


async def test_a_retried_creation_brings_back_the_first_game(db: Database, game: Game) -> None:
    async def create() -> Game:
        async with db.write() as conn:
            another = msgspec.structs.replace(game, id=new_id())
            return await results.create_game(conn, another, QUIZ, "key")

    made = await asyncio.gather(*(create() for _ in range(6)))
    assert len({one.id for one in made}) == 1
    assert made[0].phase is Phase.LOBBY


async def test_a_game_for_a_quiz_that_was_just_deleted_is_refused(db: Database, game: Game) -> None:
    async with db.write() as conn:
        await library.delete_quiz(conn, game.host_id, game.quiz_id)
        with pytest.raises(QuizUnknown):
            await results.create_game(conn, msgspec.structs.replace(game, id=new_id()), QUIZ)


async def test_a_game_outlives_its_quiz_with_its_own_copy(db: Database, game: Game) -> None:
    async with db.write() as conn:
        await library.delete_quiz(conn, game.host_id, game.quiz_id)
        assert (await results.get_game(conn, game.host_id, game.id)).game.quiz_id == ""
        assert (await results.load_results(conn, game.id)).quiz == QUIZ


async def test_what_belongs_to_a_host_goes_with_the_account(db: Database, game: Game) -> None:
    await new_game(db, game.host_id)
    async with db.write() as conn:
        await conn.execute("DELETE FROM hosts")
    for table in ("quizzes", "games", "logins"):
        assert await _count(db, table) == 0


# ── images ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_image_is_found_again_by_its_bytes_and_its_id(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        kept = await media.keep(conn, host.id, b"\0\xff" * 5, "image/png", 100)
        assert await media.keep(conn, host.id, b"\0\xff" * 5, "image/png", 100) == kept
    async with db.read() as conn:
        assert await media.get_image(conn, kept.id) == media.Image(content_type="image/png", content=b"\0\xff" * 5)
        assert await media.get_image(conn, new_id()) is None
        assert (await media.list_media(conn, host.id, 10)).items == [kept]


async def test_a_hosts_images_have_a_bound_together_also_for_who_sends_two_at_once(
    db: Database, host: accounts.Host
) -> None:
    async def keep(content: bytes) -> media.Media:
        async with db.write() as conn:
            return await media.keep(conn, host.id, content, "image/png", 25)

    first = await keep(b"1" * 10)
    async with db.write() as conn:
        await media.keep(conn, host.id, b"2" * 10, "image/png", 25)
        third = asyncio.create_task(keep(b"3" * 10))
        await asyncio.sleep(0.3)  # it may not count before this one is there
        assert not third.done()
    with pytest.raises(MediaFull):
        await third
    assert (await keep(b"4" * 5)).bytes == 5
    async with db.write() as conn:
        await media.delete_media(conn, host.id, first.id)
    assert (await keep(b"3" * 10)).bytes == 10


async def test_images_go_with_their_host(db: Database, host: accounts.Host) -> None:
    async with db.write() as conn:
        await media.keep(conn, host.id, b"x", "image/png", 10)
    async with db.write() as conn:
        await conn.execute("DELETE FROM hosts")
    assert await _count(db, "media") == 0
    async with db.write() as conn:
        with pytest.raises(TokenInvalid):
            await media.keep(conn, host.id, b"x", "image/png", 10)


# ── pools ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_reads_go_to_the_replica_and_writes_to_the_primary(settings: Settings, empty_database_url: str) -> None:
    async with _opened(settings, replica_urls=(empty_database_url,)) as db:
        primary, replica = settings.database_url, empty_database_url
        async with db.write() as conn:
            assert f"/{conn.info.dbname}?" in primary
        async with db.read() as conn:
            assert f"/{conn.info.dbname}?" in replica


async def test_reads_fall_back_to_the_primary_when_the_replica_is_away(settings: Settings, tmp_path: Path) -> None:
    nowhere = f"postgresql://quizcast@/quizcast?host={quote(str(tmp_path), safe='')}"
    async with _opened(settings, replica_urls=(nowhere,)) as db:
        began = asyncio.get_running_loop().time()
        for _ in range(5):
            async with db.read() as conn:
                assert f"/{conn.info.dbname}?" in settings.database_url
        assert asyncio.get_running_loop().time() - began < 2  # only the first waits for it


async def test_a_read_cannot_write_and_a_connection_remembers_nothing(settings: Settings) -> None:
    async with _opened(settings, db_pool_max=1) as db:
        with pytest.raises(Exception, match="read-only"):
            async with db.read() as conn:
                await conn.execute("DELETE FROM hosts")
        async with db.write() as conn:
            await conn.execute("DELETE FROM hosts")


async def test_a_transaction_that_fails_leaves_nothing(db: Database) -> None:
    async def fail() -> None:
        async with db.write() as conn:
            await accounts.create_host(conn, email="a@example.org", name="A", password_hash="x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await _count(db, "hosts") == 0


async def test_without_postgres_the_answer_is_unavailable_and_soon(settings: Settings, tmp_path: Path) -> None:
    nowhere = f"postgresql://quizcast@/quizcast?host={quote(str(tmp_path), safe='')}"
    alone = msgspec.structs.replace(settings, database_url=nowhere, db_timeout_s=0.3)
    db = Database(alone)
    await db.open()
    for use in (db.write, db.read):
        with pytest.raises(PostgresUnavailable) as caught:
            async with use():
                pass
        assert caught.value.retry_after_s
    with pytest.raises(PostgresUnavailable):
        await db.check()
    await db.close()


async def test_who_would_have_to_wait_in_too_long_a_queue_is_told_at_once(settings: Settings) -> None:
    async def wait(db: Database) -> None:
        async with db.write():
            pass

    async with _opened(settings, db_pool_max=1, db_pool_waiting_max=2) as db:
        async with db.write():
            waiting = [asyncio.create_task(wait(db)) for _ in range(2)]
            await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            with pytest.raises(PostgresUnavailable):
                await wait(db)
            assert asyncio.get_running_loop().time() - began < 0.5
        await asyncio.gather(*waiting)


async def test_connections_that_died_with_the_server_meet_no_request(settings: Settings) -> None:
    async with _opened(settings, db_pool_max=1) as db:
        async with db.write() as conn:
            doomed = conn.info.backend_pid
        async with await AsyncConnection.connect(settings.database_url, autocommit=True) as other:
            await other.execute("SELECT pg_terminate_backend(%s, 5000)", [doomed])  # and wait until it has ended
        async with db.read() as conn:
            assert conn.info.backend_pid != doomed


async def test_a_connection_lost_on_the_way_is_unavailable(db: Database) -> None:
    with pytest.raises(PostgresUnavailable):
        async with db.write() as conn:
            await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_readiness_wants_the_whole_schema(settings: Settings, db: Database, empty_database_url: str) -> None:
    await db.check()
    bare = Database(msgspec.structs.replace(settings, database_url=empty_database_url))
    await bare.open()
    with pytest.raises(MigrationFailed, match="0001_start"):
        await bare.check()
    await bare.close()


def test_every_named_query_is_used_and_every_used_name_is_there() -> None:
    source = "".join(
        file.read_text("utf-8") for file in resources.files("quizcast.store").iterdir() if file.name.endswith(".py")
    )
    used = set(re.findall(r'query\("(\w+)"\)', source))
    used |= set(re.findall(r'(?:fetch|fetch_one)\(conn, \w+, "(\w+)"', source))
    used |= set(re.findall(r'_put\(conn, "(\w+)"', source))
    assert used == set(queries())


@contextlib.asynccontextmanager
async def _opened(settings: Settings, **changes: Any) -> AsyncIterator[Database]:
    db = Database(msgspec.structs.replace(settings, **changes))
    await db.open()
    try:
        yield db
    finally:
        await db.close()


async def _count(db: Database, table: str) -> int:
    async with db.read() as conn:
        row = await (await conn.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
    assert row is not None
    return int(row[0])
