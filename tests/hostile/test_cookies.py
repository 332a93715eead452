"""Cookies that no script reads and no other site's page can use; pages of other sites, which may call when named."""

import time
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from quizcast.settings import Settings
from quizcast.web.app import BASE, ENDPOINTS, App
from quizcast.web.guard import HOST_COOKIE, PARTICIPANT_COOKIE
from quizcast.web.http import Endpoint, Who
from quizcast.web.server import HEADERS
from quizcast.web.services import opened
from tests.client import PASSWORD, QUIZ, good, refused
from tests.fix_nginx import Fronted
from tests.hostile.test_tokens import address, body, send, unchanged
from tests.hostile.world import World

EVIL = "https://evil.example"
WRITES = [one for one in ENDPOINTS if one.method != "GET" and one.who is not Who.ANYONE]
ROUTES = [pytest.param(one, id=f"{one.method} {one.path}") for one in ENDPOINTS]


# ── what they say of themselves ───────────────────────────────────────────────────────────────────────────────


def cookies_of(client: httpx.Client, headers: dict[str, str]) -> dict[str, Any]:
    """Every cookie that is given out, by its name, and how long its token lives."""
    account = {"email": f"c{time.time_ns()}@example.org", "password": PASSWORD, "name": "C"}
    made = client.post("/auth/register", json=account, headers=headers)
    bearer = headers | {"Authorization": f"Bearer {good(made, 201)['access_token']}"}
    quiz = good(client.post("/quizzes", json=QUIZ, headers=bearer), 201)
    game = good(client.post("/games", json={"quiz_id": quiz["id"]}, headers=bearer), 201)
    joined = client.post("/join", json={"pin": game["pin"], "nickname": "Ada"}, headers=headers)
    renewed = client.post("/auth/refresh", json={"refresh_token": made.json()["refresh_token"]}, headers=headers)
    found = {}
    for reply in (made, joined, renewed):
        cookie = SimpleCookie(reply.headers["set-cookie"])
        assert len(cookie) == len(reply.headers.get_list("set-cookie")) == 1
        found |= cookie
    return found


@pytest.fixture
def behind(fronted: Fronted) -> Iterator[Callable[[Path | None], httpx.Client]]:
    """A client of a web process's own socket, as a proxy is; or of nginx."""
    made: list[httpx.Client] = []

    def client(door: Path | None) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(door)) if door else None
        base = f"{fronted.url if door is None else 'http://quiz.example'}{BASE}"
        made.append(httpx.Client(base_url=base, transport=transport, trust_env=False))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_cookie_is_for_no_script_and_no_other_site_and_behind_tls_for_tls_alone(
    fronted: Fronted, behind: Callable[[Path | None], httpx.Client], scheme: str
) -> None:
    found = cookies_of(behind(fronted.doors[0]), {"X-Forwarded-Proto": scheme})
    assert set(found) == {HOST_COOKIE, PARTICIPANT_COOKIE}
    lives = {HOST_COOKIE: fronted.settings.access_ttl_s, PARTICIPANT_COOKIE: fronted.settings.participant_ttl_s}
    for name, cookie in found.items():
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""
        assert int(cookie["max-age"]) == lives[name]
        assert bool(cookie["secure"]) == (scheme == "https")


def test_a_client_cannot_tell_nginx_that_it_came_by_tls(behind: Callable[[Path | None], httpx.Client]) -> None:
    found = cookies_of(behind(None), {"X-Forwarded-Proto": "https"})
    assert not any(cookie["secure"] for cookie in found.values())


@pytest.mark.parametrize(
    ("trusted", "public_url", "secure"),
    [("192.0.2.1", "", True), ("192.0.2.2", "", False), ("192.0.2.2", "https://quiz.example", True)],
)
async def test_only_a_trusted_proxy_is_believed_how_a_request_came(
    settings: Settings, trusted: str, public_url: str, secure: bool
) -> None:
    app = App(msgspec.structs.replace(settings, public_url=public_url), trusted=trusted)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with opened(app.settings) as app.services, httpx.AsyncClient(transport=transport) as client:
        account = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}
        reply = await client.post(
            f"http://quiz.example{BASE}/auth/register", json=account, headers={"X-Forwarded-Proto": "https"}
        )
    assert ("; Secure" in reply.headers["set-cookie"]) == secure


