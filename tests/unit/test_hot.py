"""The hot road's door: what goes by it, what is said while there are no services, and to pages of other sites."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from quizcast.settings import Settings
from quizcast.web.app import App
from quizcast.web.hot import HotRoad
from quizcast.web.protocol import Headers

SITE = "https://quiz.example.org"


class Asked:
    """A request that keeps its reply."""

    def __init__(self, origin: str = "") -> None:
        self.headers = Headers({b"origin": origin.encode()} if origin else {})
        self.body, self.query = b"{}", b""
        self.said: tuple[int, dict[bytes, bytes], bytes] | None = None
        self.closed = False

    def reply(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, close: bool = False) -> None:
        self.said, self.closed = (status, dict(headers), body), close


def asked(road: HotRoad, method: bytes, url: bytes, origin: str = "") -> Any:
    request = Asked(origin)
    path, _, request.query = url.partition(b"?")
    handler = road.handler(method, path)
    assert handler is not None
    handler(request)  # type: ignore[arg-type]
    return request


@pytest.mark.parametrize(
    ("method", "url"),
    [
        (b"POST", b"/api/v1/games/g/answers"),
        (b"POST", b"/api/v1/games/g/answers?x=1"),
        (b"POST", b"/api/v1/games/%67/%61nswers"),
        (b"POST", b"http://quiz.example.org/api/v1/games/g/answers"),
        (b"GET", b"/api/v1/games/g/events"),
        (b"GET", b"/api/v1/games/g/events?token=t&last_event_id=1-2"),
    ],
)
async def test_answers_and_streams_go_by_it_and_say_when_there_are_no_services(method: bytes, url: bytes) -> None:
    request = asked(HotRoad(Settings(), lambda: None), method, url)
    assert request.said[0] == 503
    assert request.said[1][b"retry-after"] == b"1"
    assert request.closed


@pytest.mark.parametrize(
    ("method", "url"),
    [
        (b"GET", b"/api/v1/games/g/answers"),
        (b"POST", b"/api/v1/games/g/events"),
        (b"OPTIONS", b"/api/v1/games/g/answers"),
        (b"POST", b"/api/v1/games/g/open"),
        (b"POST", b"/api/v1/games/g/h/answers"),
        (b"POST", b"/other/games/g/answers"),
        (b"GET", b"/api/v1/games/"),
        (b"GET", b"/"),
        (b"GET", b""),
    ],
)
def test_everything_else_goes_by_the_router(method: bytes, url: bytes) -> None:
    assert HotRoad(Settings(), lambda: None).handler(method, url) is None


async def test_requests_of_one_turn_of_the_loop_are_counted_in_the_next() -> None:
    labels = {"method": "POST", "route": "/games/{game_id}/answers", "status": "503"}
    before = REGISTRY.get_sample_value("quizcast_http_seconds_count", labels) or 0
    road = HotRoad(Settings(), lambda: None)
    for turn in (1, 2):
        for _ in range(3):
            asked(road, b"POST", b"/api/v1/games/g/answers")
        await asyncio.sleep(0)
        assert REGISTRY.get_sample_value("quizcast_http_seconds_count", labels) == before + 3 * turn


@pytest.mark.parametrize("origins", [(SITE,), ("*",), ()])
@pytest.mark.parametrize("origin", [SITE, "https://evil.example", ""])
async def test_other_sites_pages_are_told_what_the_middleware_tells(origins: tuple[str, ...], origin: str) -> None:
    settings = Settings(cors_origins=origins)
    request = asked(HotRoad(settings, lambda: None), b"POST", b"/api/v1/games/g/answers", origin)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(App(settings)), base_url="http://quizcast") as http:
        reply = await http.get("/livez", headers={"origin": origin} if origin else {})
    for name in ("access-control-allow-origin", "access-control-expose-headers", "vary"):
        assert request.said[1].get(name.encode(), b"").decode() == reply.headers.get(name, "")
