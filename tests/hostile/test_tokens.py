"""Every route and every kind of caller: who is let in, who is not, and that nothing changes by who is not.

The cases are made from the route table, so a new route is tried as it is added; one outside of the table fails.
"""

import base64
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from jwt.api_jws import PyJWS
from starlette.routing import Route

from quizcast.auth import Key, Keyring, Kind, Tokens
from quizcast.settings import Settings
from quizcast.web.app import BASE, ENDPOINTS, App
from quizcast.web.guard import HOST_COOKIE, PARTICIPANT_COOKIE
from quizcast.web.http import Endpoint, Who
from quizcast.web.streams import STREAMS_EACH
from tests.client import PASSWORD, QUIZ, refused
from tests.fix_tree import wait_until
from tests.fix_web import KEY, WEB
from tests.hostile.world import World

OPERATIONS = {"/livez", "/readyz", "/metrics", f"{BASE}/ops", f"{BASE}/openapi.json"}
PAGES = {
    "/",
    "/join/{pin}",
    "/host",
    "/host/{rest:path}",
    "/screen/{game_id}",
    "/ops",
    "/static/{digest}/{path:path}",
    "/qr/{pin}.svg",
}
FILES = {"/icon.svg", "/favicon.ico", "/site.webmanifest", "/robots.txt", "/media/{media_id}"}
OPEN_TO_ALL = OPERATIONS | PAGES | FILES
ROUTES = [pytest.param(one, id=f"{one.method} {one.path}") for one in ENDPOINTS]
GUARDED = [pytest.param(one, id=f"{one.method} {one.path}") for one in ENDPOINTS if one.who is not Who.ANYONE]
TAKING_PART = {"player": "player", "kicked": "kicked", "banned": "banned", "player of another game": "player_elsewhere"}
HOSTS = {"host": "host", "another host": "stranger"}
SCREENS = {"screen": "screen", "screen of another game": "screen_elsewhere"}
ROLES = TAKING_PART | HOSTS | SCREENS  # role → its token in the world
# Which refusals a role may meet at a route for such callers; None: it is let in.
INVALID, UNKNOWN, OUTSIDE = (401, "token_invalid"), (404, "unknown"), (403, "not_in_game")
RULES: dict[Who, dict[str, tuple[int, str] | None]] = {
    Who.ANYONE: dict.fromkeys(ROLES),
    Who.HOST: dict.fromkeys(ROLES, INVALID) | {"host": None, "another host": UNKNOWN},
    Who.PARTICIPANT: dict.fromkeys(TAKING_PART, OUTSIDE) | dict.fromkeys(HOSTS | SCREENS, INVALID) | {"player": None},
    Who.VIEWER: {
        **dict.fromkeys(TAKING_PART, OUTSIDE),
        **{"player": None, "host": None, "another host": UNKNOWN},
        **{"screen": None, "screen of another game": OUTSIDE},
    },
}


def address(world: World, endpoint: Endpoint) -> str:
    """A path of the route that leads to things which exist."""
    return endpoint.path.format(
        game_id=world.game, quiz_id=world.quiz, participant_id=world.player_id, media_id=world.media
    )


def body(world: World, endpoint: Endpoint) -> dict[str, Any]:
    """A body that the route takes, so that it is the caller who is refused."""
    if endpoint.body is None:
        return {}
    if endpoint.path == "/media":
        return {"content": b"GIF89a"}
    if endpoint.body is bytes:
        return {"content": b"#Q Two and two?\n^ four\nA four\nB five\n"}
    wish: dict[str, Any] = {
        "/quizzes": QUIZ,
        "/quizzes/{quiz_id}": QUIZ,
        "/games": {"quiz_id": world.quiz},
        "/games/{game_id}/lock": {"locked": True},
        "/games/{game_id}/extend": {"closes_at": 0},
        "/games/{game_id}/answers": {"question": 0, "answer": 1},
    }.get(endpoint.path, {})
    return {"json": wish}


@contextmanager
def unchanged(world: World) -> Iterator[None]:
    """Whatever happens within leaves everything of the host's as it is."""

    def picture() -> list[Any]:
        return [
            world.ok("GET", path, world.host)
            for path in (
                f"/quizzes/{world.quiz}",
                f"/games/{world.game}",
                f"/games/{world.game}/participants",
                f"/games/{world.game}/state",
                "/quizzes?limit=100",
                "/games?limit=100",
                "/media?limit=100",
                "/me",
            )
        ]

    def settled() -> str:
        seen = picture()
        seen[3].pop("server_now_at")
        return json.dumps(seen)

    before = settled()
    yield
    assert settled() == before