# ── what they may do ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("endpoint", [pytest.param(one, id=f"{one.method} {one.path}") for one in WRITES])
def test_no_page_of_another_site_changes_anything_with_a_cookie(world: World, endpoint: Endpoint) -> None:
    name, token = {
        Who.HOST: (HOST_COOKIE, world.host),
        Who.PARTICIPANT: (PARTICIPANT_COOKIE, world.player),
    }[endpoint.who]
    foreign: list[dict[str, str]] = [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[broken"},
        {"Origin": f"{world.site.url}.evil.example"},
        {"Origin": f"http://127.0.0.1:{world.site.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": world.site.url},
        {"Sec-Fetch-Site": "cross-site", "Origin": world.site.url},
    ]
    with unchanged(world):
        for headers in foreign:
            reply = send(world, endpoint, headers=headers | {"Cookie": f"{name}={token}"})
            assert refused(reply) == (403, "origin_refused"), headers
            # Nor does a form, which a page may send anywhere.
            form = headers | {"Cookie": f"{name}={token}", "Content-Type": "application/x-www-form-urlencoded"}
            assert refused(send(world, endpoint, headers=form)) == (403, "origin_refused")


def test_every_write_of_a_session_is_one_that_is_tried_above() -> None:
    assert {one.who for one in WRITES} == {Who.HOST, Who.PARTICIPANT}
    assert {one.method for one in ENDPOINTS} == {"GET"} | {one.method for one in WRITES}


def test_a_token_in_a_header_may_come_from_anywhere(world: World) -> None:
    # No browser adds it by itself: whoever has it may use it.
    made = world.send("POST", "/quizzes", world.host, json=QUIZ, headers={"Origin": EVIL})
    path = f"/quizzes/{good(made, 201)['id']}"
    assert world.send("DELETE", path, world.host, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 204


@pytest.mark.parametrize(
    "cookie", ["quizcast_host", "quizcast_host=", "=;=;", "quizcast_host=\xff", ";" * 500, "a=b; " * 500 + "c=d"]
)
def test_cookies_that_are_none_are_no_credential(world: World, cookie: str) -> None:
    assert refused(world.send("GET", "/me", headers={"Cookie": cookie.encode("latin-1")}))[0] == 401


# ── pages of other sites ──────────────────────────────────────────────────────────────────────────────────────


def shared(reply: httpx.Response) -> list[str]:
    """The headers that let other sites' pages read a reply."""
    return [name for name in reply.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("endpoint", ROUTES)
def test_other_sites_pages_are_allowed_nothing_unless_they_are_named(world: World, endpoint: Endpoint) -> None:
    asked = {"Origin": EVIL, "Access-Control-Request-Method": endpoint.method}
    preflight = world.http.options(address(world, endpoint), headers=asked)
    assert (preflight.status_code, shared(preflight)) == (405, [])
    more = body(world, endpoint) if endpoint.who is Who.ANYONE else {}
    with world.http.stream(endpoint.method, address(world, endpoint), headers={"Origin": EVIL}, **more) as reply:
        assert shared(reply) == []


@pytest.mark.parametrize("endpoint", ROUTES)
async def test_a_site_that_is_named_may_call_every_route_and_never_with_cookies(endpoint: Endpoint) -> None:
    named = "https://quiz.example"
    transport = httpx.ASGITransport(App(Settings(cors_origins=(named,))))
    path = BASE + endpoint.path.replace("{", "").replace("}", "")
    asked = {"Access-Control-Request-Method": endpoint.method, "Access-Control-Request-Headers": "authorization"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        allowed = await client.options(path, headers={"Origin": named, **asked})
        assert allowed.headers["access-control-allow-origin"] == named
        assert endpoint.method in allowed.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in allowed.headers
        for other in (EVIL, f"{named}.evil.example", "http://quiz.example", "null"):
            refusal = await client.options(path, headers={"Origin": other, **asked})
            assert "access-control-allow-origin" not in refusal.headers


# ── what every reply says ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("endpoint", ROUTES)
def test_no_reply_is_kept_or_taken_for_another_type(world: World, endpoint: Endpoint) -> None:
    stranger = {"headers": {"Authorization": "Bearer x"}}
    viewer = {"headers": {"Authorization": f"Bearer {world.screen}"}} if endpoint.who is Who.VIEWER else stranger
    for options in (stranger, viewer):
        with world.http.stream(
            endpoint.method, address(world, endpoint), **{**body(world, endpoint), **options}
        ) as reply:
            assert reply.headers["cache-control"] == "no-store"
            for name, value in HEADERS:
                assert reply.headers[name] == value


def test_a_session_a_join_and_a_screen_are_kept_by_no_cache(world: World) -> None:
    login = world.send("POST", "/auth/login", json={"email": world.email, "password": PASSWORD})
    screen = world.send("POST", f"/games/{world.game}/screen", world.host)
    for reply in (login, screen):
        assert reply.is_success
        assert reply.headers["cache-control"] == "no-store"
