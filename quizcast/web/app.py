"""The ASGI application of `quizcast web`: the route table, made into routes, around the parts of `services`.

Answers and streams take the hot road past it (`hot`); they are in the table all the same, and in the document.
"""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from quizcast.auth import Kind
from quizcast.errors import (
    Draining,
    MethodNotAllowed,
    NotFound,
    QuizcastError,
)
from quizcast.ids import new_id
from quizcast.logs import about
from quizcast.settings import Settings
from quizcast.web import answers, hosts, participants, streams
from quizcast.web.bodies import decode, read_body
from quizcast.web.guard import claims_of
from quizcast.web.hot import HotRoad, too_many
from quizcast.web.http import EXPOSED_HEADERS, Call, Endpoint, Who, problem_response, refused, request_timer, respond
from quizcast.web.images import Images
from quizcast.web.openapi import document
from quizcast.web.operations import Operations
from quizcast.web.pages import Pages
from quizcast.web.protocol import Handler, Headers, QuizcastProtocol
from quizcast.web.readiness import Readiness
from quizcast.web.services import Services, opened

BASE = "/api/v1"
ENDPOINTS = [*hosts.ENDPOINTS, *participants.ENDPOINTS, *answers.ENDPOINTS, *streams.ENDPOINTS]
OPERATIONS = frozenset({b"/livez", b"/readyz", b"/metrics", b"/api/v1/ops"})
SLOW_S = 1.0  # a request that took longer is worth a line in the log

log = logging.getLogger(__name__)


class App:
    """The application; `services` is there while the lifespan lasts."""

    def __init__(self, settings: Settings, *, trusted: str = "") -> None:
        """`trusted` are the proxies whose forwarding headers are believed, as uvicorn spells them."""
        self.settings = settings
        self.services: Services | None = None
        self._readiness = Readiness()
        self._operations = Operations(settings, self._at_work)
        self._hot_road = HotRoad(settings, lambda: self.services)
        self.refuses = self._hot_road.refuses  # whether a request is refused before it is parsed; the protocol asks
        self._pages = Pages(settings)
        self._images = Images()
        router = Starlette(
            routes=[*map(self._route, ENDPOINTS), *self._own(), *self._operations.routes(BASE), *self._pages.routes()],
            exception_handlers={QuizcastError: refused, HTTPException: self._http_exception, Exception: _fault},
            lifespan=self._lifespan,
        )
        router.router.redirect_slashes = False  # an address has one spelling; and a redirect would believe `Host`
        self._router = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", router), trusted))
        self._app: ASGIApp = self._measured
        if settings.cors_origins:
            self._app = CORSMiddleware(
                self._measured,
                allow_origins=settings.cors_origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=EXPOSED_HEADERS,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (or the lifespan), unless it goes by the hot road."""
        await self._app(scope, receive, send)

    def part(self, line: QuizcastProtocol) -> None:
        """Close a stream's line, whose client has ended it; the protocol asks."""
        self._hot_road.part(line)

    def hot_handler(self, method: bytes, path: bytes, *, full: bool) -> Handler | None:
        """What serves a request on the hot road, if that is where it goes; the protocol asks.

        `full`: its connection is one too many, and all but `OPERATIONS` are told so.
        """
        if full and path not in OPERATIONS:
            return too_many
        return self._hot_road.handler(method, path)

    def _route(self, endpoint: Endpoint) -> Route:
        async def serve(request: Request) -> Response:
            request.state.route = endpoint.path
            return await self._call(endpoint, request)

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
                query=parse_qs(request.scope["query_string"].decode("latin-1")),
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
        most = endpoint.body_max
        raw = await read_body(request.receive, most if isinstance(most, int) else getattr(self.settings, most))
        if endpoint.body is bytes:
            return raw
        if not raw and endpoint.body_optional:
            return None
        return decode(raw, endpoint.body, request.headers.get("content-type", ""), packed=endpoint.packed)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
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
                if self.services is None or self.services.hub.draining:
                    # So that a proxy has no idle line left to write into, just as we close it.
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        with about(request_id=request_id):
            try:
                await self._router(scope, receive, noting)
            finally:
                route = scope["state"]["route"]
                took_s = time.perf_counter() - began
                request_timer(scope["method"], route, status).observe(took_s)
                if took_s > SLOW_S:
                    log.warning("%s %s took %.1f s", scope["method"], route, took_s)

    async def _http_exception(self, request: Request, error: Exception) -> Response:
        if not (isinstance(error, HTTPException) and error.status_code == 405):
            is_for_people = "text/html" in request.headers.get("accept", "")
            if is_for_people and not request.scope["path"].startswith(BASE):
                return self._pages.missing(request)
            return problem_response(NotFound())
        response = problem_response(MethodNotAllowed())
        # The router tells of the first route with this path; others may have it with other methods.
        routes = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
        same = [one for one in routes if one.path == routes[0].path]
        response.headers["allow"] = ", ".join(sorted({method for one in same for method in one.methods}))
        return response

    # ── operations ────────────────────────────────────────────────────────────────────────────────────────────

    def _own(self) -> list[Route]:
        served: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/media/{media_id}": self._media,
            f"{BASE}/openapi.json": self._openapi,
        }
        return [Route(path, serve, methods=["GET"]) for path, serve in served.items()]

    async def _livez(self, request: Request) -> Response:
        request.state.route = "/livez"
        return JSONResponse({"status": "alive"}, headers={"cache-control": "no-store"})

    async def _readyz(self, request: Request) -> Response:
        request.state.route = "/readyz"
        ready, told = await self._readiness.look(self._at_work())
        return JSONResponse(told, 200 if ready else 503, {"cache-control": "no-store"})

    async def _media(self, request: Request) -> Response:
        request.state.route = "/media/{media_id}"
        return await self._images.serve(request, self._at_work().db)

    async def _openapi(self, request: Request) -> Response:
        request.state.route = "/openapi.json"
        return Response(msgspec.json.encode(document(ENDPOINTS, BASE)), media_type="application/json")

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with opened(self.settings) as services:
            self.services = services
            async with self._operations.keeping():
                yield
            self.services = None

    def _at_work(self) -> Services:
        if self.services is None:
            raise Draining(retry_after_s=1)
        return self.services


async def _fault(_request: Request, _error: Exception) -> Response:
    """A fault of ours: Starlette logs the traceback; the client gets a document like any other."""
    response = problem_response(QuizcastError())
    response.headers["connection"] = "close"  # as uvicorn does after a fault, without saying so
    return response
