"""The hot road: answers and streams, served from the protocol without a router, a task or ASGI's messages; in `web`.

A router's frames would live as long as each stream does, and would cost as much as an answer itself. The two are in
the route table all the same, and in the document; what they share with the other routes is below (`guard`, `http`).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from quizcast import tracing
from quizcast.errors import Draining, GameOver, Overloaded, QuizcastError
from quizcast.hub import FULL_RETRY_S
from quizcast.settings import Settings
from quizcast.web import answers, participants, streams
from quizcast.web.gate import Gate
from quizcast.web.guard import Headers, claims_of
from quizcast.web.http import EXPOSED_HEADERS, SMALL_BODY_MAX, Endpoint, RawReply, Who, counted, problem
from quizcast.web.protocol import Handler, HotRequest, Refusal
from quizcast.web.services import Services

GAMES = b"/api/v1/games/"
JOIN = b"/api/v1/join"
# 204 tells an EventSource to stop for good; anything else would have it come back for ever.
OVER: RawReply = (204, [(b"cache-control", b"no-store")], b"")

Respond: TypeAlias = Callable[[RawReply], None]
Serve: TypeAlias = Callable[[Services, str, Headers, bytes, HotRequest, Respond], Coroutine[Any, Any, None] | None]

log = logging.getLogger(__name__)


def too_many(request: HotRequest) -> None:
    """Refuse a request of one connection too many, and end that."""
    status, headers, body = problem(Overloaded("too many connections", retry_after_s=random.choice(FULL_RETRY_S)))
    request.reply(status, headers, body, close=True)


class HotRoad:
    """The two routes; `services` gives None while the process starts and stops."""

    def __init__(self, settings: Settings, services: Callable[[], Services | None]) -> None:
        self._origins = settings.cors_origins
        self._services = services
        self._routes = {
            (b"POST", b"answers"): (answers.ENDPOINT, self._answer),
            (b"GET", b"events"): (streams.ENDPOINT, self._events),
        }
        self._gate = Gate(services)
        self._tasks: set[asyncio.Task[None]] = set()

    def refusal(self, data: bytes) -> Refusal | None:
        """What is said to what came in on an idle line, if it is one whole request that is to be refused unparsed."""
        # What pages of other sites may see of it hangs on its headers: those are parsed first.
        return None if self._origins else self._gate.refusal(data)

    def handler(self, method: bytes, url: bytes) -> Handler | None:
        """What serves a request to this address, when it is one of the two kinds."""
        path, _, query = url.partition(b"?")
        if b"%" in path or not path.startswith(b"/"):  # some proxies name the host in the address too
            path = unquote_to_bytes(path if path.startswith(b"/") else urlsplit(path).path)
        if (method, path) == (b"POST", JOIN):
            return self._join()
        if not path.startswith(GAMES):
            return None
        game_id, _, action = path[len(GAMES) :].partition(b"/")
        if (route := self._routes.get((method, action))) is None:
            return None
        return partial(self._serve, *route, game_id.decode("latin-1"), query)

    def _serve(self, endpoint: Endpoint, serve: Serve, game_id: str, query: bytes, request: HotRequest) -> None:
        began, headers = time.perf_counter(), Headers(request.headers)
        services = self._services()

        def respond(reply: RawReply) -> None:
            status, own, body = reply
            close = services is None or services.hub.draining or len(request.body) > SMALL_BODY_MAX
            request.reply(status, [*own, *self._allowing(headers)], body, close=close)
            counted(endpoint, status, began)

        if services is None:
            respond(problem(Draining(retry_after_s=1)))
            return
        try:
            later = serve(services, game_id, headers, query, request, respond)
        except Exception:
            log.exception("a hot request could not be served")
            respond(problem(QuizcastError()))
            return
        if later is not None:
            task = asyncio.get_running_loop().create_task(self._finish(later, respond))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, work: Coroutine[Any, Any, None], respond: Respond) -> None:
        try:
            await work
        except QuizcastError as error:
            respond(problem(error))
        except Exception:
            log.exception("a hot request could not be served")
            respond(problem(QuizcastError()))

    def _join(self) -> Handler | None:
        """Joins take the router's road, but for those that are one too many: they are refused here."""
        if (services := self._services()) is None:
            return None
        try:
            services.intake.admit_join()
        except QuizcastError as error:
            return partial(self._serve, participants.ENDPOINT, _refusing(problem(error)), "", b"")
        return None

    def _answer(
        self, services: Services, game_id: str, headers: Headers, _query: bytes, request: HotRequest, respond: Respond
    ) -> Coroutine[Any, Any, None] | None:
        trace = tracing.begin(answers.ENDPOINT.method, answers.ENDPOINT.path, game_id)
        if trace is not None:
            respond = _traced(trace, respond)
        if answers.submit(services, game_id, headers, request.body, respond, trace):
            return None

        async def when_read() -> None:
            try:
                await services.games.quiz(game_id)
                if not answers.submit(services, game_id, headers, request.body, respond, trace):
                    raise Overloaded(retry_after_s=1)  # so many games at once that the quiz is gone again
            except QuizcastError as error:
                respond(problem(error))

        return when_read()

    def _events(
        self, services: Services, game_id: str, headers: Headers, query: bytes, request: HotRequest, respond: Respond
    ) -> Coroutine[Any, Any, None] | None:
        began, asked = time.perf_counter(), parse_qs(query.decode("latin-1"))

        async def open_stream() -> None:
            claims = claims_of("GET", headers, Who.VIEWER, services.tokens, query=asked, game_id=game_id)
            resume = headers.text(b"last-event-id") or asked.get("last_event_id", [""])[0]
            try:
                arrival = await streams.arrive(services, claims, game_id, resume, lambda: request.disconnected)
            except GameOver:
                respond(OVER)
                return
            transport = request.stream(streams.ENDPOINT.status, [*streams.HEADERS, *self._allowing(headers)])
            if transport is not None:
                opened = streams.begin(services, arrival, transport)
                request.left = partial(streams.leave, services, game_id, opened)
                counted(streams.ENDPOINT, streams.ENDPOINT.status, began)

        return open_stream()

    def _allowing(self, headers: Headers) -> Iterable[tuple[bytes, bytes]]:
        """What pages of other sites need to see of a reply, where they are allowed to; as the middleware has it."""
        if not self._origins:
            return
        origin = headers.text(b"origin")
        if origin and "*" in self._origins:
            yield b"access-control-allow-origin", b"*"
        elif origin in self._origins:
            yield b"access-control-allow-origin", origin.encode("latin-1")
        if origin:
            yield b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()
        yield b"vary", b"Origin"


def _traced(trace: tracing.Trace, respond: Respond) -> Respond:
    def told(reply: RawReply) -> None:
        respond(reply)
        trace.end(reply[0])

    return told


def _refusing(refusal: RawReply) -> Serve:
    def serve(
        _services: Services, _id: str, _headers: Headers, _query: bytes, _request: HotRequest, respond: Respond
    ) -> None:
        respond(refusal)

    return serve
