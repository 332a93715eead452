"""The hot road: answers and streams, served from the protocol without a router, a task or ASGI's messages; in `web`.

A router's frames would live as long as each stream does, and would cost as much as an answer itself. The two are in
the route table all the same, and in the document; what they share with the other routes is below (`guard`, `http`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from quizcast.errors import Draining, GameOver, QuizcastError
from quizcast.settings import Settings
from quizcast.web import answers, streams
from quizcast.web.guard import Headers, claims_of
from quizcast.web.http import EXPOSED_HEADERS, Endpoint, RawReply, Who, counted, problem
from quizcast.web.protocol import Handler, HotRequest
from quizcast.web.services import Services

GAMES = b"/api/v1/games/"
# 204 tells an EventSource to stop for good; anything else would have it come back for ever.
OVER: RawReply = (204, [(b"cache-control", b"no-store")], b"")

log = logging.getLogger(__name__)


class HotRoad:
    """The two routes; `services` is empty while the process starts and stops."""

    def __init__(self, settings: Settings, services: Callable[[], Services | None]) -> None:
        self._origins = settings.cors_origins
        self._services = services
        self._routes = {(b"POST", b"answers"): self._answer, (b"GET", b"events"): self._events}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, method: bytes, url: bytes) -> Handler | None:
        """What serves a request to this address, when it is one of the two kinds."""
        if not url.startswith(GAMES):
            return None
        path, _, query = url.partition(b"?")
        if b"%" in path:
            path = unquote_to_bytes(path)
        game_id, _, action = path[len(GAMES) :].partition(b"/")
        route = self._routes.get((method, action))
        return route and partial(route, game_id.decode("latin-1"), query)

    def _answer(self, game_id: str, _query: bytes, request: HotRequest) -> None:
        services, headers, told = self._services(), Headers(request.headers), self._told(request, answers.ENDPOINT)
        if services is None:
            told(problem(Draining(retry_after_s=1)))
        elif not answers.submit(services, game_id, headers, request.body, told):

            async def when_read() -> None:
                await services.games.quiz(game_id)
                answers.submit(services, game_id, headers, request.body, told)

            self._later(when_read(), told)

    def _events(self, game_id: str, query: bytes, request: HotRequest) -> None:
        services, told, began = self._services(), self._told(request, streams.ENDPOINT), time.perf_counter()
        if services is None:
            told(problem(Draining(retry_after_s=1)))
            return
        headers, asked = Headers(request.headers), parse_qs(query.decode("latin-1"))

        async def open_stream() -> None:
            claims = claims_of("GET", headers, Who.VIEWER, services.tokens, query=asked, game_id=game_id)
            resume = headers.text(b"last-event-id") or asked.get("last_event_id", [""])[0]
            try:
                arrival = await streams.arrive(services, claims, game_id, resume)
            except GameOver:
                told(OVER)
                return
            transport = request.stream(streams.ENDPOINT.status, [*streams.HEADERS, *self._allowing(headers)])
            if transport is not None:
                opened = streams.begin(services, arrival, transport)
                request.left = partial(streams.leave, services, game_id, opened)
                counted(streams.ENDPOINT, streams.ENDPOINT.status, began)

        self._later(open_stream(), told)

    def _told(self, request: HotRequest, endpoint: Endpoint) -> Callable[[RawReply], None]:
        began = time.perf_counter()

        def told(reply: RawReply) -> None:
            status, headers, body = reply
            if self._origins:
                headers = [*headers, *self._allowing(Headers(request.headers))]
            services = self._services()
            request.reply(status, headers, body, close=services is None or services.hub.draining)
            counted(endpoint, status, began)

        return told

    def _allowing(self, headers: Headers) -> Iterable[tuple[bytes, bytes]]:
        """What pages of other sites need to see of a reply, where they are allowed to; as the middleware has it."""
        if self._origins and (origin := headers.text(b"origin")):
            if "*" in self._origins or origin in self._origins:
                yield b"access-control-allow-origin", origin.encode("latin-1")
                yield b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()
            yield b"vary", b"Origin"

    def _later(self, work: Coroutine[Any, Any, None], told: Callable[[RawReply], None]) -> None:
        async def done() -> None:
            try:
                await work
            except QuizcastError as error:
                told(problem(error))
            except Exception:
                log.exception("a hot request could not be served")
                told(problem(QuizcastError()))

        task = asyncio.get_running_loop().create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
