"""Accounts and sessions; one of the rooms of `hosts`.

A program gets its tokens in the body. A page asks for cookies by `X-Quizcast-Session: cookie` and never sees a token,
so no script that finds its way in can carry one off. Its tabs share one refresh token and may spend it at the same
moment, or miss the reply: what follows a token that came in a cookie is fixed, and for a while it is given out again.
"""

from typing import Any

import msgspec
from starlette.requests import cookie_parser

from quizcast.auth import Kind, mint_refresh, read_refresh
from quizcast.errors import (
    CredentialsWrong,
    EmailTaken,
    NotAuthenticated,
    OriginRefused,
    PostgresUnavailable,
    RefreshInvalid,
    TokenInvalid,
    TooMany,
)
from quizcast.store import accounts
from quizcast.web.guard import HOST_COOKIE, REFRESH_COOKIE, from_own_page, in_cookies
from quizcast.web.hosts.parts import host_route
from quizcast.web.http import Call, Endpoint, Handler, Reply, Who, cookie
from quizcast.web.protocol import Headers
from quizcast.wire.api import (
    HostView,
    Login,
    RefreshRequest,
    Register,
    Session,
)

REFRESH_PATH = "/api/v1/auth"  # nothing else gets the refresh cookie
GRACE_S = 30  # for a reply that was lost and asked for again; longer, and a thief has longer, too


async def register(call: Call) -> Any:
    """A new account, logged in."""
    wish: Register = call.body
    services = call.services
    await services.throttle.register(call.peer)
    digest = await services.passwords.hash(wish.password)
    async with services.db.write() as conn:
        host = await accounts.create_host(conn, email=wish.email, name=wish.name, password_hash=digest)
    return await _logged_in(call, host)


async def login(call: Call) -> Any:
    """A session for an address and its password; the same words and the same time whichever of them is wrong."""
    wish: Login = call.body
    services = call.services
    await services.throttle.login(wish.email, call.peer)
    async with services.db.write() as conn:  # not a replica: the account may be seconds old
        found = await accounts.host_by_email(conn, wish.email)
    fits = await services.passwords.verify(wish.password, found.password_hash if found else None)
    if found is None or not fits:
        raise CredentialsWrong()
    if services.passwords.is_dated(found.password_hash):
        digest = await services.passwords.hash(wish.password)
        async with services.db.write() as conn:
            await accounts.update_password(conn, found.id, digest)
    return await _logged_in(call, found)


async def refresh(call: Call) -> Any:
    """A new session for a refresh token, which is spent by that; shown again, it ends the whole family."""
    services, by_cookie = call.services, call.body is None
    text = _refresh_cookie(call) if by_cookie else call.body.refresh_token
    spent = read_refresh(text)
    following, fresh = services.tokens.next_refresh(text) if by_cookie else mint_refresh(spent.family)
    life_s, grace_s = services.settings.refresh_ttl_s, GRACE_S if by_cookie else 0
    host = await accounts.rotate_login(services.db, spent.family, spent.digest, fresh.digest, life_s, grace_s)
    return _session(call, host, following, by_cookie=by_cookie)


async def logout(call: Call) -> Any:
    """End a session. The access token lives on for its few minutes; it is short for that reason."""
    family = ""
    try:
        family = read_refresh(_refresh_cookie(call) if call.body is None else call.body.refresh_token).family
    except NotAuthenticated:
        if call.body is not None:
            raise
        # There is nothing to end, and what is left in the browser goes all the same.
    if family:
        async with call.services.db.write() as conn:
            await accounts.end_login(conn, family)
    return Reply(cookies=_cookies(call, "", 0, "", 0))


async def me(call: Call) -> Any:
    """The calling host."""
    async with call.services.db.read() as conn:
        host = await accounts.host_by_id(conn, call.host_id)
    if host is None:
        async with call.services.db.write() as conn:  # an account may be younger than what a replica knows
            host = await accounts.host_by_id(conn, call.host_id)
    if host is None:
        raise TokenInvalid("the account is gone")
    return _host_view(host)


async def _logged_in(call: Call, host: accounts.Host) -> Reply:
    text, fresh = mint_refresh()
    services = call.services
    async with services.db.write() as conn:
        await accounts.start_login(conn, host.id, fresh.family, fresh.digest, services.settings.refresh_ttl_s)
    return _session(call, host, text, by_cookie=in_cookies(Headers(call.request.scope["headers"])))


def _session(call: Call, host: accounts.Host, refresh_token: str, *, by_cookie: bool) -> Reply:
    services = call.services
    token = services.tokens.mint(Kind.HOST, host.id)
    life_s, refresh_life_s = services.settings.access_ttl_s, services.settings.refresh_ttl_s
    session = Session(expires_in=life_s, host=_host_view(host))
    if by_cookie:
        return Reply(body=session, cookies=_cookies(call, token, life_s, refresh_token, refresh_life_s))
    session = msgspec.structs.replace(session, access_token=token, refresh_token=refresh_token)
    return Reply(body=session, cookies=(cookie(HOST_COOKIE, token, life_s, call),))


def _cookies(call: Call, token: str, life_s: int, refresh_token: str, refresh_life_s: int) -> tuple[str, str]:
    return (
        cookie(HOST_COOKIE, token, life_s, call),
        cookie(REFRESH_COOKIE, refresh_token, refresh_life_s, call, path=REFRESH_PATH, same_site="Strict"),
    )


def _refresh_cookie(call: Call) -> str:
    """The refresh token in the cookie. Raises `NotAuthenticated`, or `OriginRefused` for another site's page."""
    headers = Headers(call.request.scope["headers"])
    from_own_page(headers)
    token = cookie_parser(headers.text(b"cookie")).get(REFRESH_COOKIE)
    if not token:
        raise NotAuthenticated()
    return token


def _host_view(host: accounts.Host) -> HostView:
    return HostView(id=host.id, email=host.email, name=host.name)


def _public(path: str, handler: Handler, says: str, **more: Any) -> Endpoint:
    return Endpoint(method="POST", path=path, handler=handler, who=Who.ANYONE, says=says, **more)


ENDPOINTS = [
    _public(
        "/auth/register",
        register,
        "A new host's account, logged in.",
        status=201,
        body=Register,
        reply=Session,
        errors=(EmailTaken, TooMany, PostgresUnavailable),
    ),
    _public(
        "/auth/login",
        login,
        "A session for an address and its password.",
        body=Login,
        reply=Session,
        errors=(CredentialsWrong, TooMany, PostgresUnavailable),
    ),
    _public(
        "/auth/refresh",
        refresh,
        "A new session; the refresh token is spent. A spent one shown again ends the whole family. No body: by cookie.",
        body=RefreshRequest,
        body_optional=True,
        reply=Session,
        errors=(RefreshInvalid, NotAuthenticated, OriginRefused, PostgresUnavailable),
    ),
    _public(
        "/auth/logout",
        logout,
        "End a session. No body: the one in the cookies.",
        status=204,
        body=RefreshRequest,
        body_optional=True,
        errors=(RefreshInvalid, OriginRefused, PostgresUnavailable),
    ),
    host_route("GET", "/me", me, "The calling host.", reply=HostView, errors=(PostgresUnavailable,)),
]
