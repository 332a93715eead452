"""More than a process can take: it refuses at once, keeps its word to those it lets in, and goes on as before.

A real web process with small limits, and clients that send by the clock, whether or not they have been answered.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from bench.backstage import join
from bench.machine import pss_kb
from quizcast.auth import Keyring, Kind, Tokens
from quizcast.domain.game import Game, GameOptions, Open, step
from quizcast.domain.quiz import Numeric, QuizContent
from quizcast.ids import new_id
from quizcast.live.games import Games
from quizcast.live.redis import Live
from quizcast.settings import Settings
from tests.client import Api, problem
from tests.fix_web import Site, listening, part_environment, start_part, stop_parts, wait_ready

PIN = "123456"
QUIZ = QuizContent(title="Q", questions=(Numeric(prompt="How many?", correct=7, tolerance=3, time_limit_ms=600_000),))
WAIT_S = 0.5
# Two calls at once of one answer each: a capacity that a client in Python outdoes three times over.
LIMITS = {"intake_group_max": 1, "intake_wait_s": WAIT_S}
BURST_S = 3.0
LINES = 1000


class Replied(msgspec.Struct):
    """A reply: to whose request, how long after it was due."""

    who: int
    status: int
    retry_after: int | None
    took_s: float


class Line(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self, idle: Callable[["Line"], None], seen: list[Replied]) -> None:
        self._idle, self._seen = idle, seen
        self._got = b""
        self._who, self._due_at = 0, 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self.transport = transport  # type: ignore[assignment]
        self._idle(self)

    def send(self, who: int, request: bytes, due_at: float) -> None:
        """Send a request that was due then."""
        self._who, self._due_at, self._got = who, due_at, b""
        if self.transport is not None:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A reply, or a part of it."""
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(headers[b"content-length"]):
            return
        retry = headers.get(b"retry-after")
        took_s = time.monotonic() - self._due_at
        self._seen.append(Replied(self._who, int(head.split()[1]), int(retry) if retry else None, took_s))
        self._idle(self)


async def offer(port: int, requests: Sequence[bytes], *, per_s: float | None, lines: int = LINES) -> list[Replied]:
    """Send requests by the clock, or (without `per_s`) each when a line has its reply; all replies."""
    seen: list[Replied] = []
    idle: asyncio.Queue[Line] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Line(idle.put_nowait, seen), "127.0.0.1", port) for _ in range(lines)
    ]
    began = time.monotonic()
    for who, request in enumerate(requests):
        due_at = began + who / per_s if per_s else time.monotonic()
        if (ahead_s := due_at - time.monotonic()) > 0:
            await asyncio.sleep(ahead_s)
        (await idle.get()).send(who, request, due_at if per_s else time.monotonic())
    async with asyncio.timeout(30):
        while idle.qsize() < lines:  # noqa: ASYNC110 (nobody tells when the last has its reply)
            await asyncio.sleep(0.01)
    for transport, _ in opened:
        transport.close()
    return seen


@contextlib.contextmanager
def serving(settings: Settings, folder: Path, **limits: float) -> Iterator[tuple[Site, int]]:
    """A web process with such limits, and its pid."""
    settings = msgspec.structs.replace(settings, data_dir=folder, **limits)
    door, log = listening(), folder / "web.log"
    process = start_part(log, part_environment(settings), "web", "--fd", str(door.fileno()), doors=[door])
    site = Site(f"http://127.0.0.1:{door.getsockname()[1]}", settings, [log])
    door.close()
    try:
        wait_ready(site)
        yield site, process.pid
    finally:
        stop_parts([process])


