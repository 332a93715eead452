"""Accounts and sessions; one of the three rooms of `hosts`."""

from typing import Any

from quizcast.auth import Kind, mint_refresh, read_refresh
from quizcast.errors import (
    CredentialsWrong,
    EmailTaken,
    PostgresUnavailable,
    RefreshInvalid,
    TokenInvalid,
    TooMany,
)
from quizcast.store import accounts
from quizcast.web.guard import HOST_COOKIE
from quizcast.web.hosts.parts import host_route
from quizcast.web.http import Call, Endpoint, Handler, Reply, Who, cookie
from quizcast.wire.api import (
    HostView,
    Login,
    RefreshRequest,
    Register,
    Session,
)


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
    services = call.services
    spent = read_refresh(call.body.refresh_token)
    text, fresh = mint_refresh(spent.family)
    life_s = services.settings.refresh_ttl_s
    host = await accounts.rotate_login(services.db, spent.family, spent.digest, fresh.digest, life_s)
    return _session(call, host, text)


async def logout(call: Call) -> Any:
    """End a session. The access token lives on for its few minutes; it is short for that reason."""
    async with call.services.db.write() as conn:
        await accounts.end_login(conn, read_refresh(call.body.refresh_token).family)
    return Reply(headers={"set-cookie": cookie(HOST_COOKIE, "", 0, call)})


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
    return _session(call, host, text)


def _session(call: Call, host: accounts.Host, refresh_token: str) -> Reply:
    services = call.services
    token = services.tokens.mint(Kind.HOST, host.id)
    life_s = services.settings.access_ttl_s
    body = Session(access_token=token, refresh_token=refresh_token, expires_in=life_s, host=_host_view(host))
    return Reply(body=body, headers={"set-cookie": cookie(HOST_COOKIE, token, life_s, call)})


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
        "A new session; the refresh token is spent. A spent one shown again ends the whole family.",
        body=RefreshRequest,
        reply=Session,
        errors=(RefreshInvalid, PostgresUnavailable),
    ),
    _public(
        "/auth/logout",
        logout,
        "End a session.",
        status=204,
        body=RefreshRequest,
        errors=(RefreshInvalid, PostgresUnavailable),
    ),
    host_route("GET", "/me", me, "The calling host.", reply=HostView, errors=(PostgresUnavailable,)),
]
