"""A database in use, and a host with a game in it; for the tests of the store and of what is above it."""

from collections.abc import AsyncIterator

import pytest

from quizcast.domain.game import Game, GameOptions
from quizcast.domain.quiz import Choice, Order, QuizContent, Single, TrueFalse
from quizcast.ids import new_id
from quizcast.live.redis import Live
from quizcast.settings import Settings
from quizcast.store import accounts, library, results
from quizcast.store.db import Database
from quizcast.wire.rows import Row, encode_row

ROWS_AT = 1_700_000_000_000

QUIZ = QuizContent(
    title="Three questions",
    questions=(
        TrueFalse(prompt="Is water wet?", correct=True),
        Single(prompt="Two and two?", choices=(Choice(text="four", correct=True), Choice(text="five"))),
        Order(prompt="In order, please", items=("one", "two", "three")),
    ),
)


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """This test's database, open."""
    database = Database(settings)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def live(settings: Settings) -> AsyncIterator[Live]:
    """A door to this test's corner of Redis."""
    opened = Live(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def host(db: Database) -> accounts.Host:
    """An account."""
    async with db.write() as conn:
        return await accounts.create_host(conn, email="Ada@example.org", name="Ada", password_hash="$argon2id$…")


@pytest.fixture
async def game(db: Database, host: accounts.Host) -> Game:
    """A game of `QUIZ` in its lobby."""
    return await new_game(db, host.id)


async def new_game(db: Database, host_id: str, quiz: QuizContent = QUIZ) -> Game:
    """Another game."""
    async with db.write() as conn:
        stored = await library.create_quiz(conn, host_id, quiz)
        lobby = Game(
            id=new_id(),
            pin="123456",
            host_id=host_id,
            quiz_id=stored.id,
            question_count=len(quiz.questions),
            created_at=1_700_000_000_000,
            title=quiz.title,
            options=GameOptions(max_participants=500),
        )
        return await results.create_game(conn, lobby, quiz)


async def append(live: Live, shard: int, *rows: Row) -> None:
    """Rows into a shard's stream, as the scripts append them."""
    for row in rows:
        await live.client.xadd(live.keys.rows(shard), {"row": encode_row(row), "at": ROWS_AT})


async def stored(db: Database) -> list[str]:
    """The participants of whom an answer is in Postgres."""
    async with db.read() as conn:
        found = await conn.execute(b"SELECT participant_id FROM answers ORDER BY 1")
        return [one for (one,) in await found.fetchall()]
