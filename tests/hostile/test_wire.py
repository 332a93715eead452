"""What comes over the wire that no client of ours would send: straight to a web process, and through nginx.

A smuggled request is one that a reader of the same bytes could take for part of another's body. Here it would lock a
game, with the host's own token: so whether anybody took it for a request shows.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import pytest

from quizcast.web import protocol
from tests.client import BASE, Api, Game, good
from tests.fix_nginx import Fronted
from tests.integration.live_game import until
from tests.integration.test_hot_road import Running, post, running  # noqa: F401

WAYS = ("bare", "nginx")
SILENCE_S = 0.3  # after which nothing more is to come


class Door:
    """A way to the web processes, and a game whose lock tells what got through."""

    def __init__(self, fronted: Fronted, way: str, game: Game) -> None:
        self.fronted, self.way, self.game = fronted, way, game

    async def line(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        if self.way == "nginx":
            return await asyncio.open_connection("127.0.0.1", self.fronted.proxy.port)
        return await asyncio.open_unix_connection(str(self.fronted.doors[0]))

    async def say(self, raw: bytes) -> bytes:
        """Send bytes as they are; all that is answered until the line is closed, or silent."""
        reader, writer = await self.line()
        heard = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            writer.write(raw)
            while got := await asyncio.wait_for(reader.read(65536), SILENCE_S):
                heard += got
        writer.close()
        return heard

    async def locked(self) -> bool:
        """Whether the game is locked."""
        return bool(good(await self.game.call("GET", ""), 200)["locked"])

    @property
    def smuggled(self) -> bytes:
        """A request that locks the game, if anybody takes it for one."""
        return (
            f"POST {BASE}/games/{self.game.id}/lock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            f'{self.game.host.token}\r\nContent-Length: 15\r\n\r\n{{"locked":true}}'
        ).encode()


@pytest.fixture(params=WAYS)
async def door(request: pytest.FixtureRequest, fronted: Fronted) -> AsyncIterator[Door]:
    """Both ways, one after the other."""
    async with Api(fronted.url) as api:
        yield Door(fronted, request.param, await (await api.host()).game())


def statuses(heard: bytes) -> list[int]:
    """The status of every reply."""
    return [int(part[2:5]) for part in heard.split(b"HTTP/1.")[1:] if part[2:5].isdigit()]


# ── one request or two ────────────────────────────────────────────────────────────────────────────────────────

# What follows the request line and `Host`: head and body. %(smuggled)s is the request, %(length)d its length,
# %(chunk)s a chunk that holds it, %(behind)d the length of an empty chunked body with it behind.
SMUGGLING = {
    "CL.TE": b"Content-Length: %(behind)d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%(smuggled)b",
    "CL.TE in small letters": b"content-length: %(behind)d\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n%(smuggled)b",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%(chunk)b",
    "an unknown encoding, and a length": b"Transfer-Encoding: xchunked\r\nContent-Length: %(behind)d\r\n\r\n"
    b"0\r\n\r\n%(smuggled)b",
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n%(smuggled)b",
    "chunked that is not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n%(smuggled)b",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%(smuggled)b",
    "an encoding behind another": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n%(smuggled)b",
    "a blank before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: %(behind)d\r\n\r\n"
    b"0\r\n\r\n%(smuggled)b",
    "a tab before the colon": b"Content-Length\t: 0\r\n\r\n%(smuggled)b",
    "a vertical tab in the value": b"Transfer-Encoding:\x0bchunked\r\nContent-Length: %(behind)d\r\n\r\n"
    b"0\r\n\r\n%(smuggled)b",
    "a fold": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: %(behind)d\r\n\r\n0\r\n\r\n%(smuggled)b",
    "a fold that hides a length": b"X: y\r\n Content-Length: 0\r\nContent-Length: %(length)d\r\n\r\n%(smuggled)b",
    "a first line that is folded": b" Content-Length: 0\r\nContent-Length: %(length)d\r\n\r\n%(smuggled)b",
    "two lengths": b"Content-Length: 0\r\nContent-Length: %(length)d\r\n\r\n%(smuggled)b",
    "two lengths, the other way round": b"Content-Length: %(length)d\r\nContent-Length: 0\r\n\r\n%(smuggled)b",
    "two lengths in one": b"Content-Length: 0, %(length)d\r\n\r\n%(smuggled)b",
    "a length with a sign": b"Content-Length: +0\r\n\r\n%(smuggled)b",
    "a length below zero": b"Content-Length: -1\r\n\r\n%(smuggled)b",
    "a length in hex": b"Content-Length: 0x0\r\n\r\n%(smuggled)b",
    "a length with a blank": b"Content-Length: 0 %(length)d\r\n\r\n%(smuggled)b",
    "a length beyond all bounds": b"Content-Length: 99999999999999999999\r\n\r\n%(smuggled)b",
    "an empty length": b"Content-Length:\r\n\r\n%(smuggled)b",
    "a line that ends in LF": b"X: y\nTransfer-Encoding: chunked\r\nContent-Length: %(behind)d\r\n\r\n"
    b"0\r\n\r\n%(smuggled)b",
    "a line that ends in CR": b"X: y\rContent-Length: 0\r\nContent-Length: %(length)d\r\n\r\n%(smuggled)b",
    "a NUL": b"X: \x00y\r\nContent-Length: 0\r\nContent-Length: %(length)d\r\n\r\n%(smuggled)b",
    "a chunk's size in C": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n%(smuggled)b",
    "a chunk's size with a sign": b"Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n%(smuggled)b",
    "a chunk's size with a blank": b"Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n%(smuggled)b",
    "a chunk's size beyond all bounds": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n%(smuggled)b",
    "a chunk that is longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n%(smuggled)b",
}
# nginx takes LF for the end of a chunk's line. It is the first to read them, and writes its own lines to quizcast.
LINE_FEEDS = {
    "a chunk's end that is LF": b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n%(smuggled)b",
    "an extension with LF": b"Transfer-Encoding: chunked\r\n\r\n1;a\nx\r\n0\r\n\r\n%(smuggled)b",
}
# The request lies plainly inside of a body, or behind one: nothing is ambiguous, and what is inside stays inside.
INSIDE = {
    "a length": b"Content-Length: %(length)d\r\n\r\n%(smuggled)b",
    "a chunk": b"Transfer-Encoding: chunked\r\n\r\n%(chunk)b",
    "a chunk with an extension": b"Transfer-Encoding: chunked\r\n\r\n%(extended)b",
}
TARGETS = {
    "hot": f"POST {BASE}/games/x/answers HTTP/1.1\r\nHost: x\r\n",
    "routed": f"POST {BASE}/auth/login HTTP/1.1\r\nHost: x\r\n",
}


def written(door: Door, target: str, rest: bytes) -> bytes:
    """The bytes of an attack."""
    smuggled = door.smuggled
    values = {
        b"smuggled": smuggled,
        b"length": len(smuggled),
        b"behind": len(smuggled) + 5,
        b"chunk": b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled),
        b"extended": b"%x;name=value\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled),
    }
    return TARGETS[target].encode() + rest % values


@pytest.mark.parametrize("what", SMUGGLING)
async def test_what_could_be_read_in_two_ways_is_never_read_as_two_requests(door: Door, what: str) -> None:
    heard = await asyncio.gather(*(door.say(written(door, target, SMUGGLING[what])) for target in TARGETS))
    assert not await door.locked(), heard
    for said in heard:
        assert len(statuses(said)) <= 1, said
        assert not said or statuses(said)[0] in range(400, 502), said


@pytest.mark.parametrize("what", LINE_FEEDS)
async def test_what_nginx_reads_as_the_end_of_a_body_quizcast_reads_as_nginx_did(door: Door, what: str) -> None:
    heard = [statuses(await door.say(written(door, target, LINE_FEEDS[what]))) for target in TARGETS]
    if door.way == "bare":
        assert heard == [[400], [400]]
        assert not await door.locked()
    else:
        assert heard == [[401, 200], [400, 200]]


@pytest.mark.parametrize("what", INSIDE)
async def test_a_request_in_the_body_of_another_is_its_body(door: Door, what: str) -> None:
    heard = await asyncio.gather(*(door.say(written(door, target, INSIDE[what])) for target in TARGETS))
    assert not await door.locked()
    assert [statuses(said)[0] // 100 for said in heard] == [4, 4]
    assert all(len(statuses(said)) == 1 for said in heard)


async def test_a_request_behind_another_is_one(door: Door) -> None:
    rest = b"Content-Length: 2\r\n\r\n{}" + door.smuggled  # so a lock is what a second request would look like
    for target in TARGETS:
        assert len(statuses(await door.say(TARGETS[target].encode() + rest))) == 2
    assert await door.locked()


async def test_who_forwarded_a_request_is_what_nginx_saw_and_not_what_a_client_says(fronted: Fronted) -> None:
    async with Api(fronted.url) as api:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "8.8.8.8", "X-Request-Id": "mine"}
        reply = await api.call("POST", "/auth/login", json={"email": "a@example.org", "password": "x"}, headers=headers)
        assert reply.headers["x-request-id"] != "mine"
        game = await (await api.host()).game()
        shown = good(await game.call("GET", "", headers=headers), 200)
        assert shown["join_url"].startswith(f"{fronted.url}/join/")


# ── huge heads ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"x" * 1_000_000 + b"\r\n",
        b"".join(b"X%d: %b\r\n" % (number, b"x" * 1000) for number in range(1000)),
        b"".join(b"X%d: y\r\n" % number for number in range(protocol.HEADERS_MAX * 50)),
        b"Cookie: " + b"a=b; " * 100_000 + b"\r\n",
        b"a" * 500_000 + b": b\r\n",
    ],
    ids=["one value", "many values", "many lines", "cookies", "a name"],
)
async def test_a_huge_head_is_refused_and_ends_the_line(door: Door, head: bytes) -> None:
    for target in TARGETS.values():
        heard = await door.say(target.encode() + head + b"Content-Length: 2\r\n\r\n{}")
        assert not heard or statuses(heard)[0] in (400, 431), heard[:200]
        assert len(statuses(heard)) <= 1


async def test_an_address_without_end_is_refused(door: Door) -> None:
    heard = await door.say(b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not heard or statuses(heard)[0] in (400, 414, 431), heard[:200]


async def test_as_many_headers_as_a_browser_and_its_proxies_send_are_fine(door: Door) -> None:
    head = b"".join(b"X%d: y\r\n" % number for number in range(protocol.HEADERS_MAX - 20))
    for target in TARGETS.values():
        heard = await door.say(target.encode() + head + b"Content-Length: 2\r\n\r\n{}")
        assert statuses(heard)[0] in (401, 422)


# ── slowly ────────────────────────────────────────────────────────────────────────────────────────────────────


async def trickle(door: Door, first: bytes) -> tuple[bytes, float]:
    """Send this, and then a byte every half a second: what is answered until the line is closed, and after how long."""
    reader, writer = await door.line()
    began = time.monotonic()
    writer.write(first)
    heard, closed = b"", False
    while not closed and time.monotonic() - began < protocol.HEAD_S * 2:
        try:
            got = await asyncio.wait_for(reader.read(1000), 0.5)
            heard, closed = heard + got, not got
        except TimeoutError:
            if first:
                writer.write(b"x")
        except ConnectionError:
            closed = True
    writer.close()
    assert closed, "the line is still open"
    return heard, time.monotonic() - began


async def test_a_head_that_trickles_in_and_a_line_that_says_nothing_are_cut_off(fronted: Fronted) -> None:
    async with Api(fronted.url) as api:
        game = await (await api.host()).game()
        doors = [Door(fronted, way, game) for way in WAYS]
        heads = [f"POST {BASE}/games/x/answers HTTP/1.1\r\nHost: x\r\nX: ".encode(), b"GET /", b""]
        cut = await asyncio.gather(*(trickle(door, head) for door in doors for head in heads))
    for heard, after_s in cut:
        assert statuses(heard) in ([], [400], [408])
        assert after_s > protocol.HEAD_S * 0.8


def late(made: Running, by_s: float) -> None:
    """What the server would find if it looked at its lines so much later."""
    protocol.cut_slow(made.server.server_state.connections, asyncio.get_running_loop().time() + by_s)


SOON, HEAD, BODY = 1.0, protocol.HEAD_S + 0.5, protocol.HEAD_S + protocol.BODY_S + 0.5


@pytest.mark.parametrize("path", ["/hot", "/task"])
async def test_a_body_has_longer_than_a_head_and_not_for_ever(running: Running, path: str) -> None:  # noqa: F811
    line = await running.line()
    line.send(post(b"12345", path)[:-1])
    await until(lambda: any(one.cycle or one._coming for one in running.server.server_state.connections))
    for by_s in (SOON, HEAD):
        late(running, by_s)
    line.send(b"5")
    if path == "/hot":
        await running.waiting(1)
        late(running, BODY)  # a request that is there may take as long as it likes to be answered
        running.app.reply()
    assert (await line.reply())[1].endswith(b"12345")
    late(running, SOON)  # and a line that has been answered may idle for a while
    line.send(post(b"12345", path)[:-1])
    await until(lambda: any(one.cycle or one._coming for one in running.server.server_state.connections))
    late(running, BODY)
    head, _ = await line.reply()
    assert head.startswith(b"http/1.1 408 ")
    assert await line.ended()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"P", b"POST /hot HTTP/1.1\r\nHost: "])
async def test_a_line_has_ten_seconds_for_a_head(running: Running, sent: bytes) -> None:  # noqa: F811
    line = await running.line()
    line.send(sent)
    await asyncio.sleep(0.05)
    late(running, SOON)
    await asyncio.sleep(0.05)
    late(running, HEAD)
    heard = await asyncio.wait_for(line.reader.read(), 5)
    assert heard.startswith(protocol.TOO_SLOW) if len(sent) == 1 or b"POST" in sent else heard == b""


async def test_an_empty_line_behind_an_answer_buys_no_time(running: Running) -> None:  # noqa: F811
    line = await running.line()
    line.send(post(b"x"))
    await running.waiting(1)
    running.app.reply()
    await line.reply()
    (connection,) = running.server.server_state.connections
    due = connection._due
    line.send(b"\r\n")
    await asyncio.sleep(0.05)
    assert connection._due == due


@pytest.mark.parametrize("path", ["/hot", "/task"])
async def test_a_line_that_idles_is_ended_without_a_word(running: Running, path: str) -> None:  # noqa: F811
    line, kept_s = await running.line(), running.server.config.timeout_keep_alive
    line.send(post(b"x", path))
    if path == "/hot":
        await running.waiting(1)
        running.app.reply()
    await line.reply()
    late(running, kept_s - 1)
    line.send(post(b"y", "/task"))
    assert (await line.reply())[1] == b"task:y"
    late(running, kept_s + 1)
    assert await line.ended()


async def test_a_line_idles_as_long_when_its_reply_came_before_the_end_of_the_body(running: Running) -> None:  # noqa: F811
    line, kept_s = await running.line(), running.server.config.timeout_keep_alive
    line.send(post(b"x" * protocol.HOT_BODY_MAX * 2)[:-1])
    await running.waiting(1)
    running.app.reply()
    await line.reply()
    line.send(b"x")
    await asyncio.sleep(0.05)
    late(running, kept_s + 1)
    assert await line.ended()


async def test_nobody_is_cut_off_for_what_is_slow_on_our_side(running: Running) -> None:  # noqa: F811
    line = await running.line()
    line.send(post(b"one") + post(b"two")[:20])  # the second comes in while the first is being seen to
    await running.waiting(1)
    late(running, HEAD)
    running.app.reply()
    assert (await line.reply())[1] == b"one"
    line.send(post(b"two")[20:])
    await running.waiting(1)
    running.app.reply()
    assert (await line.reply())[1] == b"two"


async def test_a_stream_is_never_too_slow_to_ask(running: Running) -> None:  # noqa: F811
    line = await running.line()
    line.send(post(b"x"))
    await running.waiting(1)
    transport = running.app.waiting.pop().stream(200, [])
    assert transport is not None
    late(running, BODY)
    transport.write(protocol.chunk(b"still here"))
    await line.reader.readuntil(b"still here")


async def test_who_does_not_read_a_reply_is_cut_off(running: Running) -> None:  # noqa: F811
    line = await running.line()
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]
    big = b"x" * (1 << 20)
    lines = running.server.server_state.connections
    for _ in range(20):  # until the sockets' buffers are full, which are the system's
        line.send(post(big, "/task"))
    await until(lambda: any(one._unread_due for one in lines))
    late(running, SOON)
    assert len(lines) == 1
    late(running, protocol.UNREAD_S + 1)
    await until(lambda: not lines)


async def test_json_over_both_ways_is_the_same(fronted: Fronted) -> None:
    async with Api(fronted.url) as api:
        game = await (await api.host()).game()
    request = f"GET {BASE}/games/{game.id}/state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    heard = [await Door(fronted, way, game).say(request) for way in WAYS]
    assert len({json.dumps(json.loads(said.partition(b"\r\n\r\n")[2])) for said in heard}) == 1
