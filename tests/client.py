"""The contract's calls, for tests: a host, a participant and a stream over real HTTP. It knows no module of quizcast.

Calls whose outcome is a test's business return the response; shortcuts for a test's set-up insist on success.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import httpx_sse

BASE = "/api/v1"
PASSWORD = "correct horse"
TIMEOUT_S = 10.0

_numbers = itertools.count(1)
_hosts: dict[str, "Host"] = {}  # a server's address → somebody who is a host there

QUIZ: dict[str, Any] = {
    "title": "Two questions",
    "questions": [
        {
            "kind": "single",
            "prompt": "Two and two?",
            "choices": [{"text": "three"}, {"text": "four", "correct": True}],
            "explanation": "Count on your fingers.",
        },
        {"kind": "true_false", "prompt": "Is water wet?", "correct": True},
    ],
}
# At once open, and closed by nobody but the host: what most tests want.
PATIENT = {"lead_ms": 0, "close_when_all_answered": False}


class Event(NamedTuple):
    """One event as it came over the wire; `id` is empty where there was none."""

    name: str
    id: str
    data: dict[str, Any]
    came_at: float  # ms since the epoch, this machine's clock, which is the server's too


class Stream:
    """An open event stream: `events` has all that came; `get` waits for what is to come."""

    def __init__(self, http: httpx.AsyncClient, url: str, headers: dict[str, str], params: dict[str, str]) -> None:
        self._http, self._url, self._headers, self._params = http, url, headers, params
        self.events: list[Event] = []
        self.status = 0
        self.headers = httpx.Headers()
        self.body = b""
        self._seen = 0
        self._more = asyncio.Event()
        self._opened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        await asyncio.wait_for(self._opened.wait(), TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with httpx_sse.aconnect_sse(
                self._http, "GET", self._url, headers=self._headers, params=self._params
            ) as source:
                self.status, self.headers = source.response.status_code, source.response.headers
                self._opened.set()
                if self.status != 200:
                    self.body = await source.response.aread()
                    return
                async for event in source.aiter_sse():
                    at = time.time() * 1000
                    # The decoder repeats the last id, as the standard has it; only a change is an id of this event.
                    new = event.id if not self.events or event.id != self._last_id() else ""
                    self.events.append(Event(event.event, new, json.loads(event.data), at))
                    self._more.set()
        finally:
            self._opened.set()
            self._more.set()

    def _last_id(self) -> str:
        return next((event.id for event in reversed(self.events) if event.id), "")

    @property
    def last_id(self) -> str:
        """Where to resume from."""
        return self._last_id()

    def named(self, name: str) -> list[Event]:
        """All events of this name so far."""
        return [event for event in self.events if event.name == name]

    def kept(self) -> list[tuple[str, str]]:
        """Ids and names of the kept events so far."""
        return [(event.id, event.name) for event in self.events if event.id]

    async def get(self, name: str, holds: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The data of the next event with this name (for which `holds`), after the last one that was got."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for place in range(self._seen, len(self.events)):
                    event = self.events[place]
                    if event.name == name and holds(event.data):
                        self._seen = place + 1
                        return event.data
                if self._task is not None and self._task.done():
                    raise AssertionError(f"the stream ended without {name}: {[one.name for one in self.events]}")
                self._more.clear()
                await self._more.wait()

    async def ended(self) -> None:
        """Wait until the server has ended the stream; nothing may be wrong with its ending."""
        if self._task is not None:
            await asyncio.wait_for(self._task, TIMEOUT_S)


class Api:
    """One client of one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Cookies would quietly stand in for tokens that a test leaves out.
        self.http = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT_S, cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])), trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        """One request below the base path."""
        headers = dict(options.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return await self.http.request(method, BASE + path, headers=headers, **options)

    async def register(self, name: str = "Ada") -> "Host":
        """A new host."""
        email = f"host{next(_numbers)}.{time.time_ns()}@example.org"
        made = await self.call("POST", "/auth/register", json={"email": email, "password": PASSWORD, "name": name})
        return Host(self, email, good(made, 201))

    async def host(self) -> "Host":
        """Somebody who is a host there, no matter who: the hash of a new one's password takes a tenth of a second."""
        known = _hosts.get(self.url)
        if known is None or (await self.call("GET", "/me", known.token)).status_code != 200:
            known = _hosts[self.url] = await self.register()
        return Host(self, known.email, known.session)

    async def join(self, pin: str, nickname: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Try to join."""
        body = {"pin": pin, "nickname": nickname, **more}
        return await self.call("POST", "/join", json=body, headers=headers or {})

    def stream(self, game_id: str, token: str = "", headers: dict[str, str] | None = None, **params: str) -> Stream:
        """A game's events."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        return Stream(self.http, f"{BASE}/games/{game_id}/events", sent, params)


class Host:
    """A host with a session."""

    def __init__(self, api: Api, email: str, session: dict[str, Any]) -> None:
        self.api = api
        self.email = email
        self.session = session
        self.token: str = session["access_token"]

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with the host's token."""
        return await self.api.call(method, path, self.token, **options)

    async def quiz(self, content: dict[str, Any] | None = None) -> dict[str, Any]:
        """A stored quiz."""
        return good(await self.call("POST", "/quizzes", json=content or QUIZ), 201)

    async def game(self, content: dict[str, Any] | None = None, **options: Any) -> "Game":
        """A game in its lobby, of `QUIZ` unless said, with `PATIENT` and the given options."""
        quiz = await self.quiz(content)
        made = await self.call("POST", "/games", json={"quiz_id": quiz["id"], "options": PATIENT | options})
        return Game(self, good(made, 201))


class Game:
    """A game, as its host sees it."""

    def __init__(self, host: Host, view: dict[str, Any]) -> None:
        self.host = host
        self.id: str = view["id"]
        self.pin: str = view["pin"]
        self.view = view

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request below the game's path, by the host."""
        return await self.host.call(method, f"/games/{self.id}{path}", **options)

    async def command(self, action: str, **body: Any) -> dict[str, Any]:
        """A command that has to succeed; the game after it."""
        self.view = good(await self.call("POST", f"/{action}", **({"json": body} if body else {})), 200)
        return self.view

    async def open(self, **body: Any) -> dict[str, Any]:
        """Ask a question."""
        return await self.command("open", **body)

    async def close(self) -> dict[str, Any]:
        """Close the question."""
        return await self.command("close")

    async def join(self, nickname: str) -> "Player":
        """A new participant."""
        return Player(self, good(await self.host.api.join(self.pin, nickname), 201))

    async def results(self, **params: str) -> dict[str, Any]:
        """The results as JSON."""
        return good(await self.call("GET", "/results", params=params), 200)

    async def results_with(self, answers: int) -> dict[str, Any]:
        """The results once that many answers have reached Postgres."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found = await self.results()
                given = [one for row in found["ranking"] for one in row["answers"] if one is not None]
                if len(given) >= answers:
                    return found
                await asyncio.sleep(0.05)

    async def results_without(self, participant_id: str) -> dict[str, Any]:
        """The results once that participant's removal has reached Postgres."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found = await self.results()
                if participant_id not in [row["participant_id"] for row in found["ranking"]]:
                    return found
                await asyncio.sleep(0.05)

    async def screen(self) -> str:
        """A screen's token."""
        token: str = good(await self.call("POST", "/screen"), 201)["token"]
        return token

    def stream(self, **options: Any) -> Stream:
        """The host's stream."""
        return self.host.api.stream(self.id, self.host.token, **options)


class Player:
    """A participant."""

    def __init__(self, game: Game, joined: dict[str, Any]) -> None:
        self.game = game
        self.api = game.host.api
        self.joined = joined
        self.id: str = joined["participant_id"]
        self.token: str = joined["token"]

    async def answer(self, question: int, answer: Any, **options: Any) -> httpx.Response:
        """Try to answer."""
        body = {"question": question, "answer": answer}
        return await self.api.call("POST", f"/games/{self.game.id}/answers", self.token, json=body, **options)

    async def answered(self, question: int, answer: Any) -> dict[str, Any]:
        """An answer that has to be taken; its receipt."""
        return good(await self.answer(question, answer), 202)

    async def state(self) -> httpx.Response:
        """The snapshot by polling."""
        return await self.api.call("GET", f"/games/{self.game.id}/state", self.token)

    def stream(self, **options: Any) -> Stream:
        """Their stream."""
        return self.api.stream(self.game.id, self.token, **options)


def good(response: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a response that has this status."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    body: dict[str, Any] = response.json()
    return body


def problem(response: httpx.Response) -> str:
    """The code of a problem document, which has to be one."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = response.json()
    assert (
        {"type", "title", "status", "code", "detail"}
        <= document.keys()
        <= {
            "type",
            "title",
            "status",
            "code",
            "detail",
            "errors",
        }
    )
    assert document["status"] == response.status_code
    assert all(one.keys() == {"path", "message"} for one in document.get("errors", ()))
    code: str = document["code"]
    return code


def refused(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return response.status_code, problem(response)
