"""Pages, static files and images from running processes, over real HTTP."""

import asyncio

import httpx
import pytest

from quizcast.assets import Assets
from tests.client import TIMEOUT_S, Api
from tests.fix_tree import Tree, wait_until

DIGEST = Assets.shipped().digest
ICON = f"/static/{DIGEST}/icon.svg"


@pytest.mark.parametrize(
    "path",
    ["/", "/join/123456", "/host", "/host/games/1", "/screen/x?token=secret", "/qr/123456.svg", "/favicon.ico", ICON],
)
async def test_what_a_browser_asks_for_is_there_and_its_head_alone_too(api: Api, path: str) -> None:
    whole, head = await api.http.get(path), await api.http.head(path)
    assert (whole.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))
    # Once: a list of them is for the browser to make sense of.
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["referrer-policy"] == "no-referrer"
    again = await api.http.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_serve_compresses_the_pages_files_and_then_gives_them_out_so(tree: Tree) -> None:
    wait_until((tree.data_dir / "static" / DIGEST / "icon.svg.br").exists)
    plain = Assets.shipped().files["icon.svg"]
    with httpx.Client(base_url=tree.url, timeout=TIMEOUT_S, trust_env=False) as http:
        for accepted, encoding in (("br", "br"), ("gzip", "gzip"), ("identity", None)):
            reply = http.get(ICON, headers={"Accept-Encoding": accepted})
            assert reply.headers.get("content-encoding") == encoding
            assert int(reply.headers["content-length"]) <= len(plain)
            assert "immutable" in reply.headers["cache-control"]
        assert http.get(ICON, headers={"Accept-Encoding": "identity"}).content == plain


async def test_metrics_name_pages_by_their_route_and_not_by_their_address(api: Api) -> None:
    await asyncio.gather(*(api.http.get(f"/screen/game-{number}") for number in range(20)))
    routes = {line for line in (await api.http.get("/metrics")).text.splitlines() if "game-" in line}
    assert routes == set()
    assert 'route="/screen/{game_id}"' in (await api.http.get("/metrics")).text
