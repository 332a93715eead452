"""The ASGI application of `quizcast web`: the route table, made into routes, around the parts of `services`.

The two hot routes, answers and streams, are served ahead of Starlette's router: a router's frames would live as long
as each stream does, and cost as much as an answer itself. They are in the table all the same, and in the document.
An answer does without ASGI's task too, where it can: the protocol hands it over as a whole (`wants_whole`).
"""

import asyncio
import contextlib
import functools
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import msgspec
from prometheus_client import Histogram
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from quizcast import metrics
from quizcast.auth import Kind
from quizcast.errors import (
    Draining,
    MethodNotAllowed,
    NotFound,
    QuizcastError,
    TokenInvalid,
)
from quizcast.ids import new_id
from quizcast.logs import about
from quizcast.settings import Settings
from quizcast.web import answers, hosts, participants, streams
from quizcast.web.guard import Headers, claims_of
from quizcast.web.http import (
    SMALL_BODY_MAX,
    Call,
    Endpoint,
    RawReply,
    Who,
    decode,
    problem,
    problem_response,
    read_body,
    respond,
)
from quizcast.web.openapi import document
from quizcast.web.protocol import WholeRequest
from quizcast.web.services import Services, opened

BASE = "/api/v1"
GAMES = f"{BASE}/games/"
ENDPOINTS = [*hosts.ENDPOINTS, *participants.ENDPOINTS, *answers.ENDPOINTS, *streams.ENDPOINTS]
RAW_GAMES, RAW_ANSWERS = GAMES.encode(), b"/answers"
ANSWERS_ROUTE = "/games/{game_id}/answers"
SLOW_S = 1.0  # a request that took longer is worth a line in the log

log = logging.getLogger(__name__)

HotRoute = Callable[[Scope, Receive, Send, str], Awaitable[None]]


