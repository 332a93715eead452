"""What stands behind the servers under test, on the load's core: Redis and Postgres, and a hall full of participants.

quizcast gets its embedded servers as they are by default, every write synced to disk before it is acknowledged. The
peers get the same Redis program on a unix socket, which writes nothing to disk.
"""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from bench.contest import Contestant
from quizcast.auth import Key, Keyring, Kind, Tokens
from quizcast.domain.game import Close, CloseReason, Command, Game, GameOptions, Open, step
from quizcast.domain.quiz import Numeric, QuizContent
from quizcast.embedded import DataDir, Services, find_redis, start_redis
from quizcast.ids import new_id
from quizcast.live.games import Games
from quizcast.live.redis import Live
from quizcast.live.submissions import AnswerTry, JoinTry, Reading, Submissions
from quizcast.settings import Settings
from quizcast.store.schema import migrate
from quizcast.wire.events import Kept

T = TypeVar("T")

QUESTIONS = 10
TIME_LIMIT_MS = 600_000  # longer than any measurement
AT_ONCE = 500  # joins or answers in one script call, as in the intake's groups
QUESTION = Numeric(prompt="How many?", correct=7, tolerance=3, time_limit_ms=TIME_LIMIT_MS)
QUIZ = QuizContent(title="Bench", questions=(QUESTION,) * QUESTIONS)
HOST = "bench"  # whose the games are


class Hall:
    """One game and its participants, put in place and moved on by quizcast's own scripts, without HTTP."""

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        self.game_id = ""
        self.tokens: list[str] = []
        self.people: list[str] = []
        self._mint = tokens
        self._runner = asyncio.Runner()
        self.live = self.run(self._connected(settings))
        self._games, self._submissions = Games(self.live), Submissions(self.live)

    async def _connected(self, settings: Settings) -> Live:
        return Live(settings)

    def run(self, work: Awaitable[T]) -> T:
        """Run something on the hall's loop."""

        async def awaited() -> T:
            return await work

        return self._runner.run(awaited())

    def close(self) -> None:
        """Hang up."""
        self.run(self.live.close())
        self._runner.close()

    def clear(self) -> None:
        """Forget everything that is in Redis."""
        self.run(self.live.client.flushdb())

    def fill(self, people: int, quiz: QuizContent = QUIZ) -> None:
        """A new game in an empty Redis, and so many participants with their tokens."""
        self.clear()
        self.begin(people, quiz)

    def begin(self, people: int, quiz: QuizContent = QUIZ) -> None:
        """A new game beside those that are there; from now on it is the one that is moved on."""
        game = Game(
            id=new_id(),
            pin="123456",
            host_id=HOST,
            quiz_id="",
            question_count=len(quiz.questions),
            created_at=int(time.time() * 1000),
            options=GameOptions(max_participants=100_000, lead_ms=0, close_when_all_answered=False),
        )
        self.run(self._games.create(game, quiz))
        self.enter(game.id, people)

    def host(self) -> str:
        """A token of the games' host."""
        return self._mint.mint(Kind.HOST, HOST)

    def enter(self, game_id: str, people: int) -> None:
        """So many participants of a game that is there."""
        self.game_id = game_id
        self.people = [f"{number:025d}" for number in range(people)]
        self.run(join(self.live, game_id, self.people))
        self.tokens = [self._mint.mint(Kind.PARTICIPANT, one, game_id) for one in self.people]

    def open(self, question: int) -> None:
        """Close the open question, if there is one, and open another."""
        if question:
            self._step(Close(reason=CloseReason.HOST))
        self._step(Open(question=question))

    def tell(self, event: Callable[[], Kept]) -> None:
        """Log and publish an event, as the conductor does when the host acts; it is made just before it goes out."""

        async def told() -> bool:
            before = await self._games.load(self.game_id)
            return await self._games.advance(before, before.game, [event()])

        if not self.run(told()):
            raise RuntimeError("somebody else moves this game")

    def answer(self, question: int) -> None:
        """Everybody's answer, into the stream."""
        shard = self.live.keys.shard_of(self.game_id)
        for some in _slices(self.people):
            tries = [AnswerTry(self.game_id, one, Reading(question, b"7")) for one in some]
            self.run(self._submissions.take_answers(shard, tries))

    def waiting(self) -> int:
        """How many rows are on their way to Postgres."""
        rows: int = self.run(self.live.client.xlen(self.live.keys.rows(self.live.keys.shard_of(self.game_id))))
        return rows

    def first_id(self) -> str:
        """The id of the game's first kept event."""
        game = self.run(self._games.load(self.game_id)).game
        return f"{game.created_at}-1"

    def redis_s(self) -> float:
        """CPU seconds that Redis has used so far."""
        return self.run(redis_s(self.live))

    def redis_kb(self) -> float:
        """What Redis holds."""
        return float(self.run(self.live.client.info("memory"))["used_memory"]) / 1024

    def _step(self, command: Command) -> None:
        before = self.run(self._games.load(self.game_id))
        after, _ = step(before.game, QUIZ, command, before.now)
        self.run(self._games.advance(before, after))


