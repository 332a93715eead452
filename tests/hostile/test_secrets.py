"""No token, password, key, e-mail address or PIN is in a log, a metric, an error or a `repr`, whatever goes wrong.

Processes of their own log all that they and their libraries have to say, while a game is played, the ways to fail are
tried, and tables are taken away under their feet.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from quizcast.auth import Key, Keyring, Kind, Passwords, Tokens, mint_refresh
from quizcast.embedded import Services
from quizcast.settings import Settings
from quizcast.store.accounts import Credentials
from quizcast.wire.api import Join, Joined, Login, RefreshRequest, Register, ScreenToken, Session
from tests.client import BASE, Api, Game, Host, good, refused
from tests.fix_nginx import Nginx
from tests.fix_tree import wait_until
from tests.fix_web import KEY, Site, installed, listening, part_environment, start_part, stop_parts, wait_ready

METRICS_TOKEN = "metrics-token-0123456789"
PASSWORD, WRONG, TOO_LONG = "a very private horse", "no such private horse", "private" * 40


class Talkative(Site):
    """A web process and a worker at the level of debug; what they say, and what the servers below them say."""

    def __init__(self, settings: Settings, services: Services) -> None:
        folder = settings.data_dir
        with contextlib.closing(listening()) as door:
            logs = [folder / "web.log", folder / "worker.log", *services._data.path.rglob("*.log")]
            super().__init__(f"http://127.0.0.1:{door.getsockname()[1]}", settings, logs)
            env = part_environment(settings)
            self.parts = [
                start_part(logs[0], env, "web", "--fd", str(door.fileno()), doors=[door]),
                start_part(logs[1], env, "worker"),
            ]


@pytest.fixture
def talkative(
    services: Services, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talkative]:
    """The processes, with a database of their own."""
    settings = installed(services, template_database, tmp_path_factory.mktemp("talkative"))
    started = Talkative(msgspec.structs.replace(settings, log_level="debug", metrics_token=METRICS_TOKEN), services)
    try:
        wait_ready(started)
        yield started
    finally:
        stop_parts(started.parts)


class Known:
    """What must not show, as it comes to be."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.pins: set[str] = set()

    def add(self, what: str, *texts: str) -> None:
        """Keep a secret; of a token the signature alone too."""
        for text in texts:
            self.texts[text] = what
            if text.count(".") == 2:
                self.texts[text.rpartition(".")[2]] = f"signature of {what}"

    def found_in(self, text: str) -> set[str]:
        """What shows after all."""
        shown = {what for secret, what in self.texts.items() if secret.lower() in text.lower()}
        # By itself: six digits can be part of a time or an id.
        return shown | {"PIN" for pin in self.pins if re.search(rf"(?<![\w.]){pin}(?!\w)", text)}


async def raw(site: Site, request: str) -> bytes:
    """Bytes as they are, and what is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request.encode())
    heard = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while got := await asyncio.wait_for(reader.read(65536), 0.3):
            heard += got
    writer.close()
    return heard


async def accounts(api: Api, known: Known) -> Host:
    """Everything that an account can do, and fail to do."""
    email = f"Very.Private.{time.time_ns()}@Example.org"
    known.add("address", email)
    known.add("password", PASSWORD, WRONG, TOO_LONG)
    account = {"email": email, "password": PASSWORD, "name": "Ada"}
    host = Host(api, email, good(await api.call("POST", "/auth/register", json=account), 201))
    for wish in (account, account | {"password": TOO_LONG}, account | {"email": f"{email}\n"}):
        assert (await api.call("POST", "/auth/register", json=wish)).status_code in (409, 422)
    for password in (PASSWORD, WRONG):
        await api.call("POST", "/auth/login", json={"email": email.upper(), "password": password})
    await api.call("POST", "/auth/login", json={"email": email, "password": [PASSWORD]})
    first = host.session["refresh_token"]
    second = good(await api.call("POST", "/auth/refresh", json={"refresh_token": first}), 200)
    known.add("refresh token", first, second["refresh_token"])
    known.add("host's token", host.token, second["access_token"])
    for path in ("refresh", "refresh", "logout"):
        await api.call("POST", f"/auth/{path}", json={"refresh_token": first})
    return host


async def whole_game(host: Host, known: Known) -> Game:
    """A game with all three ways to show a token."""
    game = await host.game()
    known.pins.add(game.pin)
    ada = await game.join("Ada")
    screen = await game.screen()
    known.add("participant's token", ada.token)
    known.add("screen's token", screen)
    api = host.api
    cookie = {"Cookie": f"quizcast_participant={ada.token}; quizcast_host={host.token}"}
    async with (
        ada.stream() as own,
        api.stream(game.id, token="", headers=cookie) as by_cookie,
        api.stream(game.id, **{"": ""}) as _,
    ):
        await game.open()
        await own.get("question")
        await ada.answered(0, 1)
        await api.call("POST", f"/games/{game.id}/answers", json={"question": 0, "answer": 1}, headers=cookie)
        await game.close()
        await by_cookie.get("result")
    for token in (ada.token, screen):
        state = await api.call("GET", f"/games/{game.id}/state?token={token}")
        assert state.status_code == 200
        async with api.http.stream("GET", f"{BASE}/games/{game.id}/events?token={token}") as stream:
            assert stream.status_code == 200
            await anext(stream.aiter_bytes())
    await game.results_with(1)
    return game


async def failures(api: Api, site: Site, game: Game, known: Known) -> None:
    """Bad tokens, addresses where nothing is, and lines that are no HTTP, each with secrets in them."""
    forged = f"{game.host.token[:-6]}zzzzzz"
    known.add("forged token", forged)
    for secret in (forged, game.host.token, METRICS_TOKEN):
        for path in (f"/games/{game.id}/events", f"/games/{game.id}/state", "/nothing", f"/games/{secret}", "/me"):
            for headers in ({}, {"Authorization": f"Bearer {secret}"}, {"Authorization": f"Basic {secret}"}):
                async with api.http.stream("GET", f"{BASE}{path}?token={secret}", headers=headers) as reply:
                    assert reply.status_code != 500
        for line in (
            f"GET {BASE}/games/{game.id}/events?token={secret} BROKEN\r\n\r\n",
            f"GET {BASE}/games/x/events?token={secret} HTTP/1.1\r\nHost: x\r\nbroken {secret}\r\n\r\n",
            f"{secret}\r\n\r\n",
            f"GET {BASE}/me?token={secret} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        ):
            await raw(site, line)
    for pin in (game.pin, f"{int(game.pin) ^ 1}"):
        for nickname in ("Ada", "\x00"):
            await api.call("POST", "/join", json={"pin": pin, "nickname": nickname, "participant_token": forged})
    await api.call("POST", "/join", content=f'{{"pin": "{game.pin}", "nickname": ')
    await game.call("POST", "", headers={"Idempotency-Key": game.host.token})


async def faults(site: Site, host: Host, game: Game) -> None:
    """500s, and rows that Postgres does not take: what a table's absence does."""
    with psycopg.connect(site.settings.database_url, autocommit=True) as conn:
        for table in ("hosts", "quizzes", "logins", "participants"):
            conn.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
        for method, path, body in (
            ("POST", "/auth/register", {"email": host.email, "password": PASSWORD, "name": "Ada"}),
            ("POST", "/auth/login", {"email": host.email, "password": PASSWORD}),
            ("POST", "/auth/refresh", {"refresh_token": host.session["refresh_token"]}),
            ("POST", "/quizzes", {"title": "Private"}),
        ):
            reply = await host.call(method, path, json=body)
            assert reply.status_code in (500, 503)
            assert "gone" not in reply.text
        await game.join("Late")
        wait_until(lambda: "participants" in site.said())
        for table in ("hosts", "quizzes", "logins", "participants"):
            conn.execute(f"ALTER TABLE {table}_gone RENAME TO {table}")


