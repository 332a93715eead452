"""The site as it is shipped, in a real nginx: streams, reloads, HTTP/2, limits, what is private, what is logged."""

import asyncio
import contextlib
import json
import re
import signal
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from msgspec import UNSET

from quizcast.assets import Assets, build
from quizcast.deploy.nginx import REQUESTS_AT_ONCE, REQUESTS_IN_10_S, Site
from tests.client import BASE, Api, Stream
from tests.faults.stage import Play
from tests.faults.test_rolling_restart import ASKING, asking
from tests.fix_nginx import Fronted, Nginx
from tests.fix_tree import processes, quizcast, wait_until

AT_ONCE_S = 1.0  # long before anything is collected or a heartbeat pushes it on
TABS = 20
SCHOOL = 1000
FLOOD, FLOOD_LINES, FLOOD_DEPTH = 20_000, 20, 500


@pytest.fixture
def tls_dir(tmp_path: Path) -> Path:
    """A folder with a certificate for localhost that nobody has signed."""
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-subj", "/CN=localhost", "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "fullchain.pem")]
    subprocess.run(["openssl", "req", "-x509", *words, *files], check=True, capture_output=True)
    return tmp_path


@contextlib.asynccontextmanager
async def browser(proxy: Nginx) -> AsyncIterator[Api]:
    """A client that opens one connection, as a browser does for all its tabs, and speaks HTTP/2 on it."""
    trusting = ssl.create_default_context(cafile=str(proxy.folder.parent / "fullchain.pem"))
    trusting.check_hostname = False
    async with Api(proxy.url) as api:
        limits = httpx.Limits(max_connections=1)
        api.http = httpx.AsyncClient(
            base_url=proxy.url, http1=False, http2=True, verify=trusting, limits=limits, timeout=20.0, trust_env=False
        )
        yield api


async def test_the_first_events_of_a_stream_come_at_once(fronted: Fronted) -> None:
    async with Api(fronted.url) as api:
        game = await (await api.host()).game()
        player = await game.join("Ada")
        began = time.monotonic()
        async with player.stream() as stream:
            await stream.get("snapshot")
            assert time.monotonic() - began < AT_ONCE_S
            assert "content-encoding" not in stream.headers
            began = time.monotonic()
            await game.open()
            await stream.get("question")
            assert time.monotonic() - began < AT_ONCE_S


async def test_the_site_itself_holds_no_event_back(start_nginx: Callable[..., Nginx], tmp_path: Path) -> None:
    done = asyncio.Event()

    async def bare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A stream of one short event, without the `X-Accel-Buffering: no` by which quizcast asks for the same."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await done.wait()
        writer.close()

    async with await asyncio.start_unix_server(bare, tmp_path / "web-0.sock"):
        proxy = start_nginx(tmp_path)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(f"GET {BASE}/games/g/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        try:
            async with asyncio.timeout(AT_ONCE_S):
                await reader.readuntil(b"data: 1\n\n")
        finally:
            done.set()
            writer.close()


async def test_twenty_tabs_of_one_browser_share_a_connection_with_tls_and_http2(
    fronted: Fronted, start_nginx: Callable[..., Nginx], tls_dir: Path
) -> None:
    proxy = start_nginx(fronted.settings.data_dir, tls_dir=tls_dir)
    async with browser(proxy) as api, contextlib.AsyncExitStack() as tabs:
        game = await (await api.host()).game()
        players = [await game.join(f"Tab {number}") for number in range(TABS)]
        streams = [await tabs.enter_async_context(player.stream()) for player in players]
        await game.open()
        for stream in streams:
            await stream.get("question")
        # And past twenty open streams the answers still get through, on the same connection.
        replies = await asyncio.gather(*(player.answer(0, 1) for player in players))
        assert {(reply.status_code, reply.http_version) for reply in replies} == {(202, "HTTP/2")}
        await game.close()
        for stream in streams:
            assert (await stream.get("result"))["correct"] is True
        await game.command("finish")
        for stream in streams:
            await stream.ended()
    lines = [json.loads(line) for line in (proxy.folder / "quizcast.log").read_text().splitlines()]
    opened = [line for line in lines if line["path"].endswith("/events")]
    assert [line["protocol"] for line in opened] == ["HTTP/2.0"] * TABS


def test_nginx_is_reloaded_while_a_crowd_plays_and_nobody_notices(
    fronted: Fronted, start_nginx: Callable[..., Nginx]
) -> None:
    proxy = start_nginx(fronted.settings.data_dir)
    workers = _workers(proxy)
    with asking(proxy.url) as seen:
        play = Play(proxy.url, questions=4)
        play.until_mid_question(0)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _workers(proxy) - workers)
        play.until_mid_question(2)
        assert _workers(proxy) & workers  # they keep their streams until these end
        report = play.report()
    print(f"reload of nginx: {seen}; streams back after {report.resume_ms}")
    assert report.ok, report.text()
    assert report.resume_ms is UNSET
    # An old worker closes lines that idle, and one request on each may just be under way: browsers send it again.
    assert seen.failed.keys() <= {"RemoteProtocolError", "ReadError", "WriteError"}
    assert seen.failed.total() <= ASKING
    wait_until(lambda: not _workers(proxy) & workers)


