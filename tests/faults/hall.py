"""A game full of people who were let in by the scripts themselves, and lean streams for them."""

import asyncio
import re
import time
from collections.abc import Callable

from bench.backstage import QUIZ, join
from quizcast.auth import Keyring, Kind, Tokens
from quizcast.domain.game import Game, GameOptions
from quizcast.ids import new_id
from quizcast.live.games import Games
from quizcast.live.redis import Live
from quizcast.settings import Settings
from quizcast.wire.events import Leaderboard, Place
from tests.faults.stage import Stage

ID = re.compile(rb"^id: ([0-9]+-[0-9]+)$", re.MULTILINE)
STAMP = re.compile(rb'"server_now_at":([0-9]+)')
RETRY = re.compile(rb"^retry: ([0-9]+)$", re.MULTILINE)


class Hall:
    """The game; `close` at the end. `tokens` are the people's."""

    def __init__(self, stage: Stage) -> None:
        settings = Settings(redis_url=stage.services.redis_url, data_dir=stage.tree.data_dir)
        self.port = stage.tree.port
        self.tokens: list[str] = []
        self.told: list[str] = []  # ids of the events, since `begin`
        self.before = ""
        self._offset = 0
        self.game = Game(
            id=new_id(),
            pin="",
            host_id="nobody",
            quiz_id="",
            question_count=len(QUIZ.questions),
            created_at=int(time.time() * 1000),
            options=GameOptions(max_participants=100_000),
        )
        self._live = Live(settings)
        self._games = Games(self._live)
        self._mint = Tokens(Keyring.load(settings), settings)

    async def fill(self, people: int) -> None:
        """Open it and let so many in."""
        await self._games.create(self.game, QUIZ)
        ids = [f"{number:025d}" for number in range(people)]
        await join(self._live, self.game.id, ids)
        self.tokens = [self._mint.mint(Kind.PARTICIPANT, one, self.game.id) for one in ids]

    async def tell(self, places: int = 1) -> None:
        """Publish a leaderboard of about 100 bytes a place."""
        place = Place(rank=1, participant_id="0" * 25, nickname="Ada Lovelace", score=1000, gained=1000)
        event = Leaderboard(top=[place] * places, participants=places)
        before = await self._games.load(self.game.id)
        assert await self._games.advance(before, before.game, [event])
        self._offset += 1
        self.told.append(f"{self.game.created_at}-{self._offset}")

    def begin(self) -> None:
        """Forget what was told so far; `before` is the id of the last of it."""
        self.before = f"{self.game.created_at}-{self._offset}"
        self.told = []

    def request(self, token: str, after: str = "") -> bytes:
        """What opens a stream."""
        resume = f"Last-Event-ID: {after}\r\n" if after else ""
        path = f"/api/v1/games/{self.game.id}/events"
        return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{resume}\r\n".encode()

    async def stream(self, token: str, after: str = "", ended: Callable[["Line"], None] = lambda _: None) -> "Line":
        """Open a stream; returns when it has its status."""
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: Line(ended), "127.0.0.1", self.port)
        if line.transport is not None:
            line.transport.write(self.request(token, after))
        await line.answered
        return line

    async def close(self) -> None:
        """Hang up."""
        await self._live.close()


class Line(asyncio.Protocol):
    """One stream: the kept events' ids, and how many ms after its stamp each event came."""

    def __init__(self, ended: Callable[["Line"], None] = lambda _: None) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.retry_ms = 0
        self.ids: list[str] = []
        self.delays_ms: list[float] = []
        self._ended = ended
        self._seen = b""
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        now_ms = time.time() * 1000
        self._seen += data
        if not self.status:
            self.status = int(self._seen.split(b" ", 2)[1])
            self.answered.set_result(None)
        whole, end, self._seen = self._seen.rpartition(b"\n\n")
        for event in (whole + end).split(b"\n\n"):
            if found := RETRY.search(event):
                self.retry_ms = int(found[1])
            if found := ID.search(event):
                self.ids.append(found[1].decode())
                if stamp := STAMP.search(event):
                    self.delays_ms.append(now_ms - int(stamp[1]))
        self._news.set()

    async def until(self, event_id: str, within_s: float = 10.0) -> None:
        """Wait until this event has come."""
        async with asyncio.timeout(within_s):
            while event_id not in self.ids:
                self._news.clear()
                await self._news.wait()

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_result(None)
        self._ended(self)