async def test_nothing_that_is_logged_or_measured_tells_a_secret(talkative: Talkative) -> None:
    known = Known()
    known.add("signing key", KEY[1])
    known.add("metrics token", METRICS_TOKEN)
    async with Api(talkative.url) as api:
        host = await accounts(api, known)
        game = await whole_game(host, known)
        await failures(api, talkative, game, known)
        await faults(talkative, host, game)
        metrics = await api.http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        assert "quizcast_intake" in metrics.text
        for where in (metrics.text, talkative.said()):
            assert not known.found_in(where)
    assert "Traceback" in talkative.said()  # the faults were faults
    assert "Invalid HTTP request" in talkative.said()
    stop_parts(talkative.parts)
    assert not known.found_in(talkative.said())


def test_nginx_writes_no_token_into_its_logs_even_when_nobody_answers_behind_it(
    start_nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    proxy = start_nginx(tmp_path)  # where no web process listens
    tokens = Tokens(Keyring([Key(*KEY)]), Settings())
    token = tokens.mint(Kind.PARTICIPANT, "p1", "g1")
    with httpx.Client(base_url=proxy.url, trust_env=False) as client:
        for path in (f"{BASE}/games/g1/events", f"{BASE}/games/g1/state", "/screen/g1"):
            reply = client.get(path, params={"token": token})
            assert refused(reply) == (503, "unavailable")
            assert reply.headers["retry-after"]
        # No `Referer`, which nginx writes with its errors: quizcast's replies tell browsers to send none.
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"quizcast_host={token}"}
        for method, path in (("GET", f"{BASE}/me"), ("POST", f"{BASE}/games/g1/answers")):
            assert refused(client.request(method, path, headers=headers)) == (503, "unavailable")
    assert "/api/v1/me" in proxy.said()
    assert token not in proxy.said()
    assert token.rpartition(".")[2] not in proxy.said()


# ── repr ──────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "s" * 40


def test_no_repr_tells_a_secret() -> None:
    settings = Settings(
        keys=(f"one:{SECRET}",),
        metrics_token=SECRET,
        redis_url=f"redis://:{SECRET}@cache/0",
        database_url=f"postgresql://quiz:{SECRET}@db/quiz",
        replica_urls=(f"postgresql://quiz:{SECRET}@replica/quiz",),
    )
    keyring = Keyring.load(settings)
    tokens = Tokens(keyring, settings)
    token = tokens.mint(Kind.PARTICIPANT, "p1", "g1")
    text, refresh = mint_refresh()
    host = {"id": "h1", "email": "ada@example.org", "name": "Ada"}
    told: list[Any] = [
        settings,
        keyring,
        Key("one", SECRET),
        tokens,
        tokens.read(token, list(Kind)),
        refresh,
        Passwords(),
        Credentials(**host, password_hash=SECRET),
        Register(email="ada@example.org", password=SECRET, name="Ada"),
        Login(email="ada@example.org", password=SECRET),
        RefreshRequest(refresh_token=text),
        Session(access_token=token, refresh_token=text, expires_in=1, host=msgspec.convert(host, HostOf)),
        Join(pin="123456", nickname="Ada", participant_token=token),
        Joined(
            game_id="g1",
            participant_id="p1",
            nickname="Ada",
            token=token,
            events_url="/e",
            answers_url="/a",
        ),
        ScreenToken(token=token, url=f"/screen/g1?token={token}"),
    ]
    for one in told:
        for shown in (repr(one), f"{one}", repr([one])):
            for secret in (SECRET, token, text):
                assert secret not in shown, type(one).__name__


HostOf: Any = Session.__annotations__["host"]
