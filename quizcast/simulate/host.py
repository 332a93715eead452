"""A simulated host: an account, a quiz, a game, and the commands that play it, over the public API; floor 8.

Every command can be sent twice without harm, so what got no answer is sent again until `timeout_s` has passed.
The host's stream is the record against which the participants' streams are counted.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import msgspec

from quizcast.errors import ServerRefused
from quizcast.simulate.calls import Connection, Reply, insist
from quizcast.simulate.client import ATTEMPT_TIMEOUT_S, Address, until, with_body
from quizcast.simulate.events import Closed, Event, Question, Reader
from quizcast.simulate.stream import Stream

T = TypeVar("T")

RESULTS_TIMEOUT_S = 60.0  # ten thousand participants' answers are tens of megabytes


class Game(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator needs to know of a game."""

    id: str
    pin: str
    quiz_id: str
    join_url: str
    phase: str
    question_count: int
    participants: int


class ResultAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One stored answer."""

    question: int
    answer: Any
    correct: bool | None
    points: float
    received_at: int


class ResultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One participant's place and answers."""

    rank: int
    participant_id: str
    nickname: str
    score: float
    answers: list[ResultAnswer | None]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /games/{game_id}/results?format=json`, as far as it is compared."""

    ranking: list[ResultRow]


class _Session(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str = ""


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str = ""
    detail: str = ""


def _decoded(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise ServerRefused(f"the answer is not what a quizcast server would say: {error}") from error


class Host:
    """A host who is logged in, and after `create_game` or `take` has a game.

    `record` holds the kept events of its stream in order, each once; `expected` the names of those that its commands
    must have brought about. Methods raise `ServerRefused` when the server will not, or does not answer in time.
    """

    def __init__(
        self, address: Address, access_token: str, *, refresh_token: str = "", timeout_s: float = 30.0
    ) -> None:
        self.record: list[Event] = []
        self.expected: list[str] = []
        self.reader = Reader()
        self.stream: Stream | None = None
        self.game: Game | None = None
        self.quiz: Mapping[str, Any] | None = None
        self._address = address
        self._access_token = access_token
        self._refresh_token = refresh_token
        self._timeout_s = timeout_s
        self._rng = random.Random()
        self._connection = Connection(address)
        self._calling = asyncio.Lock()  # a connection carries one call at a time
        self._listening: asyncio.Task[None] | None = None
        self._closed: dict[int, Closed] = {}
        self._questions: dict[int, Question] = {}
        self.opened: dict[int, int] = {}  # question → `opens_at`

    # ── accounts ────────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    async def register(cls, address: Address, *, timeout_s: float = 30.0) -> Self:
        """A new host with throwaway credentials."""
        credentials = {
            "email": f"simulated-{secrets.token_hex(8)}@example.com",
            "password": secrets.token_urlsafe(24),
            "name": "Simulated host",
        }
        return await cls._enter(address, "/auth/register", credentials, timeout_s)

    @classmethod
    async def login(cls, address: Address, email: str, password: str, *, timeout_s: float = 30.0) -> Self:
        """A host who has an account."""
        return await cls._enter(address, "/auth/login", {"email": email, "password": password}, timeout_s)

    @classmethod
    async def _enter(cls, address: Address, path: str, body: dict[str, str], timeout_s: float) -> Self:
        host = cls(address, "", timeout_s=timeout_s)
        session = _decoded(await host._call("POST", path, body), _Session)
        host._access_token, host._refresh_token = session.access_token, session.refresh_token
        return host

    # ── quiz and game ───────────────────────────────────────────────────────────────────────────────────────

    async def create_quiz(self, quiz: Mapping[str, Any]) -> str:
        """Store a quiz (the contract's Quiz without id and version); its id."""
        made = await self._call("POST", "/quizzes", quiz, idempotency_key=secrets.token_hex(16))
        self.quiz = quiz
        return _decoded(made, _Made).id

    async def create_game(self, quiz_id: str, options: Mapping[str, Any]) -> Game:
        """Open a lobby and this host's stream."""
        body = {"quiz_id": quiz_id, "options": options}
        made = await self._call("POST", "/games", body, idempotency_key=secrets.token_hex(16))
        self.game = _decoded(made, Game)
        await self._listen()
        return self.game

    async def take(self, game_id: str) -> Game:
        """Take over a game of this host's that is still in its lobby, and open the stream."""
        self.game = _decoded(await self._call("GET", f"/games/{game_id}"), Game)
        self.quiz = _decoded(await self._call("GET", f"/quizzes/{self.game.quiz_id}"), dict[str, Any])
        await self._listen()
        return self.game

    async def open(self, question: int, time_limit_ms: int | None = None) -> Question:
        """Ask a question; returns when it has reached the host's own stream."""
        body = {"question": question} | ({"time_limit_ms": time_limit_ms} if time_limit_ms else {})
        await self._command("open", body)
        self._expect("question")
        if not await until(lambda: question in self._questions, self._timeout_s):
            raise ServerRefused(
                f"question {question} was opened, but no `question` event came in {self._timeout_s:g} s"
            )
        return self._questions[question]

    async def closed(self, question: Question, now: Callable[[], float]) -> str:
        """Wait until the question is closed, closing it when the server does not in time; the reason it gave.

        `now` is the server's clock in epoch seconds, as well as it is known.
        """
        left_s = max(0.0, question.closes_at / 1000 - now()) + self._timeout_s / 3
        if not await until(lambda: question.index in self._closed, left_s):
            await self._command("close", {}, or_codes=("out_of_phase",))
            await until(lambda: question.index in self._closed, self._timeout_s / 3)
        self._expect("closed")
        seen = self._closed.get(question.index)
        return seen.reason if seen else "unseen"

    async def leaderboard(self) -> None:
        """Push the leaderboard."""
        await self._command("leaderboard", {})
        self._expect("leaderboard")

    async def finish(self) -> None:
        """End the game."""
        await self._command("finish", {})
        self._expect("finished")

    async def results(self) -> Results:
        """The ranking and the answers that are stored by now."""
        body = await self._call("GET", f"/games/{self._game_id}/results?format=json", attempt_s=RESULTS_TIMEOUT_S)
        return _decoded(body, Results)

    async def leave(self) -> None:
        """Close the stream and the connection."""
        if self.stream is not None:
            self.stream.stop()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        self._connection.close()

    def sweep(self, now: float) -> None:
        """Look after a dead line; to be called about once a second."""
        if self.stream is not None:
            self.stream.sweep(now)

    # ── underneath ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _game_id(self) -> str:
        if self.game is None:
            raise ServerRefused("the host has no game yet")
        return self.game.id

    def _expect(self, name: str) -> None:
        self.expected.append(name)

    async def _listen(self) -> None:
        path = f"{self._address.prefix}/api/v1/games/{self._game_id}/events"
        self.stream = stream = Stream(
            self._address,
            path,
            self._access_token,
            reader=self.reader,
            rng=self._rng,
            on_event=self._heard,
        )
        self._listening = asyncio.get_running_loop().create_task(self._keep_listening(stream))
        if not await until(lambda: stream.open or stream.over, self._timeout_s) or stream.over:
            raise ServerRefused(f"the host's event stream does not open (status {stream.refused or 'none'})")

    async def _keep_listening(self, stream: Stream) -> None:
        """A game may outlive the access token that its stream was opened with."""
        await stream.run()
        while stream.refused == 401 and self._refresh_token:
            async with self._calling:
                await self._refresh()
            stream.token, stream.refused, stream.over = self._access_token, 0, False
            await stream.run()

    def _heard(self, event: Event, at: float) -> None:
        if event.kept and event.id not in {old.id for old in self.record}:
            self.record.append(event)
        if isinstance(event.body, Question):
            self._questions[event.body.index] = event.body
            self.opened[event.body.index] = event.body.opens_at
        elif isinstance(event.body, Closed):
            self._closed[event.body.index] = event.body

    async def _command(self, name: str, body: Mapping[str, Any], or_codes: tuple[str, ...] = ()) -> None:
        await self._call("POST", f"/games/{self._game_id}/{name}", body, or_codes=or_codes)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str = "",
        or_codes: tuple[str, ...] = (),
        attempt_s: float = ATTEMPT_TIMEOUT_S,
    ) -> bytes:
        """The answer's body. Problems whose code is in `or_codes` are as good as success."""
        async with self._calling:
            reply = await self._send(method, path, body, idempotency_key, attempt_s)
            if reply.status == 401 and self._refresh_token:
                await self._refresh()
                reply = await self._send(method, path, body, idempotency_key, attempt_s)
        if reply.status < 300:
            return reply.body
        try:
            problem = msgspec.json.decode(reply.body, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem()
        if problem.code in or_codes:
            return b""
        raise ServerRefused(f"{method} {path}: {reply.status} {problem.code} {problem.detail}".rstrip())

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, idempotency_key: str, attempt_s: float
    ) -> Reply:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._access_token:
            headers["Authorization"] = f"Bearer {self._access_token}"
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        head = self._address.head(method, f"{self._address.prefix}/api/v1{path}", headers)
        request = with_body(head, b"" if body is None else msgspec.json.encode(body))
        timeout_s = max(self._timeout_s, attempt_s)
        reply = await insist(self._connection, request, self._rng, timeout_s=timeout_s, attempt_s=attempt_s)
        if reply is None:
            raise ServerRefused(f"{method} {path}: no answer in {timeout_s:g} s")
        return reply

    async def _refresh(self) -> None:
        spent, self._refresh_token = self._refresh_token, ""
        reply = await self._send("POST", "/auth/refresh", {"refresh_token": spent}, "", ATTEMPT_TIMEOUT_S)
        if reply.status != 200:
            raise ServerRefused(f"the host's session cannot be refreshed: {reply.status}")
        session = _decoded(reply.body, _Session)
        self._access_token, self._refresh_token = session.access_token, session.refresh_token
