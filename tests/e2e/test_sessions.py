"""A host's session in cookies, as the pages have it: no token in sight, tabs that share it, other sites kept out."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from tests.client import PASSWORD, QUIZ, Api, good, refused
from tests.e2e.test_host import SESSION

IN_COOKIES = {"X-Quizcast-Session": "cookie"}
HOST, REFRESH = "quizcast_host", "quizcast_refresh"


class Browser:
    """Keeps the cookies that it is given, and sends them back; several tabs of it may call at once."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.jar: dict[str, str] = {}

    @classmethod
    async def signed_up(cls, api: Api) -> "Browser":
        """A browser with a new host's session."""
        browser = cls(api)
        wish = {"email": f"b{time.time_ns()}@example.org", "password": PASSWORD, "name": "B"}
        good(await browser.call("POST", "/auth/register", json=wish, headers=IN_COOKIES), 201)
        return browser

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with the cookies as they are now."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.jar.items())}
        headers |= {"Sec-Fetch-Site": "same-origin"} | options.pop("headers", {})
        reply = await self.api.call(method, path, headers=headers, **options)
        for cookie in reply.headers.get_list("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.jar[name] = value
        return reply

    async def is_in(self) -> bool:
        """Whether the access cookie is good."""
        return (await self.call("GET", "/me")).status_code == 200


def said(reply: httpx.Response, name: str) -> str:
    """The `Set-Cookie` line of this name."""
    return next(one for one in reply.headers.get_list("set-cookie") if one.startswith(f"{name}="))


async def test_a_page_gets_its_session_in_cookies_and_never_sees_a_token(api: Api) -> None:
    wish = {"email": f"p{time.time_ns()}@example.org", "password": PASSWORD, "name": "P"}
    made = await api.call("POST", "/auth/register", json=wish, headers=IN_COOKIES)
    browser = Browser(api)
    entered = await browser.call("POST", "/auth/login", json=wish, headers=IN_COOKIES)
    renewed = await browser.call("POST", "/auth/refresh")
    for reply in (made, entered, renewed):
        assert good(reply, reply.status_code).keys() == SESSION - {"access_token", "refresh_token"}
        for name in (HOST, REFRESH):
            line = said(reply, name)
            assert "HttpOnly" in line
            assert line.partition("=")[2].partition(";")[0] not in reply.text
        assert "Path=/api/v1/auth;" in said(reply, REFRESH)
        assert "SameSite=Strict" in said(reply, REFRESH)
        assert "Max-Age=2592000" in said(reply, REFRESH)
    assert await browser.is_in()


async def test_who_does_not_ask_for_cookies_gets_tokens_and_no_refresh_cookie(api: Api) -> None:
    wish = {"email": f"t{time.time_ns()}@example.org", "password": PASSWORD, "name": "T"}
    made = await api.call("POST", "/auth/register", json=wish)
    assert good(made, 201).keys() == SESSION
    assert REFRESH not in "".join(made.headers.get_list("set-cookie"))


async def test_tabs_that_renew_at_the_same_moment_stay_in_the_same_session(api: Api) -> None:
    browser = await Browser.signed_up(api)
    for _ in range(3):
        spent = browser.jar[REFRESH]
        replies = await asyncio.gather(*(browser.call("POST", "/auth/refresh") for _ in range(6)))
        assert [reply.status_code for reply in replies] == [200] * 6
        lines = {said(reply, REFRESH) for reply in replies}
        assert len(lines) == 1  # whichever reply comes last, the cookie is the one that is good
        assert browser.jar[REFRESH] != spent
    assert await browser.is_in()


async def test_a_reply_that_was_lost_may_be_asked_for_again(api: Api) -> None:
    browser = await Browser.signed_up(api)
    before = dict(browser.jar)
    good(await browser.call("POST", "/auth/refresh"), 200)
    following = browser.jar
    browser.jar = before
    good(await browser.call("POST", "/auth/refresh"), 200)
    assert browser.jar[REFRESH] == following[REFRESH]
    good(await browser.call("POST", "/auth/refresh"), 200)


async def test_a_cookie_whose_successor_is_spent_too_ends_the_family(api: Api) -> None:
    browser = await Browser.signed_up(api)
    stolen = dict(browser.jar)
    for _ in range(2):
        good(await browser.call("POST", "/auth/refresh"), 200)
    thief = Browser(api)
    thief.jar = stolen
    assert refused(await thief.call("POST", "/auth/refresh")) == (401, "refresh_invalid")
    assert refused(await browser.call("POST", "/auth/refresh")) == (401, "refresh_invalid")


async def test_a_spent_cookie_in_a_body_gets_no_grace(api: Api) -> None:
    browser = await Browser.signed_up(api)
    spent = browser.jar[REFRESH]
    good(await browser.call("POST", "/auth/refresh"), 200)
    reply = await api.call("POST", "/auth/refresh", json={"refresh_token": spent})
    assert refused(reply) == (401, "refresh_invalid")
    assert refused(await browser.call("POST", "/auth/refresh")) == (401, "refresh_invalid")


@pytest.mark.parametrize(
    "foreign",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
)
async def test_another_sites_page_can_neither_renew_nor_end_a_session(api: Api, foreign: dict[str, str]) -> None:
    browser = await Browser.signed_up(api)
    cookies = {"Cookie": f"{REFRESH}={browser.jar[REFRESH]}"}
    for path in ("/auth/refresh", "/auth/logout"):
        reply = await api.call("POST", path, headers=cookies | foreign)
        assert refused(reply) == (403, "origin_refused")
        assert "set-cookie" not in reply.headers
    good(await browser.call("POST", "/auth/refresh"), 200)


async def test_a_page_logs_out_and_takes_the_cookies_along(api: Api) -> None:
    browser = await Browser.signed_up(api)
    kept = dict(browser.jar)
    gone = await browser.call("POST", "/auth/logout")
    assert gone.status_code == 204
    assert all("Max-Age=0" in said(gone, name) for name in (HOST, REFRESH))
    browser.jar = kept
    assert refused(await browser.call("POST", "/auth/refresh")) == (401, "refresh_invalid")
    for left in ({}, {REFRESH: "nonsense"}):
        browser.jar = dict(left)
        again = await browser.call("POST", "/auth/logout")
        assert again.status_code == 204
        assert "Max-Age=0" in said(again, HOST)


async def test_without_a_cookie_there_is_nothing_to_renew(api: Api) -> None:
    assert refused(await api.call("POST", "/auth/refresh")) == (401, "token_missing")


async def test_the_hosts_page_sees_the_hosts_stream_where_the_host_plays_along(api: Api) -> None:
    browser = await Browser.signed_up(api)
    quiz = good(await browser.call("POST", "/quizzes", json=QUIZ), 201)
    game = good(await browser.call("POST", "/games", json={"quiz_id": quiz["id"]}), 201)
    joined = await browser.call("POST", "/join", json={"pin": game["pin"], "nickname": "Ada"})
    assert "quizcast_participant" in said(joined, "quizcast_participant")
    path = f"/games/{game['id']}/state"
    assert "me" in good(await browser.call("GET", path), 200)
    assert "me" not in good(await browser.call("GET", path, headers=IN_COOKIES), 200)