class Hall:
    """A game with its question open, and participants who let themselves in by the script."""

    def __init__(self, live: Live, game_id: str, settings: Settings) -> None:
        self.live, self.game_id = live, game_id
        self._tokens = Tokens(Keyring.load(settings), settings)

    async def enter(self, people: int) -> list[str]:
        """So many participants; their tokens."""
        names = [f"{number:025d}" for number in range(people)]
        await join(self.live, self.game_id, names)
        return [self._tokens.mint(Kind.PARTICIPANT, one, self.game_id) for one in names]

    async def taken(self) -> set[int]:
        """Whose answer is in Redis, and on its way to Postgres."""
        found = await self.live.client.hkeys(self.live.keys.answers(self.game_id, 0))
        rows = await self.live.client.xrange(self.live.keys.rows(self.live.keys.shard_of(self.game_id)))
        flushed = b" ".join(b" ".join(fields.values()) for _, fields in rows)
        assert all(one in flushed for one in found[:: max(1, len(found) // 200)])
        return {int(one) for one in found}


@pytest.fixture
async def hall(settings: Settings) -> AsyncIterator[Hall]:
    """The game, behind its PIN."""
    live = Live(settings)
    games = Games(live)
    options = GameOptions(max_participants=100_000, lead_ms=0, close_when_all_answered=False)
    now = int(time.time() * 1000)
    game = Game(id=new_id(), pin=PIN, host_id="h", quiz_id="", question_count=1, created_at=now, options=options)
    await games.create(game, QUIZ)
    await live.client.set(live.keys.pin(PIN), game.id)
    before = await games.load(game.id)
    assert await games.advance(before, step(before.game, QUIZ, Open(question=0), before.now)[0])
    yield Hall(live, game.id, settings)
    await live.close()


def request(method: str, path: str, token: str = "", body: object = None) -> bytes:
    raw = b"" if body is None else json.dumps(body).encode()
    headers = [f"{method} /api/v1{path} HTTP/1.1", "Host: x", f"Content-Length: {len(raw)}"]
    headers += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*headers, "", ""]).encode() + raw


def answers(hall: Hall, tokens: Sequence[str]) -> list[bytes]:
    return [request("POST", f"/games/{hall.game_id}/answers", one, {"question": 0, "answer": 7}) for one in tokens]


def wish(nickname: str) -> bytes:
    return request("POST", "/join", body={"pin": PIN, "nickname": nickname})


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def test_three_times_what_it_can_take_is_refused_at_once_and_nothing_that_was_acknowledged_is_lost(
    settings: Settings, hall: Hall, tmp_path: Path
) -> None:
    with serving(settings, tmp_path, **LIMITS) as (site, pid):
        everybody = answers(hall, await hall.enter(20_000))
        first, rest = everybody[:1000], everybody[1000:]
        began = time.monotonic()
        seen = await offer(site.port, first, per_s=None, lines=4)
        assert {one.status for one in seen} == {202}
        capacity = len(first) / (time.monotonic() - began)
        rest = rest[: int(3 * capacity * BURST_S)]
        memory_kb = pss_kb([pid])

        seen = await offer(site.port, rest, per_s=3 * capacity)

        assert len(seen) == len(rest)
        counted = Counter(one.status for one in seen)
        assert counted.keys() == {202, 503}, counted
        # It goes on serving: two at a time, and there is much to refuse in between on cores that are shared with us.
        assert counted[202] > 0.05 * capacity * BURST_S, (capacity, counted)
        assert {one.retry_after for one in seen if one.status == 503} == {1, 2, 3}
        acknowledged = {1000 + one.who for one in seen if one.status == 202} | set(range(1000))
        assert await hall.taken() == acknowledged  # nothing lost, and nothing taken of those who were told otherwise
        # Half a second as a burst begins, a fifth later, and the turns that the process itself takes.
        assert p99([one.took_s for one in seen if one.status == 202]) < WAIT_S * 3, (capacity, counted)
        assert pss_kb([pid]) - memory_kb < 40_000  # a thousand lines, and what 20,000 tokens take

        await asyncio.sleep(WAIT_S)
        again = [rest[one.who] for one in seen if one.status == 503][:500]
        assert {one.status for one in await offer(site.port, again, per_s=None, lines=4)} == {202}


async def test_who_hammers_gets_429s_and_the_others_are_served_as_ever(
    settings: Settings, hall: Hall, tmp_path: Path
) -> None:
    with serving(settings, tmp_path, answers_per_second=2) as (site, _):
        hammer, *others = answers(hall, await hall.enter(201))
        held, served = await asyncio.gather(
            offer(site.port, [hammer] * 500, per_s=None, lines=10), offer(site.port, others, per_s=200, lines=50)
        )
        counted = Counter(one.status for one in held)
        assert counted[202] in range(8, 25), counted  # eight in four seconds
        assert counted[202] + counted[429] == 500
        assert all(one.retry_after in range(1, 5) for one in held if one.status == 429)
        assert {one.status for one in served} == {202}
        async with Api(site.url) as api:
            path = f"/games/{hall.game_id}/answers"
            token = hammer.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()
            reply = await api.call("POST", path, token, json={"question": 0, "answer": 1})
            assert (reply.status_code, problem(reply)) == (429, "too_many_answers")


async def test_joins_beyond_the_limit_get_429s_and_the_others_are_in(
    settings: Settings, hall: Hall, tmp_path: Path
) -> None:
    with serving(settings, tmp_path, joins_per_second=50) as (site, _):
        seen = await offer(site.port, [wish(f"n {number}") for number in range(600)], per_s=300, lines=200)
        counted = Counter(one.status for one in seen)
        assert counted.keys() == {201, 429}, counted
        assert counted[201] >= 50 + 50 * 1  # a second's worth at once, and as many in each second
        assert counted[201] <= 50 + 50 * 10
        assert {one.retry_after for one in seen if one.status == 429} == {1, 2, 3}
        assert await hall.live.client.hlen(hall.live.keys.people(hall.game_id)) == counted[201]
        await asyncio.sleep(1.1)
        (late,) = await offer(site.port, [wish("late")], per_s=None, lines=1)
        assert late.status == 201


async def test_streams_beyond_the_limit_get_503s_and_a_place_that_is_left_is_given_on(
    settings: Settings, hall: Hall, tmp_path: Path
) -> None:
    tokens = await hall.enter(40)
    with serving(settings, tmp_path, max_streams=10) as (site, _):
        async with Api(site.url) as api, contextlib.AsyncExitStack() as stack:
            for token in tokens[:10]:
                assert (await stack.enter_async_context(api.stream(hall.game_id, token))).status == 200
            wishes = [request("GET", f"/games/{hall.game_id}/events", one) for one in tokens[10:]] * 10
            seen = await offer(site.port, wishes, per_s=None, lines=20)
            assert {one.status for one in seen} == {503}
            assert {one.retry_after for one in seen} == {3, 4, 5, 6, 7}
            await stack.aclose()
            async with asyncio.timeout(5):
                while True:
                    async with api.stream(hall.game_id, tokens[20]) as stream:
                        if stream.status == 200:
                            break
                    await asyncio.sleep(0.05)