def test_a_school_behind_one_address_plays_and_is_never_refused(
    fronted: Fronted, start_nginx: Callable[..., Nginx]
) -> None:
    proxy = start_nginx(fronted.settings.data_dir, phones=SCHOOL)
    report = Play(proxy.url, users=SCHOOL, questions=2).report()
    print(f"a school of {SCHOOL}: {report.answers}, join {report.join_ms}, ack {report.ack_ms}")
    assert report.ok, report.text()
    assert not report.retries
    assert '"status":429' not in proxy.said()


async def test_a_flood_from_one_address_does_not_get_through(
    fronted: Fronted, start_nginx: Callable[..., Nginx]
) -> None:
    proxy = start_nginx(fronted.settings.data_dir, phones=SCHOOL)
    request = f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    async def line() -> Counter[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        statuses: Counter[int] = Counter()
        with contextlib.closing(writer):
            for _ in range(FLOOD // FLOOD_LINES // FLOOD_DEPTH):
                writer.write(request * FLOOD_DEPTH)
                for _ in range(FLOOD_DEPTH):
                    head = await reader.readuntil(b"\r\n\r\n")
                    status = int(head.split(b" ", 2)[1])
                    statuses[status] += 1
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    assert length is not None
                    body = await reader.readexactly(int(length[1]))
                    assert json.loads(body)["code"] == {401: "token_missing", 429: "too_many_requests"}[status]
        return statuses

    began = time.monotonic()
    seen = sum(await asyncio.gather(*(line() for _ in range(FLOOD_LINES))), Counter())
    took_s = time.monotonic() - began
    passed = FLOOD - seen[429]
    print(f"a flood of {FLOOD / took_s:,.0f} requests/s: {passed} of {FLOOD} got through; {dict(seen)}")
    assert set(seen) == {401, 429}
    assert passed <= SCHOOL * REQUESTS_AT_ONCE + SCHOOL * REQUESTS_IN_10_S / 10 * (took_s + 1)
    assert passed >= SCHOOL * REQUESTS_AT_ONCE


def test_what_is_for_the_machine_is_refused_to_everybody_else(
    fronted: Fronted, start_nginx: Callable[..., Nginx]
) -> None:
    proxy = start_nginx(fronted.settings.data_dir, monitoring=("127.0.0.3",))
    for path in ("/metrics", "/readyz", "/livez"):
        for source, status in (("127.0.0.1", 200), ("127.0.0.2", 403), ("127.0.0.3", 200)):
            with httpx.Client(transport=httpx.HTTPTransport(local_address=source)) as client:
                for forged in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}):
                    assert client.get(proxy.url + path, headers=forged).status_code == status, (path, source)


def test_a_balancers_word_counts_and_nobody_elses(fronted: Fronted, start_nginx: Callable[..., Nginx]) -> None:
    proxy = start_nginx(fronted.settings.data_dir, behind=("127.0.0.2",), monitoring=("192.0.2.7",))
    told = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    for source, status, secure in (("127.0.0.2", 200, True), ("127.0.0.3", 403, False)):
        with httpx.Client(transport=httpx.HTTPTransport(local_address=source)) as client:
            assert client.get(f"{proxy.url}/metrics", headers=told).status_code == status
            page = client.get(f"{proxy.url}/", headers=told)
            assert ("img-src 'self' https: blob:" in page.headers["content-security-policy"]) is secure


