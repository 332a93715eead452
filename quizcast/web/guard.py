"""Who is calling: the token of a request, wherever it was put, and what a cookie alone may not do; inside `web`."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.requests import cookie_parser

from quizcast.auth import Claims, Kind, Tokens
from quizcast.errors import NotAuthenticated, OriginRefused, QuizcastError, TokenInvalid
from quizcast.web.http import Who
from quizcast.web.protocol import Headers

HOST_COOKIE = "quizcast_host"
PARTICIPANT_COOKIE = "quizcast_participant"
REFRESH_COOKIE = "quizcast_refresh"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

KINDS: Mapping[Who, tuple[Kind, ...]] = {
    Who.HOST: (Kind.HOST,),
    Who.PARTICIPANT: (Kind.PARTICIPANT,),
    Who.VIEWER: (Kind.PARTICIPANT, Kind.HOST, Kind.SCREEN),
}
COOKIES: Mapping[Who, tuple[str, ...]] = {
    Who.HOST: (HOST_COOKIE,),
    Who.PARTICIPANT: (PARTICIPANT_COOKIE,),
    # The participant's first: a host who plays along in the same browser wants to see what players see. The host's own
    # page asks for the host's by `in_cookies`.
    Who.VIEWER: (PARTICIPANT_COOKIE, HOST_COOKIE),
}


Query: TypeAlias = Mapping[str, Sequence[str]]  # as `parse_qs` gives it


def claims_of(
    method: str, headers: Headers, who: Who, tokens: Tokens, *, query: Query | None = None, game_id: str = ""
) -> Claims:
    """Who calls, by `Authorization`, `?token=` in `query` (for viewers) or a cookie, in this order.

    Of a viewer's cookies, one that is of no use for this game is passed over. Raises `NotAuthenticated` or one of its
    kind, `OriginRefused`.
    """
    if given := headers.text(b"authorization"):
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenInvalid("use the Bearer scheme")
        return tokens.read(token.strip(), KINDS[who])
    if who is Who.VIEWER and query and (token := query.get("token", [""])[0]):
        return tokens.read(token, KINDS[who])
    claims = _of_cookies(headers, who, tokens, game_id)
    if method not in SAFE_METHODS:
        from_own_page(headers)
    return claims


def in_cookies(headers: Headers) -> bool:
    """Whether a page says that its session is the host's, in cookies: `X-Quizcast-Session: cookie`."""
    return headers.text(b"x-quizcast-session") == "cookie"


def from_own_page(headers: Headers) -> None:
    """Raise `OriginRefused` when a request comes from a page of another site."""
    if not _same_origin(headers):
        raise OriginRefused()


def _of_cookies(headers: Headers, who: Who, tokens: Tokens, game_id: str) -> Claims:
    header = headers.text(b"cookie")
    cookies = cookie_parser(header) if header else {}
    refusal: QuizcastError = NotAuthenticated()
    for name in COOKIES[Who.HOST if who is Who.VIEWER and in_cookies(headers) else who]:
        if not (token := cookies.get(name)):
            continue
        try:
            claims = tokens.read(token, KINDS[who])
        except QuizcastError as error:
            refusal = error
            continue
        if claims.kind is Kind.HOST or not game_id or claims.game_id == game_id:
            return claims
        refusal = TokenInvalid("the cookie is of another game")
    raise refusal


def _same_origin(headers: Headers) -> bool:
    """A browser says where a change comes from; what says nothing is no browser, and has no cookie by accident."""
    if (site := headers.get(b"sec-fetch-site")) is not None:
        return site in (b"same-origin", b"none")
    try:
        return b"origin" not in headers or urlsplit(headers.text(b"origin")).netloc == headers.text(b"host")
    except ValueError:  # no browser sends such an address
        return False