def send(world: World, endpoint: Endpoint, token: str = "", **options: Any) -> httpx.Response:
    """One request; of what becomes a stream no more than the head."""
    options = {**body(world, endpoint), **options}
    headers = dict(options.pop("headers", {})) | ({"Authorization": f"Bearer {token}"} if token else {})
    with world.http.stream(endpoint.method, address(world, endpoint), headers=headers, **options) as reply:
        if reply.headers.get("content-type", "").startswith("text/event-stream"):
            return httpx.Response(reply.status_code)
        reply.read()
        return reply


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_route_is_served_that_is_not_in_the_table() -> None:
    app = App(Settings())
    router: Any = app._router
    served = {(method, route.path) for route in router.app.routes for method in route.methods - {"HEAD"}}
    assert all(isinstance(route, Route) for route in router.app.routes)
    table = {(one.method, BASE + one.path) for one in ENDPOINTS}
    assert served == table | {("GET", path) for path in OPEN_TO_ALL}
    for one in ENDPOINTS:
        path = (BASE + one.path).replace("{", "").replace("}", "").encode()
        assert bool(app.hot_handler(one.method.encode(), path, full=False)) == (one.handler is None)


def test_every_kind_of_caller_has_a_rule_for_every_role() -> None:
    assert set(RULES) == set(Who)
    assert all(set(rule) == set(ROLES) for rule in RULES.values())


@pytest.mark.parametrize("endpoint", ROUTES)
def test_no_route_serves_a_stranger_what_is_not_for_anyone(world: World, endpoint: Endpoint) -> None:
    with unchanged(world):
        reply = send(world, endpoint)
    if endpoint.who is Who.ANYONE:
        assert refused(reply) == (422, "invalid")  # the body was empty
    else:
        assert refused(reply) == (401, "token_missing")
        assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("endpoint", GUARDED)
def test_a_route_is_closed_to_whoever_it_is_not_for(world: World, endpoint: Endpoint) -> None:
    # That the others are let in is what the game itself shows; here it would change the world.
    rules = {role: rule for role, rule in RULES[endpoint.who].items() if rule is not None}
    with unchanged(world):
        replies = {role: send(world, endpoint, getattr(world, ROLES[role])) for role in rules}
    for role, reply in replies.items():
        if rules[role] is not UNKNOWN:
            assert refused(reply) == rules[role], role
        elif "{" in endpoint.path or (endpoint.method, endpoint.path) == ("POST", "/games"):
            # Not 403: that it is there is nobody's business.
            assert refused(reply) in ((404, "game_unknown"), (404, "quiz_unknown"), (404, "media_unknown"))
            assert world.game not in reply.text
        else:  # a list of their own, a quiz of their own, themselves
            assert reply.is_success
            assert not any(name in reply.text for name in (world.game, world.quiz, world.email))


@pytest.mark.parametrize("endpoint", [one for one in GUARDED if "{" in one.values[0].path])  # type: ignore[attr-defined]
def test_what_is_anothers_looks_exactly_like_what_is_not_there(world: World, endpoint: Endpoint) -> None:
    if endpoint.who is Who.PARTICIPANT:
        return  # whose tokens are for a game, of which they know that it is there
    anothers = send(world, endpoint, world.stranger)
    nowhere = "0" * 25
    path = endpoint.path.format(game_id=nowhere, quiz_id=nowhere, participant_id=nowhere, media_id=nowhere)
    nothing = world.send(endpoint.method, path, world.stranger, **body(world, endpoint))
    assert (anothers.status_code, anothers.content) == (nothing.status_code, nothing.content)
    names = [{*reply.headers} - {"date", "x-request-id"} for reply in (anothers, nothing)]
    assert names[0] == names[1]


@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("player", "host", "another host")])
def test_a_cookie_opens_no_more_than_its_token_does(world: World, role: str) -> None:
    token = getattr(world, ROLES[role])
    for endpoint in ENDPOINTS:
        if endpoint.who is Who.ANYONE:
            continue
        for name in (HOST_COOKIE, PARTICIPANT_COOKIE):
            reply = send(world, endpoint, headers={"Cookie": f"{name}={token}"})
            if endpoint.who is Who.VIEWER and role == "screen":
                assert reply.is_success  # which its token is for, whatever the cookie is called
            else:
                assert refused(reply)[0] in (401, 403), (endpoint.path, name)


# ── what is no token of ours ──────────────────────────────────────────────────────────────────────────────────


