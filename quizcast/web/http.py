"""Routes as data, replies, and errors as problem documents: what every route shares; inside `web`, near the bottom.

An `Endpoint` says all there is to say about a route; the routes and the OpenAPI document are both made from it.
Invariants: no input gets a traceback or a 500, and no token is ever in a URL that is logged, in a log or in an error.
"""

import functools
import math
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, cast

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from quizcast import errors
from quizcast.auth import Claims
from quizcast.errors import InvalidInput, QuizcastError
from quizcast.metrics import HTTP_SECONDS, Timings
from quizcast.settings import Settings
from quizcast.web.bodies import JSON, MSGPACK
from quizcast.web.protocol import HOT_BODY_MAX, RawHeaders
from quizcast.web.services import Services
from quizcast.wire.api import FieldProblem, ProblemDocument, encode_json, encode_msgpack

PROBLEM = "application/problem+json"
BODY_MAX = 4 * 1024 * 1024  # a quiz of 500 long questions
SMALL_BODY_MAX = HOT_BODY_MAX  # answers and joins
PAGE_DEFAULT = 20
PAGE_MAX = 100
RETRY_AFTER_MAX_S = 3600
EXPOSED_HEADERS = ("ETag", "Retry-After", "X-Request-Id")  # to pages of other sites, where they are allowed

# The most specific class decides. A test walks the tree and demands that every class finds its row.
STATUS: dict[type[QuizcastError], int] = {
    errors.MalformedBody: 400,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.InvalidInput: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.OperatorError: 500,
    errors.QuizcastError: 500,
}


class Who(StrEnum):  # whose hash is that of a string: an `Enum` computes its own in Python, at every look-up
    """Who may call a route; checked before the handler runs."""

    ANYONE = "anyone"
    HOST = "host"
    PARTICIPANT = "participant"
    VIEWER = "viewer"  # a participant, the game's host, or a screen


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter in the query string, for the OpenAPI document."""

    name: str
    type: Any
    says: str
    required: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer other than the endpoint's plain success: another status, extra headers, or bytes of another type."""

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = {}
    cookies: tuple[str, ...] = ()
    media_type: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as its handler sees it: who calls, with what. `claims` is None on routes for anyone."""

    services: Services
    request: Request
    claims: Claims | None
    body: Any

    @property
    def host_id(self) -> str:
        """The calling host."""
        return self.claims.subject if self.claims else ""

    @property
    def idempotency_key(self) -> str:
        """The client's name for this request and its retries; empty for none. Raises `InvalidInput` when absurd."""
        key = self.request.headers.get("idempotency-key", "")
        if len(key) > 200:
            raise InvalidInput("an Idempotency-Key has at most 200 characters")
        return key

    @property
    def base_url(self) -> str:
        """The address under which people reach quizcast, without a slash at the end."""
        return base_url(self.request, self.services.settings)

    @property
    def peer(self) -> str:
        """The client's address, as far as the trusted proxies tell it."""
        return self.request.client.host if self.request.client else "local"

    def param(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the query string."""
        return self.request.query_params.get(name, default)

    def page(self) -> tuple[int, str | None]:
        """`?limit=` and `?cursor=`. Raises `InvalidInput`."""
        text = self.query("limit", str(PAGE_DEFAULT))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= PAGE_MAX):
            raise InvalidInput(f"limit is a number from 1 to {PAGE_MAX}")
        return int(text), self.query("cursor") or None


def base_url(request: Request, settings: Settings) -> str:
    """The address under which people reach quizcast, without a slash at the end."""
    # Of `request.url` no more than this: it wants the query string to be UTF-8, which is the client's choice.
    own = request.base_url
    return (settings.public_url or f"{own.scheme}://{own.netloc}").rstrip("/")


Handler = Callable[[Call], Awaitable[Any]]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A route: what it is called with, what it answers, who may call it, what can go wrong.

    `body` is decoded from JSON (MessagePack too, where `packed`); None for no body, `bytes` for a body as it is,
    of one of the `body_types`. `body_max` is in bytes, or the setting that says how many.
    """

    method: str
    path: str
    handler: Handler | None  # None: served ahead of the router, by `web.hot`
    who: Who
    says: str
    status: int = 200
    others: Mapping[int, str] = {}  # other successes, without a body, and when they come
    body: Any = None
    body_optional: bool = False
    body_max: int | str = BODY_MAX
    body_types: tuple[str, ...] = ("application/octet-stream",)
    packed: bool = False
    reply: Any = None
    media_types: tuple[str, ...] = (JSON,)
    query: tuple[Query, ...] = ()
    idempotent: bool = False
    errors: tuple[type[QuizcastError], ...] = ()


PAGED = (
    Query(
        name="limit",
        type=Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)],
        says=f"items per page, 1 to {PAGE_MAX}; {PAGE_DEFAULT} unless said",
    ),
    Query(name="cursor", type=str, says="`next_cursor` of the page before"),
)


def status_of(error: QuizcastError) -> int:
    """The HTTP status of an error: that of its nearest ancestor in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


RawReply: TypeAlias = tuple[int, RawHeaders, bytes]  # status, headers without the length, body


def problem(error: QuizcastError) -> RawReply:
    """An error as a reply with its problem document."""
    status = status_of(error)
    document = ProblemDocument(
        type=f"urn:quizcast:error:{error.code}",
        title=error.title(),
        status=status,
        code=error.code,
        detail=error.detail or error.title(),
        errors=[FieldProblem(path=one.path, message=one.message) for one in error.problems] or UNSET,
    )
    headers = [(b"content-type", PROBLEM.encode()), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_s is not None:
        # Up: who comes back a moment too early is refused once more.
        seconds = min(RETRY_AFTER_MAX_S, max(1, math.ceil(error.retry_after_s)))
        headers.append((b"retry-after", str(seconds).encode()))
    return status, headers, encode_json(document)


@functools.lru_cache(maxsize=1000)  # finding a metric by its labels costs as much as the rest of counting an answer
def request_timer(method: str, route: str, status: int) -> Timings:
    """What counts requests of a kind."""
    return HTTP_SECONDS.labels(method, route, status)


def problem_response(error: QuizcastError) -> Response:
    """An error as a response."""
    status, headers, body = problem(error)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


async def refused(_request: Request, error: Exception) -> Response:
    """What Starlette makes of an error that a route raised."""
    return problem_response(cast("QuizcastError", error))


def respond(endpoint: Endpoint, value: Any, accept: str) -> Response:
    """What a handler returned, as a response."""
    reply = value if isinstance(value, Reply) else Reply(body=value)
    content, media_type = reply.body, reply.media_type
    if content is not None and media_type is None:
        packed = endpoint.packed and MSGPACK in accept
        content = encode_msgpack(content) if packed else encode_json(content)
        media_type = MSGPACK if packed else JSON
    headers = {"cache-control": "no-store", **reply.headers}
    response = Response(content, reply.status or endpoint.status, headers, media_type)
    for one in reply.cookies:
        response.headers.append("set-cookie", one)
    return response


def cookie(name: str, value: str, life_s: int, call: Call, *, path: str = "/", same_site: str = "Lax") -> str:
    """A cookie that scripts cannot read and other sites cannot send; `Secure` wherever the page is."""
    secure = "; Secure" if call.base_url.startswith("https://") else ""
    return f"{name}={value}; Path={path}; Max-Age={life_s}; HttpOnly; SameSite={same_site}{secure}"
