"""The pages' routes around a tree of static files: shells, headers, variants, versions, QR codes."""

import gzip
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import brotli
import httpx
import pytest
from starlette.applications import Starlette

from quizcast.assets import Assets, build
from quizcast.errors import QuizcastError, SettingsInvalid
from quizcast.settings import Settings
from quizcast.web.app import App
from quizcast.web.http import refused
from quizcast.web.pages import Pages, _qr_code
from tests.unit.test_assets import TREE

PAGES = ["/", "/join/123456", "/host", "/host/", "/host/quizzes/7", "/screen/abc", "/ops"]
CDN = "https://cdn.example.org/q"


def client(folder: Path, files: dict[str, bytes] | None = None, **settings: object) -> httpx.AsyncClient:
    """Calls the routes in this process."""
    made = Settings(data_dir=folder, **settings)  # type: ignore[arg-type]
    app = Starlette(routes=Pages(made, Assets(files or TREE)).routes(), exception_handlers={QuizcastError: refused})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://quizcast")


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The routes around `TREE`, with no variants built."""
    async with client(tmp_path) as made:
        yield made


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One tag."""
        self.found.append((tag, dict(attrs)))

    def attributes(self, tag: str, **having: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of this name with these among them."""
        return [attrs for name, attrs in self.found if name == tag and having.items() <= attrs.items()]


def policy(reply: httpx.Response) -> dict[str, str]:
    """The content security policy, by directive."""
    parts = [part.strip().partition(" ") for part in reply.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_a_shell_without_a_script_or_style_in_it(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    tags = Tags(reply.text)
    (root,) = tags.attributes("html")
    assert root["lang"] == "en"
    assert root["data-static"] == f"/static/{Assets(TREE).digest}/"
    assert root["data-languages"] == "en de"
    assert "$" not in reply.text
    assert tags.attributes("style") == []
    assert re.search(r"<script[^>]*>[^<]", reply.text) is None
    assert not [attrs for _, attrs in tags.found if any(name == "style" or name[:2] == "on" for name in attrs)]
    (module,) = tags.attributes("script")
    assert module["type"] == "module"
    assert tags.attributes("noscript")
    assert tags.attributes("meta", name="viewport")
    assert len(tags.attributes("meta", name="theme-color")) == 2


async def test_a_page_names_ahead_what_its_module_imports_and_every_address_is_there(http: httpx.AsyncClient) -> None:
    tags = Tags((await http.get("/")).text)
    base = f"/static/{Assets(TREE).digest}/"
    ahead = [attrs["href"] for attrs in tags.attributes("link", rel="modulepreload")]
    assert ahead == [base + path for path in Assets(TREE).modules("play/main.js")[1:]]
    addresses = [attrs["href"] for attrs in tags.attributes("link")] + [tags.attributes("script")[0]["src"]]
    for address in addresses:
        assert (await http.get(str(address))).status_code == 200, address


@pytest.mark.parametrize("path", PAGES)
async def test_a_pages_policy_lets_nothing_in_that_the_page_does_not_need(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(path)
    rules = policy(reply)
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == rules["form-action"] == "'self'"
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in reply.headers["permissions-policy"]
    assert reply.headers["cache-control"] == "no-cache"


async def test_a_page_over_tls_shows_no_pictures_that_were_not(tmp_path: Path, http: httpx.AsyncClient) -> None:
    assert "http:" in policy(await http.get("/"))["img-src"].split()
    async with client(tmp_path, public_url="https://quiz.example.org") as secure:
        assert policy(await secure.get("/"))["img-src"].split() == ["'self'", "https:", "blob:"]


async def test_pages_may_be_framed_by_those_who_are_named(tmp_path: Path) -> None:
    async with client(tmp_path, frame_ancestors=("'self'", "https://lms.example.org")) as framed:
        reply = await framed.get("/")
        assert policy(reply)["frame-ancestors"] == "'self' https://lms.example.org"
        assert "x-frame-options" not in reply.headers


async def test_pages_link_to_the_cdn_and_their_policy_lets_it_in(tmp_path: Path) -> None:
    async with client(tmp_path, static_url=CDN + "/") as linked:
        reply = await linked.get("/")
        tags = Tags(reply.text)
        base = f"{CDN}/{Assets(TREE).digest}/"
        assert tags.attributes("html")[0]["data-static"] == base
        assert tags.attributes("script")[0]["src"] == base + "play/main.js"
        assert tags.attributes("link", rel="stylesheet")[0]["href"] == base + "style.css"
        for name in ("script-src", "style-src", "font-src", "connect-src", "img-src"):
            assert "https://cdn.example.org" in policy(reply)[name].split()
        # Behind a CDN that pulls, and for pages of other sites.
        own = await linked.get(f"/static/{Assets(TREE).digest}/play/main.js")
        assert own.headers["access-control-allow-origin"] == "*"
        assert own.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QUIZCAST_STATIC_URL", "cdn.example.org"),
        ("QUIZCAST_STATIC_URL", "https://cdn.example.org/; script-src *"),
        ("QUIZCAST_STATIC_URL", 'https://cdn.example.org/"><script>'),
        ("QUIZCAST_FRAME_ANCESTORS", "https://a.example.org; script-src *"),
        ("QUIZCAST_FRAME_ANCESTORS", "https://a.example.org https://b.example.org"),
        ("QUIZCAST_FRAME_ANCESTORS", "'unsafe-inline'"),
    ],
)
def test_what_would_break_a_header_or_a_page_is_no_setting(variable: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=variable):
        Settings.from_env({variable: value})


def test_sites_and_their_patterns_are_settings() -> None:
    sites = "https://lms.example.org,https://*.example.org:8443,'self',http://localhost:*"
    read = Settings.from_env({"QUIZCAST_FRAME_ANCESTORS": sites, "QUIZCAST_STATIC_URL": "http://10.0.0.1:81/a/b"})
    assert read.frame_ancestors == tuple(sites.split(","))


async def test_a_file_under_its_digest_is_kept_for_ever_and_under_another_not_at_all(http: httpx.AsyncClient) -> None:
    digest = Assets(TREE).digest
    own = await http.get(f"/static/{digest}/style.css")
    assert own.content == TREE["style.css"]
    assert own.headers["content-type"] == "text/css; charset=utf-8"
    assert own.headers["cache-control"] == "public, max-age=31536000, immutable"
    for other in ("0" * 16, "today", "x" * 100):
        today = await http.get(f"/static/{other}/style.css")
        assert (today.content, today.headers["cache-control"]) == (TREE["style.css"], "no-cache")


async def test_a_page_of_another_version_gets_that_versions_file_while_it_is_kept(tmp_path: Path) -> None:
    older = Assets(TREE | {"style.css": b"old", "gone.js": b"1"})
    build(older, tmp_path / "static")
    async with client(tmp_path) as http:
        for path, content in (("style.css", b"old"), ("gone.js", b"1")):
            reply = await http.get(f"/static/{older.digest}/{path}")
            assert (reply.status_code, reply.content) == (200, content)
            assert "immutable" in reply.headers["cache-control"]
        assert (await http.get(f"/static/{Assets(TREE).digest}/gone.js")).status_code == 404


async def test_a_folder_that_is_not_what_its_name_says_is_not_served(tmp_path: Path) -> None:
    older = Assets(TREE | {"style.css": b"old"})
    (build(older, tmp_path / "static") / "style.css").write_bytes(b"forged")
    async with client(tmp_path) as http:
        reply = await http.get(f"/static/{older.digest}/style.css")
        assert (reply.content, reply.headers["cache-control"]) == (TREE["style.css"], "no-cache")


@pytest.mark.parametrize(
    "path", ["nothing.js", "", "play", "play/", "%2e%2e/settings.py", "..%2f..%2fetc%2fpasswd", "a%00b", "style.css.br"]
)
async def test_what_is_not_in_the_tree_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(f"/static/{Assets(TREE).digest}/{path}")
    assert reply.status_code == 404


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0", ""),
        ("identity", ""),
        ("", ""),
    ],
)
async def test_a_file_goes_out_in_the_smallest_form_that_the_client_takes(
    tmp_path: Path, accepted: str, encoding: str
) -> None:
    build(Assets(TREE), tmp_path / "static")
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}[encoding]
    async with client(tmp_path) as http:
        address = f"/static/{Assets(TREE).digest}/style.css"
        async with http.stream("GET", address, headers={"Accept-Encoding": accepted}) as reply:
            raw = b"".join([part async for part in reply.aiter_raw()])
        assert reply.headers.get("content-encoding", "") == encoding
        assert unpack(raw) == TREE["style.css"]
        assert reply.headers["vary"] == "Accept-Encoding"
        assert "immutable" in reply.headers["cache-control"]
        # What does not gain is there as it is.
        small = await http.get(f"/static/{Assets(TREE).digest}/i18n/en.json", headers={"Accept-Encoding": accepted})
        assert (small.content, small.headers.get("content-encoding")) == (b"{}", None)


async def test_variants_that_appear_later_are_found(tmp_path: Path) -> None:
    asked = {"Accept-Encoding": "br"}
    async with client(tmp_path) as http:
        address = f"/static/{Assets(TREE).digest}/style.css"
        assert "content-encoding" not in (await http.get(address, headers=asked)).headers
        build(Assets(TREE), tmp_path / "static")
        assert (await http.get(address, headers=asked)).headers["content-encoding"] == "br"


async def test_who_has_it_already_gets_it_no_second_time(tmp_path: Path) -> None:
    build(Assets(TREE), tmp_path / "static")
    async with client(tmp_path) as http:
        static = f"/static/{Assets(TREE).digest}/style.css"
        for path in ("/", "/host", "/qr/123456.svg", "/site.webmanifest", "/robots.txt", static):
            tag = (await http.get(path)).headers["etag"]
            for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                again = await http.get(path, headers={"If-None-Match": given})
                assert (again.status_code, again.content) == (304, b""), (path, given)
                assert again.headers["etag"] == tag
                assert again.headers["cache-control"]
            assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
        variants = [await http.get(static, headers={"Accept-Encoding": one}) for one in ("br", "gzip", "")]
        assert len({one.headers["etag"] for one in variants}) == 3


async def test_a_qr_code_is_of_the_join_address_black_on_white_with_a_quiet_zone(tmp_path: Path) -> None:
    async with client(tmp_path, public_url="https://quiz.example.org/") as http:
        reply = await http.get("/qr/123456.svg")
        assert reply.headers["content-type"] == "image/svg+xml"
        assert reply.content == _qr_code("https://quiz.example.org/join/123456")
        size = int(re.search(r'viewBox="0 0 (\d+) \1"', reply.text).group(1))  # type: ignore[union-attr]
        assert f'fill="#fff" d="M0 0h{size}v{size}h-{size}z"' in reply.text
        assert 'stroke="#000" d="M4 4.5h7' in reply.text  # the corner, four modules from the edges
    async with client(tmp_path) as http:
        assert (await http.get("/qr/123456.svg")).content == _qr_code("http://quizcast/join/123456")


@pytest.mark.parametrize("pin", ["abc", "12a", "1234567890123", "%D9%A1%D9%A2", "-1", "1%2F2"])
async def test_what_cannot_be_a_pin_has_no_qr_code(http: httpx.AsyncClient, pin: str) -> None:
    assert (await http.get(f"/qr/{pin}.svg")).status_code == 404


@pytest.mark.parametrize("path", ["/nothing", "/hosts", "/join", "/screen", "/static", "/host.php"])
async def test_people_who_went_astray_get_a_page_and_programs_a_problem_document(path: str, tmp_path: Path) -> None:
    app = App(Settings(data_dir=tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://quizcast") as http:
        page = await http.get(path, headers={"Accept": "text/html,*/*;q=0.8", "If-None-Match": "*"})
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert 'href="/"' in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for headers in ({}, {"Accept": "application/json"}):
            document = await http.get(path, headers=headers)
            assert (document.status_code, document.json()["code"]) == (404, "not_found")
        api = await http.get("/api/v1/nothing", headers={"Accept": "text/html"})
        assert api.headers["content-type"] == "application/problem+json"


async def test_a_page_takes_no_other_method(tmp_path: Path) -> None:
    app = App(Settings(data_dir=tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://quizcast") as http:
        reply = await http.post("/host")
        assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_robots_keep_out_of_games_and_phones_get_a_manifest(http: httpx.AsyncClient) -> None:
    assert "Disallow: /screen/" in (await http.get("/robots.txt")).text.splitlines()
    manifest = await http.get("/site.webmanifest")
    assert manifest.headers["content-type"] == "application/manifest+json"
    assert manifest.json()["start_url"] == "/"
