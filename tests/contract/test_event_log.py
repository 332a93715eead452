"""One suite over every event log: what the hub may rely on, whichever of them is behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from quizcast.domain.game import Game
from quizcast.domain.quiz import QuizContent, TrueFalse
from quizcast.errors import GameUnknown, RedisUnavailable
from quizcast.hub import EventLog, Viewer
from quizcast.live.games import Games
from quizcast.live.log import RedisLog
from quizcast.live.redis import Live
from quizcast.settings import Settings
from quizcast.wire.events import Gap, History, Leaderboard, Message, Position
from tests.fakes import FakeTransport, FakeViews, MemoryLog, hub_over

QUIZ = QuizContent(title="t", questions=(TrueFalse(prompt="?", correct=True),))
BOARD = Leaderboard(top=[], participants=0)


class Bench(NamedTuple):
    """A log, how to write to it, and what it has delivered."""

    log: EventLog
    create: Callable[[str], Awaitable[None]]
    append: Callable[[str], Awaitable[None]]
    heard: list[tuple[str, Message]]


async def create_game(games: Games, game_id: str, created_at: int = 1_700_000_000_000) -> None:
    game = Game(id=game_id, pin="123456", host_id="h", quiz_id="q", question_count=1, created_at=created_at)
    await games.create(game, QUIZ)


async def append_to(games: Games, game_id: str) -> None:
    before = await games.load(game_id)
    assert await games.advance(before, before.game, [BOARD])


@contextlib.asynccontextmanager
async def on_redis(redis_url: str, prefix: str, **changes: int) -> AsyncIterator[Bench]:
    live = Live(Settings(redis_url=redis_url, key_prefix=prefix, **changes))
    games, log = Games(live), RedisLog(live)
    heard: list[tuple[str, Message]] = []
    await log.start(lambda game_id, message: heard.append((game_id, message)), lambda: None)
    try:
        yield Bench(log, lambda game_id: create_game(games, game_id), lambda one: append_to(games, one), heard)
    finally:
        await log.stop()
        await live.close()


@contextlib.asynccontextmanager
async def in_memory(keep: int = 2_000) -> AsyncIterator[Bench]:
    log = MemoryLog(keep=keep)
    heard: list[tuple[str, Message]] = []
    await log.start(lambda game_id, message: heard.append((game_id, message)), lambda: None)

    async def create(game_id: str) -> None:
        log.create(game_id)

    async def append(game_id: str) -> None:
        log.append(game_id, "leaderboard")

    yield Bench(log, create, append, heard)


@pytest.fixture(params=["memory", "redis_url", "cluster_url"])
async def bench(request: pytest.FixtureRequest, redis_prefix: str) -> AsyncIterator[Bench]:
    memory = request.param == "memory"
    async with in_memory() if memory else on_redis(request.getfixturevalue(request.param), redis_prefix) as made:
        yield made


@pytest.fixture(params=["memory", "redis_url", "cluster_url"])
async def forgetful(request: pytest.FixtureRequest, redis_prefix: str) -> AsyncIterator[Bench]:
    if request.param == "memory":
        async with in_memory(keep=5) as made:
            yield made
    else:
        async with on_redis(request.getfixturevalue(request.param), redis_prefix, log_events_max=5) as made:
            yield made


async def until(condition: Callable[[], bool], timeout_s: float = 3.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event to tell of it)
            await asyncio.sleep(0.005)


def positions(history: History | Gap) -> list[int]:
    assert isinstance(history, History)
    return [message.position.offset for message in history.messages if message.position]


async def test_events_come_back_in_order_and_from_any_position(bench: Bench) -> None:
    await bench.create("g")
    start = (await bench.log.recent("g", 10)).head
    assert start.offset == 0
    for _ in range(5):
        await bench.append("g")
    for seen in range(6):
        history = await bench.log.since("g", Position(start.epoch, seen))
        assert positions(history) == list(range(seen + 1, 6))
        assert isinstance(history, History)
        assert history.head == Position(start.epoch, 5)
    latest = await bench.log.recent("g", 3)
    assert positions(latest) == [3, 4, 5]
    assert latest.head == Position(start.epoch, 5)


async def test_another_epoch_or_a_position_from_the_future_is_a_gap(bench: Bench) -> None:
    await bench.create("g")
    await bench.append("g")
    head = (await bench.log.recent("g", 1)).head
    for after in (
        Position(head.epoch + 1, 1),
        Position(head.epoch - 1, 1),
        Position(head.epoch, 2),
        Position(head.epoch, 2**64),
        Position(2**70, 2**70),
    ):
        assert await bench.log.since("g", after) == Gap("history_lost")


async def test_trimmed_history_is_a_gap_and_never_a_part_of_it(forgetful: Bench) -> None:
    await forgetful.create("g")
    for _ in range(500):  # Redis trims by whole nodes of 100
        await forgetful.append("g")
    head = (await forgetful.log.recent("g", 1)).head
    assert await forgetful.log.since("g", Position(head.epoch, 0)) == Gap("too_old")
    assert await forgetful.log.since("g", Position(head.epoch, 100)) == Gap("too_old")
    assert positions(await forgetful.log.since("g", Position(head.epoch, 495))) == list(range(496, 501))


async def test_a_game_that_is_not_there_is_said(bench: Bench) -> None:
    with pytest.raises(GameUnknown):
        await bench.log.since("nowhere", Position(1, 0))
    with pytest.raises(GameUnknown):
        await bench.log.recent("nowhere", 10)


async def test_everything_after_listen_is_delivered_in_order(bench: Bench) -> None:
    for game_id in ("a", "b"):
        await bench.create(game_id)
    await bench.append("a")
    await bench.log.listen("a")
    for _ in range(20):
        await bench.append("a")
        await bench.append("b")
    await until(lambda: len(bench.heard) >= 20)
    assert [game_id for game_id, _ in bench.heard] == ["a"] * 20
    assert [message.position and message.position.offset for _, message in bench.heard] == list(range(2, 22))
    assert {message.name for _, message in bench.heard} == {"leaderboard"}


async def test_nothing_is_delivered_after_unlisten_and_listening_again_works(bench: Bench) -> None:
    await bench.create("g")
    for turn in range(3):
        await bench.log.listen("g")
        await bench.append("g")
        await until(lambda turn=turn: len(bench.heard) == turn + 1)
        await bench.log.unlisten("g")
    await bench.append("g")
    await asyncio.sleep(0.05)
    assert len(bench.heard) == 3


async def test_many_games_can_be_listened_to_at_once(bench: Bench) -> None:
    names = [f"g{number}" for number in range(50)]
    for name in names:
        await bench.create(name)
    await asyncio.gather(*(bench.log.listen(name) for name in names))
    await asyncio.gather(*(bench.append(name) for name in names))
    await until(lambda: len(bench.heard) == 50)
    assert sorted(game_id for game_id, _ in bench.heard) == sorted(names)


# ── the one on Redis, when its line breaks ────────────────────────────────────────────────────────────────────


class Wire:
    """A line to the server that can be made to swallow everything while it looks open."""

    def __init__(self, redis_url: str, path: Path) -> None:
        self._server_url = urlsplit(redis_url)
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallows = False
        self.connections = 0

    @property
    def url(self) -> str:
        query = dict(parse_qsl(self._server_url.query))
        return f"unix://{self._path}?db={query.get('db', '0')}"

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        if self._server_url.scheme == "unix":
            far_reader, far_writer = await asyncio.open_unix_connection(self._server_url.path)
        else:
            far_reader, far_writer = await asyncio.open_connection(self._server_url.hostname, self._server_url.port)
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the streams' own bookkeeping would complain of either
        finally:
            writer.close()
            far_writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dropped = False
        while data := await reader.read(65536):
            dropped = dropped or self.swallows  # a hole stays a hole: what was lost breaks the protocol
            if not dropped:
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_killed_subscription_is_renewed_and_the_hub_misses_nothing(redis_url: str, redis_prefix: str) -> None:
    live = Live(Settings(redis_url=redis_url, key_prefix=redis_prefix))
    games, log = Games(live), RedisLog(live)
    memory = MemoryLog()  # for its views alone
    memory.create("g")
    await create_game(games, "g")
    hub = hub_over(log, FakeViews(memory))
    await log.start(hub.deliver, hub.restored)
    line = FakeTransport()
    epoch = (await log.recent("g", 1)).head.epoch
    hub.go_live(await hub.arrive("g", Viewer(), Position(epoch, 0)), line)
    for turn in range(5):
        await append_to(games, "g")
        await live.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        for _ in range(3):
            await append_to(games, "g")
        await until(lambda turn=turn: len(line.ids) == 4 * (turn + 1))
    assert line.ids == [f"{epoch}-{offset}" for offset in range(1, 21)]
    await hub.stop()
    await log.stop()
    await live.close()


async def test_a_line_that_swallows_everything_is_found_out_within_a_second(
    redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    settings = Settings(redis_url=redis_url, key_prefix=redis_prefix)
    live = Live(settings)
    games = Games(live)
    await create_game(games, "g")
    async with Wire(redis_url, tmp_path / "wire") as wire:
        through = Live(msgspec.structs.replace(settings, redis_url=wire.url))
        log = RedisLog(through)
        heard: list[int] = []
        restored: list[float] = []
        loop = asyncio.get_running_loop()
        await log.start(
            lambda _, message: heard.append(message.position.offset if message.position else 0),
            lambda: restored.append(loop.time()),
        )
        await log.listen("g")
        await append_to(games, "g")
        await until(lambda: heard == [1])
        restored.clear()
        wire.swallows = True
        broke_at = loop.time()
        await append_to(games, "g")
        await until(lambda: wire.connections > 1)
        found_out_after = loop.time() - broke_at
        wire.swallows = False
        await until(lambda: len(restored) > 0)
        await append_to(games, "g")
        await until(lambda: heard[-1] == 3)
        assert heard == [1, 3]  # the doorbell only: the hub finds 2 in the log
        assert found_out_after < 1.1  # with a tenth for the renewal
        await log.stop()
        await through.close()
    await live.close()


async def test_listening_while_the_line_is_down_succeeds_when_it_is_back(
    redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    live = Live(Settings(redis_url=redis_url, key_prefix=redis_prefix))
    games = Games(live)
    await create_game(games, "g")
    async with Wire(redis_url, tmp_path / "wire") as wire:
        wire.swallows = True
        log = RedisLog(Live(Settings(redis_url=wire.url, key_prefix=redis_prefix)))
        heard: list[Message] = []
        await log.start(lambda _, message: heard.append(message), lambda: None)
        listening = asyncio.create_task(log.listen("g"))
        await asyncio.sleep(0.3)
        wire.swallows = False
        await listening
        await append_to(games, "g")
        await until(lambda: len(heard) == 1)
        await log.stop()
    await live.close()


async def test_a_server_that_is_not_there_is_said_in_time(redis_prefix: str, tmp_path: Path) -> None:
    log = RedisLog(Live(Settings(redis_url=f"unix://{tmp_path}/none", key_prefix=redis_prefix)))
    await log.start(lambda _, message: None, lambda: None)
    with pytest.raises(RedisUnavailable):
        await log.listen("g")
    await log.unlisten("g")
    with pytest.raises(RedisUnavailable):
        await log.since("g", Position(1, 0))
    await log.stop()


async def test_a_fault_in_the_receiver_costs_one_message_and_not_the_subscription(
    redis_url: str, redis_prefix: str
) -> None:
    live = Live(Settings(redis_url=redis_url, key_prefix=redis_prefix))
    games, log = Games(live), RedisLog(live)
    await create_game(games, "g")
    heard: list[int] = []
    restored: list[bool] = []

    def on_message(_: str, message: Message) -> None:
        offset = message.position.offset if message.position else 0
        if offset == 1:
            raise ZeroDivisionError
        heard.append(offset)

    await log.start(on_message, lambda: restored.append(True))
    await log.listen("g")
    restored.clear()
    await append_to(games, "g")
    await until(lambda: len(restored) > 0)
    await append_to(games, "g")
    await until(lambda: heard == [2])
    await log.stop()
    await live.close()