async def redis_s(live: Live) -> float:
    """CPU seconds that a Redis has used so far in its main thread."""
    seen = await live.client.info("cpu")
    return float(seen["used_cpu_user_main_thread"]) + float(seen["used_cpu_sys_main_thread"])


async def join(live: Live, game_id: str, people: Sequence[str]) -> None:
    """Let people in by the script itself: how fast joins are is another measurement."""
    submissions, shard = Submissions(live), live.keys.shard_of(game_id)
    for some in _slices(people):
        await submissions.take_joins(shard, [JoinTry(game_id, one, one, one) for one in some])


def _slices(people: Sequence[str]) -> Iterator[Sequence[str]]:
    return (people[first : first + AT_ONCE] for first in range(0, len(people), AT_ONCE))


class Backstage(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` are quizcast's; `peers_redis` is a socket's path, `secret` the one that tokens are signed with."""

    settings: Settings
    hall: Hall
    peers_redis: str
    secret: str

    @property
    def peers_env(self) -> dict[str, str]:
        """What the peers find their Redis and verify tokens by."""
        return {"BENCH_REDIS": self.peers_redis, "BENCH_SECRET": self.secret}


@contextlib.contextmanager
def backstage(folder: Path) -> Iterator[Backstage]:
    """Everything started, and stopped in the end."""
    secret = secrets.token_urlsafe(32)
    settings = Settings(data_dir=folder / "data", keys=(f"bench:{secret}",))
    peers = DataDir(folder / "peers")
    redis = start_redis(find_redis(), peers, options={"appendonly": "no", "appendfsync": "no"})
    try:
        redis.wait_ready()
        with Services.start(settings) as services:
            asyncio.run(migrate(services.database_url))
            settings = msgspec.structs.replace(
                settings, redis_url=services.redis_url, database_url=services.database_url
            )
            hall = Hall(settings, Tokens(Keyring([Key("bench", secret)]), settings))
            yield Backstage(settings=settings, hall=hall, peers_redis=urlsplit(redis.url).path, secret=secret)
            hall.close()
    finally:
        redis.ask_to_stop()
        redis.stop()
        peers.release()


def python_app(module: str, port: int) -> list[str]:
    """How an ASGI app of `bench/peers` is started: uvicorn with everything that makes it fast."""
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return ["uvicorn", f"bench.peers.{module}:app", "--port", str(port), "--backlog", "4096", *options]


class Web(Contestant):
    """One real `quizcast web` on the backstage's servers."""

    name = "quizcast"

    def __init__(self, stage: Backstage) -> None:
        super().__init__()
        self.stage = stage

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Its own command line."""
        return [sys.executable, "-m", "quizcast", "web", "--port", str(self.port)], self.stage.settings.to_env()