def forged(world: World, kind: Kind) -> dict[str, tuple[str, str]]:
    """Tokens of a kind that are not good, each with the code of its refusal."""
    now = int(time.time())
    me = world.ok("GET", "/me", world.host)["id"]
    claims = {
        "aud": kind.audience,
        "sub": {Kind.PARTICIPANT: world.player_id, Kind.HOST: me, Kind.SCREEN: world.game}[kind],
        "game": None if kind is Kind.HOST else world.game,
        "iat": now,
        "exp": now + 900,
    }
    secret, head = KEY[1], {"kid": KEY[0]}

    def signed(key: str = secret, headers: Any = None, algorithm: str = "HS256", **change: Any) -> str:
        payload = {name: value for name, value in (claims | change).items() if value is not None}
        # The signing alone: encoding claims would refuse what makes no sense in them.
        return PyJWS().encode(json.dumps(payload).encode(), key, algorithm, headers or head)

    good = signed()
    header, payload, signature = good.split(".")
    of_a_list = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": ["a"]}).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": KEY[0]}).encode()).decode().rstrip("=")
    invalid, expired = "token_invalid", "token_expired"
    return {
        "empty parts": ("..", invalid),
        "a word": ("word", invalid),
        "far too long": ("x" * 5000, invalid),
        "not ASCII": ("ü.ü.ü", invalid),
        "no signature": (f"{header}.{payload}.", invalid),
        "another signature": (f"{header}.{payload}.{signature[::-1]}", invalid),
        "another payload": (f"{header}.{payload[::-1]}.{signature}", invalid),
        "alg none": (f"{none}.{payload}.", invalid),
        "alg none with a signature": (f"{none}.{payload}.{signature}", invalid),
        "another algorithm": (signed(key="k" * 64, algorithm="HS512"), invalid),
        "another key": (signed(key="x" * 40), invalid),
        "another key's name": (signed(headers={"kid": "other"}), invalid),
        "a key's name that is a path": (signed(headers={"kid": "../../dev/null"}), invalid),
        "a key's name that is a list": (f"{of_a_list}.{payload}.{signature}", invalid),
        "expired": (signed(exp=now - 1), expired),
        "not yet valid": (signed(nbf=now + 600), invalid),
        "no expiry": (signed(exp=None), invalid),
        "an expiry that is no number": (signed(exp="tomorrow"), invalid),
        "no audience": (signed(aud=None), invalid),
        "another audience": (signed(aud="somebody else"), invalid),
        "two audiences": (signed(aud=[Kind.PARTICIPANT.audience, Kind.HOST.audience]), invalid),
        "no subject": (signed(sub=None), invalid),
        "a subject that is a number": (signed(sub=1), invalid),
        "a game that is a list": (signed(game=[world.game]), invalid),
    }


FORGED = [
    *("empty parts", "a word", "far too long", "not ASCII", "no signature", "another signature", "another payload"),
    *("alg none", "alg none with a signature", "another algorithm", "another key", "another key's name"),
    *("a key's name that is a path", "a key's name that is a list", "expired", "not yet valid", "no expiry"),
    *("an expiry that is no number", "no audience", "another audience", "two audiences", "no subject"),
    *("a subject that is a number", "a game that is a list"),
]
OF_KIND = {Who.HOST: Kind.HOST, Who.PARTICIPANT: Kind.PARTICIPANT, Who.VIEWER: Kind.SCREEN}


@pytest.mark.parametrize("what", FORGED)
def test_a_token_that_is_not_ours_opens_no_route(world: World, what: str) -> None:
    made = {kind: forged(world, kind) for kind in Kind}
    assert set(made[Kind.HOST]) == set(FORGED)
    with unchanged(world):
        for endpoint in ENDPOINTS:
            if endpoint.who is Who.ANYONE:
                continue
            token, code = made[OF_KIND[endpoint.who]][what]
            cookie = PARTICIPANT_COOKIE if endpoint.who is Who.PARTICIPANT else HOST_COOKIE
            ways: list[dict[str, Any]] = [
                {"headers": {"Authorization": f"Bearer {token}".encode()}},
                {"headers": {"Cookie": f"{cookie}={token}".encode()}},
            ]
            if endpoint.who is Who.VIEWER:
                ways.append({"params": {"token": token}})
            for way in ways:
                status, said = refused(send(world, endpoint, **way))
                assert (status, said) == (401, code) or ("Cookie" in way.get("headers", {}) and status == 401)


def test_the_same_token_untouched_is_good(world: World) -> None:
    # Or the tokens above might be refused for another reason than the one that they are there for.
    tokens = Tokens(Keyring([Key(*KEY)]), Settings())
    for kind, subject in ((Kind.PARTICIPANT, world.player_id), (Kind.SCREEN, world.game)):
        token = tokens.mint(kind, subject, world.game)
        assert world.send("GET", f"/games/{world.game}/state", token).status_code == 200
    me = world.ok("GET", "/me", world.host)["id"]
    assert world.send("GET", "/me", tokens.mint(Kind.HOST, me)).status_code == 200