class App:
    """The application; `services` is there while the lifespan lasts."""

    def __init__(self, settings: Settings, *, trusted: str = "") -> None:
        """`trusted` are the proxies whose forwarding headers are believed, as uvicorn spells them."""
        self.settings = settings
        self.services: Services | None = None
        self._hot: dict[tuple[str, str], HotRoute] = {
            ("POST", "answers"): self._answer,
            ("GET", "events"): self._events,
        }
        router = Starlette(
            routes=[*map(self._route, ENDPOINTS), *self._operations()],
            exception_handlers={HTTPException: _http_exception, Exception: _fault},
            lifespan=self._lifespan,
        )
        router.router.redirect_slashes = False  # an address has one spelling; and a redirect would believe `Host`
        self._router = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", router), trusted))
        self._app: ASGIApp = self._dispatch
        if settings.cors_origins:
            self._app = CORSMiddleware(
                self._dispatch,
                allow_origins=settings.cors_origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["ETag", "Retry-After", "X-Request-Id"],
            )

    # Plain functions that hand on a coroutine: an `async def` would be one frame more for the life of each stream.

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request (or the lifespan)."""
        return self._app(scope, receive, send)

    def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._router(scope, receive, send)
        if scope["path"].startswith(GAMES):
            game_id, _, action = scope["path"][len(GAMES) :].partition("/")
            if hot := self._hot.get((scope["method"], action)):
                return hot(scope, receive, send, game_id)
        return self._measured(scope, receive, send)

    # ── the hot routes ────────────────────────────────────────────────────────────────────────────────────────

    def wants_whole(self, url: bytes) -> bool:
        """Whether POSTs to this address are answers, to be served without a task as soon as their body is there."""
        # Pages of other sites, where they are allowed, need headers that are seen to further up.
        return url.startswith(RAW_GAMES) and url.endswith(RAW_ANSWERS) and not self.settings.cors_origins

    def serve_whole(self, request: WholeRequest) -> bool:
        """Serve an answer; False when something has to be read for it first, and `_answer` has to see to it."""
        began, services = time.perf_counter(), self.services
        if services is None:
            return False

        def told(reply: RawReply) -> None:
            request.reply(*reply, close=services.hub.draining)
            _count("POST", ANSWERS_ROUTE, reply[0], began)

        game_id = request.url[len(RAW_GAMES) : -len(RAW_ANSWERS)].decode("latin-1")
        return answers.submit(services, game_id, Headers(request.headers), request.body, told)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, game_id: str) -> None:
        began, services = time.perf_counter(), self._at_work()
        told: asyncio.Future[RawReply] = asyncio.get_running_loop().create_future()
        headers = Headers(scope["headers"])
        try:
            body = await read_body(receive, SMALL_BODY_MAX)
            if not answers.submit(services, game_id, headers, body, told.set_result):
                await services.games.quiz(game_id)
                answers.submit(services, game_id, headers, body, told.set_result)
        except QuizcastError as error:
            told.set_result(problem(error))
        reply = await told
        await _send(send, reply, services.hub.draining)
        _count("POST", ANSWERS_ROUTE, reply[0], began)

    async def _events(self, scope: Scope, receive: Receive, send: Send, game_id: str) -> None:
        began, services = time.perf_counter(), self._at_work()
        try:
            claims = claims_of(
                scope["method"],
                Headers(scope["headers"]),
                Who.VIEWER,
                services.tokens,
                query=scope["query_string"],
                game_id=game_id,
            )
            opened = await streams.open_stream(services, claims, game_id, scope, send)
        except QuizcastError as error:
            reply = problem(error)
            await _send(send, reply)
            _count("GET", "/games/{game_id}/events", reply[0], began)
            return
        if opened is None:
            return
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            streams.close_stream(services, game_id, opened)

    # ── everything else ───────────────────────────────────────────────────────────────────────────────────────

    def _route(self, endpoint: Endpoint) -> Route:
        async def serve(request: Request) -> Response:
            request.state.route = endpoint.path
            try:
                return await self._call(endpoint, request)
            except QuizcastError as error:
                return problem_response(error)

        return Route(f"{BASE}{endpoint.path}", serve, methods=[endpoint.method])

    async def _call(self, endpoint: Endpoint, request: Request) -> Response:
        services = self._at_work()
        handler = endpoint.handler
        if handler is None:
            raise MethodNotAllowed()
        claims = None
        if endpoint.who is not Who.ANYONE:
            game_id = request.path_params.get("game_id", "")
            claims = claims_of(
                endpoint.method,
                Headers(request.scope["headers"]),
                endpoint.who,
                services.tokens,
                query=request.scope["query_string"],
                game_id=game_id,
            )
        body = await self._body(endpoint, request)
        ids = {name: value for name, value in request.path_params.items() if name.endswith("_id")}
        if claims is not None and claims.kind is Kind.PARTICIPANT:
            ids["participant_id"] = claims.subject
        with about(**ids):
            call = Call(services=services, request=request, claims=claims, body=body)
            return respond(endpoint, await handler(call), request.headers.get("accept", ""))

    async def _body(self, endpoint: Endpoint, request: Request) -> object:
        if endpoint.body is None:
            return None
        if endpoint.body is bytes:
            return await read_body(request.receive, self.settings.import_bytes_max)
        raw = await read_body(request.receive, endpoint.body_max)
        if not raw and endpoint.body_optional:
            return None
        return decode(raw, endpoint.body, request.headers.get("content-type", ""), packed=endpoint.packed)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 500
        request_id = Headers(scope["headers"]).text(b"x-request-id")
        if not (0 < len(request_id) <= 64 and request_id.replace("-", "").isalnum()):
            request_id = new_id()
        scope.setdefault("state", {})["route"] = "unknown"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with about(request_id=request_id):
            try:
                await self._router(scope, receive, noting)
            finally:
                route = scope["state"]["route"]
                _count(scope["method"], route, status, began)
                took_s = time.perf_counter() - began
                if took_s > SLOW_S:
                    log.warning("%s %s took %.1f s", scope["method"], route, took_s)

    # ── operations ────────────────────────────────────────────────────────────────────────────────────────────

    def _operations(self) -> list[Route]:
        served: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            f"{BASE}/openapi.json": self._openapi,
        }
        return [Route(path, serve, methods=["GET"]) for path, serve in served.items()]

    async def _livez(self, request: Request) -> Response:
        request.state.route = "/livez"
        return JSONResponse({"status": "alive"}, headers={"cache-control": "no-store"})

    async def _readyz(self, request: Request) -> Response:
        request.state.route = "/readyz"
        services = self._at_work()
        checks = {"redis": services.live.ping, "postgres": services.db.check}
        found = {name: await _checked(check) for name, check in checks.items()}
        found["draining"] = Draining.code if services.hub.draining else "ok"
        ready = all(state == "ok" for state in found.values())
        return JSONResponse(
            {"status": "ready" if ready else "not ready", "checks": found},
            200 if ready else 503,
            {"cache-control": "no-store"},
        )

    async def _metrics(self, request: Request) -> Response:
        request.state.route = "/metrics"
        wanted = f"Bearer {self.settings.metrics_token}".encode()
        given = request.headers.get("authorization", "").encode()
        if self.settings.metrics_token and not hmac.compare_digest(given, wanted):
            return problem_response(TokenInvalid())
        return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE_LATEST)

    async def _openapi(self, request: Request) -> Response:
        request.state.route = "/openapi.json"
        return Response(msgspec.json.encode(document(ENDPOINTS, BASE)), media_type="application/json")

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with opened(self.settings) as services:
            self.services = services
            yield

    def _at_work(self) -> Services:
        if self.services is None:
            raise Draining()
        return self.services


async def _send(send: Send, reply: RawReply, close: bool = False) -> None:
    status, headers, body = reply
    length = (b"content-length", str(len(body)).encode())
    headers = [*headers, length, streams.CLOSING] if close else [*headers, length]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _checked(check: Callable[[], Awaitable[None]]) -> str:
    try:
        await check()
    except QuizcastError as error:
        return error.code
    return "ok"


def _count(method: str, route: str, status: int, began: float) -> None:
    _timer(method, route, status).observe(time.perf_counter() - began)


@functools.lru_cache(maxsize=1000)  # finding a metric by its labels costs as much as the rest of counting an answer
def _timer(method: str, route: str, status: int) -> Histogram:
    return metrics.HTTP_SECONDS.labels(method, route, status)


async def _http_exception(request: Request, error: Exception) -> Response:
    if not (isinstance(error, HTTPException) and error.status_code == 405):
        return problem_response(NotFound())
    response = problem_response(MethodNotAllowed())
    # The router tells of the first route with this path; others may have it with other methods.
    routes = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
    response.headers["allow"] = ", ".join(sorted({method for one in routes for method in one.methods}))
    return response


async def _fault(_request: Request, _error: Exception) -> Response:
    """A fault of ours: Starlette logs the traceback; the client gets a document like any other."""
    return problem_response(QuizcastError())