async def test_no_token_is_in_a_log_and_every_line_of_the_access_log_is_json(
    fronted: Fronted, start_nginx: Callable[..., Nginx], tls_dir: Path
) -> None:
    proxy = start_nginx(fronted.settings.data_dir, tls_dir=tls_dir)
    async with browser(proxy) as api:
        game = await (await api.host()).game()
        player = await game.join('Ada "the quick"')
        async with api.stream(game.id, token="none", headers={"User-Agent": 'a "browser"\\ of sorts'}) as refused:
            assert refused.status == 401
        tokens = [player.token, game.host.token, await game.screen()]
        for token in tokens:
            for path in (f"{BASE}/games/{game.id}/state", f"{BASE}/games/{game.id}/nowhere", f"/screen/{game.id}"):
                await api.http.get(path, params={"token": token})
        async with Stream(api.http, f"{BASE}/games/{game.id}/events", {}, {"token": player.token}) as stream:
            await stream.get("snapshot")
    said = proxy.said()
    assert not [token for token in tokens if token.rpartition(".")[2] in said]
    lines = [json.loads(line) for line in (proxy.folder / "quizcast.log").read_text().splitlines()]
    assert {line["path"] for line in lines} >= {f"{BASE}/games/{game.id}/events", f"/screen/{game.id}"}
    assert {line["status"] for line in lines} >= {200, 401, 404}


def test_files_come_from_the_disk_compressed_and_for_ever(
    fronted: Fronted, start_nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    tree = Assets.shipped()
    build(tree, tmp_path / "files")
    proxy = start_nginx(tmp_path, static=tmp_path / "files", brotli=True)  # where no web process listens
    address = f"{proxy.url}/static/{tree.digest}/quizcast.js"
    for accepted, used in (("gzip", "gzip"), ("br", "br"), ("identity", None)):
        reply = httpx.get(address, headers={"Accept-Encoding": accepted}, trust_env=False)
        assert (reply.status_code, reply.headers.get("content-encoding")) == (200, used)
        assert reply.content == tree.files["quizcast.js"]
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_what_is_not_on_the_disk_is_asked_of_quizcast_once(
    fronted: Fronted, start_nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    proxy = start_nginx(fronted.settings.data_dir, static=tmp_path / "nothing")
    for path in (f"/static/{Assets.shipped().digest}/quizcast.js", "/qr/123456.svg"):
        before = _cached(proxy)
        for encoding in ("gzip", "gzip", "identity"):
            reply = httpx.get(proxy.url + path, headers={"Accept-Encoding": encoding}, trust_env=False)
            assert reply.status_code == 200
        assert before < _cached(proxy) <= before + 2  # one for each encoding


def test_the_command_writes_a_site_that_nginx_takes(tls_dir: Path, tmp_path: Path) -> None:
    words = ("--upstream", "10.0.0.1:8000", "--upstream", "10.0.0.2:8000", "--server-name", "quiz.example.org")
    places = ("--tls-dir", str(tls_dir), "--static", str(tmp_path), "--behind", "10.0.0.0/8", "--no-brotli")
    printed = quizcast("nginx", "--print", *words, *places)
    assert printed.returncode == 0, printed.stderr
    assert "server 10.0.0.2:8000 max_fails=0;" in printed.stdout
    site = tmp_path / "site.conf"
    site.write_text(re.sub(r"/var/\w+/nginx", str(tmp_path), printed.stdout))
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid; error_log {tmp_path}/e; events {{}} http {{ include {site}; }}")
    checked = subprocess.run(["nginx", "-t", "-c", str(whole)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert quizcast("nginx", "--web", "2", "--upstream", "x:1").returncode == 2


def test_the_default_site_is_what_the_command_prints() -> None:
    assert quizcast("nginx", "--no-brotli").stdout == Site.on(Path("/run/quizcast")).text()


def _workers(proxy: Nginx) -> set[int]:
    return {pid for pid, (parent, _) in processes().items() if parent == proxy.process.pid}


def _cached(proxy: Nginx) -> int:
    return sum(1 for path in (proxy.folder / "quizcast").rglob("*") if path.is_file())