def test_a_query_opens_nothing_but_what_is_watched(world: World) -> None:
    for endpoint in ENDPOINTS:
        if endpoint.who in (Who.HOST, Who.PARTICIPANT):
            token = world.host if endpoint.who is Who.HOST else world.player
            assert refused(send(world, endpoint, params={"token": token})) == (401, "token_missing")


def test_a_participant_who_was_never_in_the_game_is_not_in_it(world: World) -> None:
    tokens = Tokens(Keyring([Key(*KEY)]), Settings())
    stray = tokens.mint(Kind.PARTICIPANT, "0" * 25, world.game)
    answer = {"question": 0, "answer": 1}
    assert refused(world.send("POST", f"/games/{world.game}/answers", stray, json=answer)) == (403, "not_in_game")
    for path in ("state", "events"):
        assert refused(world.send("GET", f"/games/{world.game}/{path}", stray)) == (403, "not_in_game")
    lost = tokens.mint(Kind.PARTICIPANT, "0" * 25, "no such game")
    reply = world.send("POST", "/games/no%20such%20game/answers", lost, json=answer)
    assert refused(reply) in ((404, "game_unknown"), (403, "not_in_game"))


@pytest.mark.parametrize("scheme", ["Basic", "bearer\t", "Token", "Bearer Bearer"])
def test_another_scheme_than_bearer_is_refused(world: World, scheme: str) -> None:
    reply = world.send("GET", "/me", headers={"Authorization": f"{scheme} {world.host}"})
    assert refused(reply)[0] == 401


def test_a_token_of_who_was_removed_brings_nobody_back(world: World) -> None:
    # Kicked: they may come back, as somebody new. Banned: by no name and with no token.
    wish = {"pin": world.pin, "nickname": "Again", "participant_token": world.kicked}
    again = world.ok("POST", "/join", json=wish)
    payload = world.kicked.split(".")[1]
    assert again["participant_id"] != json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"]
    banned = {"pin": world.pin, "nickname": "Banned", "participant_token": world.banned}
    assert refused(world.send("POST", "/join", json=banned)) == (403, "banned")
    path = f"/games/{world.game}/participants/{again['participant_id']}"
    assert world.send("DELETE", path, world.host).status_code == 204


# ── refresh tokens ────────────────────────────────────────────────────────────────────────────────────────────


def spend(world: World, token: str) -> httpx.Response:
    """Ask for a new session."""
    return world.send("POST", "/auth/refresh", json={"refresh_token": token})


def login(world: World) -> str:
    """A refresh token of a new family."""
    wish = {"email": world.email, "password": PASSWORD}
    token: str = world.ok("POST", "/auth/login", json=wish)["refresh_token"]
    return token


def test_a_stolen_refresh_token_ends_its_family_and_no_other(world: World) -> None:
    stolen, other = login(world), login(world)
    chain = [stolen]
    for _ in range(3):
        chain.append(spend(world, chain[-1]).json()["refresh_token"])
    assert refused(spend(world, stolen)) == (401, "refresh_invalid")  # by the thief, or by whom it was stolen from
    for token in chain:
        assert refused(spend(world, token)) == (401, "refresh_invalid")
    assert spend(world, other).status_code == 200


def test_a_logout_ends_the_family_with_whichever_of_its_tokens(world: World) -> None:
    first, other = login(world), login(world)
    second = spend(world, first).json()["refresh_token"]
    assert world.send("POST", "/auth/logout", json={"refresh_token": first}).status_code == 204
    for token in (first, second):
        assert refused(spend(world, token)) == (401, "refresh_invalid")
    assert spend(world, other).status_code == 200


def test_a_refresh_token_is_no_token_and_a_token_no_refresh_token(world: World) -> None:
    text = login(world)
    assert refused(world.send("GET", "/me", text)) == (401, "token_invalid")
    assert refused(spend(world, world.host)) == (401, "refresh_invalid")
    assert spend(world, text).status_code == 200


def test_one_participant_takes_a_few_streams_and_no_more(world: World) -> None:
    one, another = (world.join(name).json()["token"] for name in ("Greedy", "Modest"))
    opened: list[socket.socket] = []

    def status(token: str) -> int:
        line = socket.create_connection(("127.0.0.1", world.site.port), 10)
        opened.append(line)
        head = f"GET /api/v1/games/{world.game}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        line.sendall(head.encode())
        return int(line.recv(12).split()[1])

    try:
        with ThreadPoolExecutor(10) as many:  # at the same moment
            told = Counter(many.map(status, [one] * 60))
        assert told == {200: WEB * STREAMS_EACH, 429: 60 - WEB * STREAMS_EACH}
        assert status(another) == 200
    finally:
        for line in opened:
            line.close()
    wait_until(lambda: status(one) == 200, 5)
    opened[-1].close()
