"""The hot road: answers and streams, served from the protocol without a router, a task or ASGI's messages; in `web`.

A router's frames would live as long as each stream does, and would cost as much as an answer itself. The two are in
the route table all the same, and in the document; what they share with the other routes is below (`guard`, `http`).
"""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from functools import lru_cache, partial
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from quizcast import tracing
from quizcast.errors import Draining, GameOver, Overloaded, QuizcastError
from quizcast.hub import FULL_RETRY_S
from quizcast.metrics import Timings
from quizcast.settings import Settings
from quizcast.web import answers, participants, streams
from quizcast.web.answers import Respond
from quizcast.web.gate import Gate
from quizcast.web.guard import claims_of
from quizcast.web.http import (
    EXPOSED_HEADERS,
    SMALL_BODY_MAX,
    Endpoint,
    RawReply,
    Who,
    problem,
    request_timer,
)
from quizcast.web.partings import Partings
from quizcast.web.protocol import Handler, Headers, HotRequest, QuizcastProtocol, RawHeaders
from quizcast.web.services import Services

GAMES = b"/api/v1/games/"
JOIN = b"/api/v1/join"
ADDRESSES_KEPT = 100  # a hall answers to one, which is looked up thousands of times
# 204 tells an EventSource to stop for good; anything else would have it come back for ever.
OVER: RawReply = (204, [(b"cache-control", b"no-store")], b"")

Serve: TypeAlias = Callable[[Services, str, HotRequest, Respond], Coroutine[Any, Any, None] | None]

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
        self._partings = Partings()
        self._of_game = lru_cache(maxsize=ADDRESSES_KEPT)(self._find)
        self._tasks: set[asyncio.Task[None]] = set()
        # How long each request took that was served in this turn of the loop.
        self._served: defaultdict[Timings, list[float]] = defaultdict(list)

    def refuses(self, line: QuizcastProtocol, data: bytes) -> bool:
        """Whether what came in on an idle line is one whole request that is refused unparsed."""
        # What pages of other sites may see of it hangs on its headers: those are parsed first.
        return not self._origins and self._gate.refuses(line, data)

    def part(self, line: QuizcastProtocol) -> None:
        """Close a stream's line, whose client has ended it, in its turn."""
        self._partings.add(line.transport, line.loop)

    def handler(self, method: bytes, path: bytes) -> Handler | None:
        """What serves a request to this address, when it is one of the two kinds."""
        if b"%" in path or not path.startswith(b"/"):  # some proxies name the host in the address too
            path = unquote_to_bytes(path if path.startswith(b"/") else urlsplit(path).path)
        if path == JOIN:
            return self._join() if method == b"POST" else None
        return self._of_game(method, path)

    def _find(self, method: bytes, path: bytes) -> Handler | None:
        game_id, _, action = path.removeprefix(GAMES).partition(b"/")
        if not path.startswith(GAMES) or (route := self._routes.get((method, action))) is None:
            return None
        return partial(self._serve, *route, game_id.decode("latin-1"))

    def _serve(self, endpoint: Endpoint, serve: Serve, game_id: str, request: HotRequest) -> None:
        services = self._services()
        respond = partial(self._respond, services, endpoint, request, time.perf_counter())
        if services is None:
            respond(problem(Draining(retry_after_s=1)))
            return
        try:
            later = serve(services, game_id, request, respond)
        except Exception:
            log.exception("a hot request could not be served")
            respond(problem(QuizcastError()))
            return
        if later is not None:
            task = asyncio.get_running_loop().create_task(self._finish(later, respond))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _respond(
        self, services: Services | None, endpoint: Endpoint, request: HotRequest, began: float, reply: RawReply
    ) -> None:
        status, headers, body = reply
        close = services is None or services.hub.draining or len(request.body) > SMALL_BODY_MAX
        request.reply(status, self._told(headers, request.headers), body, close=close)
        self._count(endpoint, status, began)

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
            return partial(self._serve, participants.ENDPOINT, _refusing(problem(error)), "")
        return None

    def _answer(
        self, services: Services, game_id: str, request: HotRequest, respond: Respond
    ) -> Coroutine[Any, Any, None] | None:
        trace = tracing.begin(answers.ENDPOINT.method, answers.ENDPOINT.path, game_id) if tracing.on() else None
        if trace is not None:
            respond = _traced(trace, respond)
        if answers.submit(services, game_id, request, respond, trace):
            return None
        return self._answer_when_read(services, game_id, request, respond, trace)

    async def _answer_when_read(
        self, services: Services, game_id: str, request: HotRequest, respond: Respond, trace: tracing.Trace | None
    ) -> None:
        await services.games.quiz(game_id)
        if not answers.submit(services, game_id, request, respond, trace, counted=True):
            raise Overloaded(retry_after_s=1)  # so many games at once that the quiz is gone again

    def _events(
        self, services: Services, game_id: str, request: HotRequest, respond: Respond
    ) -> Coroutine[Any, Any, None] | None:
        began, headers, asked = time.perf_counter(), request.headers, parse_qs(request.query.decode("latin-1"))

        async def open_stream() -> None:
            claims = claims_of("GET", headers, Who.VIEWER, services.tokens, query=asked, game_id=game_id)
            resume = headers.text(b"last-event-id") or asked.get("last_event_id", [""])[0]
            try:
                arrival = await streams.arrive(services, claims, game_id, resume, lambda: request.disconnected)
            except GameOver:
                respond(OVER)
                return
            transport = request.stream(streams.ENDPOINT.status, self._told(streams.HEADERS, headers))
            if transport is not None:
                opened = streams.begin(services, arrival, transport)
                request.left = partial(streams.leave, services, game_id, opened)
                self._count(streams.ENDPOINT, streams.ENDPOINT.status, began)

        return open_stream()

    def _count(self, endpoint: Endpoint, status: int, began: float) -> None:
        """A request has been served that came in at `began`; a group's replies go out together, and count together."""
        if not self._served:
            asyncio.get_running_loop().call_soon(self._count_served)
        self._served[request_timer(endpoint.method, endpoint.path, status)].append(time.perf_counter() - began)

    def _count_served(self) -> None:
        for timer, seconds in self._served.items():
            timer.observe_all(seconds)
        self._served.clear()

    def _told(self, own: RawHeaders, headers: Headers) -> RawHeaders:
        """A reply's own headers, with what pages of other sites need to see of it, where they are allowed to."""
        return [*own, *self._allowing(headers)] if self._origins else own

    def _allowing(self, headers: Headers) -> Iterable[tuple[bytes, bytes]]:
        """As the middleware has it."""
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
    def serve(_services: Services, _game_id: str, _request: HotRequest, respond: Respond) -> None:
        respond(refusal)

    return serve
