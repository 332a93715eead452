"""A hub with a ring, on real connections: everybody is told everything, whole and in order, and nobody else is."""

import asyncio
import errno
import gc
import os
import socket
import weakref
from array import array
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
import uvloop

from quizcast.hub import Closed, Stream, Viewer
from quizcast.hub.ring import CHUNK_MAX, Ring, opened
from tests.fakes import FakeTransport, MemoryLog, hub_on

PEOPLE = 24
SLICE = 7  # sent to together: less than there are people
EVENT = b'{"filling":"' + b"x" * 3000 + b'"}'

Loop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
on_both_loops = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@pytest.fixture(autouse=True)
def _in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quizcast.hub.crowd.TOGETHER", SLICE)


class Watched(Ring):
    """A ring that remembers to which sockets it has sent; without io_uring it is as slow as many calls."""

    def __init__(self) -> None:
        self.sent_to: list[int] = []
        self._real = opened()

    def send(self, fds: "array[int]", chunk: bytes) -> list[tuple[int, int]]:
        self.sent_to += fds
        if self._real is not None:
            return self._real.send(fds, chunk)
        sent = [(place, self._write(number, chunk)) for place, number in enumerate(fds)]
        return [(place, count) for place, count in sent if count < len(chunk)]

    def _write(self, number: int, chunk: bytes) -> int:
        try:
            return os.write(number, chunk)
        except OSError:
            return 0

    def close(self) -> None:
        if self._real is not None:
            self._real.close()


class Line(asyncio.Protocol):
    """Tells the hub when it is lost, as the web's does."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


class Guest:
    """Somebody with a stream: the server's end of their connection, and their own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.far.setblocking(False)
        self.number = self.near.fileno()
        self.transport: asyncio.Transport
        self.stream: Stream

    async def read(self) -> bytes:
        """All that has come."""
        got, quiet = b"", 0
        while quiet < 3:
            await asyncio.sleep(0.001)  # for what waits in the transport
            try:
                more = self.far.recv(CHUNK_MAX)
            except (BlockingIOError, ConnectionResetError):
                more = b""
            quiet = 0 if more else quiet + 1
            got += more
        return got


class Hall:
    """A hub, and its guests."""

    def __init__(self, **changes: Any) -> None:
        self.log = MemoryLog()
        self.log.create("g1")
        self.ring = Watched()
        self.hub = hub_on(self.log, ring=self.ring, heartbeat_s=1e6, **changes)
        self.guests: list[Guest] = []

    def tell(self, data: bytes = b"{}") -> bytes:
        """Publish an event; its frame."""
        self.ring.sent_to.clear()
        return self.log.append("g1", "leaderboard", data).frame

    async def enter(self, count: int = PEOPLE) -> None:
        for _ in range(count):
            guest = Guest(f"guest {len(self.guests)}")
            await self._connect(guest)
            arrival = await self.hub.arrive("g1", Viewer(participant_id=guest.name), None)
            guest.stream = self.hub.go_live(arrival, guest.transport)
            self.guests.append(guest)
            await guest.read()

    async def _connect(self, guest: Guest) -> None:
        def lost() -> None:
            os.fstat(guest.number)  # not closed before this
            self.hub.detach("g1", guest.stream)

        guest.transport, _ = await asyncio.get_running_loop().create_connection(lambda: Line(lost), sock=guest.near)

    async def __aenter__(self) -> "Hall":
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.failures.append(context))
        self.failures: list[Any] = []
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.hub.stop()
        for guest in self.guests:
            guest.transport.abort()
            guest.far.close()
        await asyncio.sleep(0.01)
        assert self.failures == []


def run(loop: Loop, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play())


@on_both_loops
def test_events_that_do_not_fit_into_the_sockets_come_whole_and_in_order(loop: Loop) -> None:
    async def play() -> None:
        async with Hall() as hall:
            await hall.enter()
            sent = b"".join(hall.tell(EVENT) for _ in range(20))
            assert any(guest.stream.behind for guest in hall.guests)
            assert set(hall.ring.sent_to) == {-1}
            for guest in hall.guests:
                assert await guest.read() == sent
            again = hall.tell()  # directly once more
            assert hall.ring.sent_to == [guest.number for guest in hall.guests]
            for guest in hall.guests:
                assert await guest.read() == again

    run(loop, play)


@on_both_loops
def test_what_waits_for_one_comes_before_the_next_event_for_all(loop: Loop) -> None:
    async def play() -> None:
        async with Hall() as hall:
            await hall.enter()
            hall.tell()
            for guest in hall.guests:
                await guest.read()
            one, yours = hall.guests[2 * SLICE], b"yours;" * 5000
            for _ in range(3):
                one.stream.push(yours)
                got = one.far.recv(CHUNK_MAX)  # now the socket takes more, and the transport has not heard of it yet
                assert one.stream.behind
                first, second = hall.tell(), hall.tell()
                for guest in hall.guests:
                    before = yours.removeprefix(got) if guest is one else b""
                    assert await guest.read() == before + first + second

    run(loop, play)


async def test_only_who_was_touched_is_asked_for_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(stream: Stream) -> int:
        asked_of.append(stream)
        return ask(stream)

    asked_of: list[Stream] = []
    ask = Stream.direct.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Stream, "direct", property(asked))
    async with Hall() as hall:
        await hall.enter()
        one = hall.guests[SLICE + 1]
        for touched in (hall.guests, [], [one]):
            asked_of.clear()
            if touched == [one]:
                one.stream.push(b"yours;")
            hall.tell()
            assert asked_of == [guest.stream for guest in touched]
            assert hall.ring.sent_to == [guest.number for guest in hall.guests]


async def test_a_slow_reader_is_cut_and_the_others_have_everything() -> None:
    async with Hall(buffer_max=10_000) as hall:
        await hall.enter()
        for _ in range(20):
            frame = hall.tell(EVENT)
            for guest in hall.guests[1:]:
                assert await guest.read() == frame
        assert [guest.stream.closed for guest in hall.guests] == [Closed.SLOW] + [None] * (PEOPLE - 1)


async def test_however_many_come_and_go_everybody_who_is_here_hears_everything_once() -> None:
    async with Hall() as hall:
        for turn in range(4):
            await hall.enter()
            for guest in hall.guests[turn::3]:
                guest.transport.abort()
            if turn % 2:
                hall.guests[-1].transport.close()
            here = [guest for guest in hall.guests if not guest.transport.is_closing()]
            for _ in range(2):
                frame = hall.tell()  # once before those who go have gone, and once after
                for guest in here:
                    assert await guest.read() == frame
            assert hall.hub.open_streams == len(here)
            hall.tell()
            for guest in here:
                await guest.read()
            assert len(hall.ring.sent_to) <= len(here) + SLICE  # the gaps are closed
            assert [number for number in hall.ring.sent_to if number >= 0] == [guest.number for guest in here]


@on_both_loops
@pytest.mark.parametrize("end", ["abort", "close", "left", "reset"])
def test_who_is_gone_gets_nothing_even_where_their_socket_s_number_is_another_s_by_now(loop: Loop, end: str) -> None:
    """Fails too if a loop closes a socket before it tells of it."""

    async def play() -> None:
        async with Hall() as hall:
            await hall.enter()
            hall.tell()
            gone = hall.guests[0]
            if end == "abort":
                gone.transport.abort()
            elif end == "close":
                gone.transport.close()
            elif end == "left":
                await gone.read()
                gone.far.shutdown(socket.SHUT_WR)
            else:
                gone.far.close()  # with what it has not read
            hall.tell()  # in the same turn
            await asyncio.sleep(0.02)
            ends = list(socket.socketpair())
            while gone.number not in [one.fileno() for one in ends]:  # the lowest that is free is taken first
                assert len(ends) < 1000
                ends += socket.socketpair()
            for guest in hall.guests[1:]:
                await guest.read()
            frame = hall.tell()
            assert gone.stream.closed is Closed.GONE
            for guest in hall.guests[1:]:
                assert await guest.read() == frame
            for one in ends:
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(1)
            for one in ends:
                one.close()

    run(loop, play)


async def test_a_game_that_is_over_leaves_nothing_behind_that_only_a_collection_would_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quizcast.hub.LAST_WORDS_S", 0.02)
    gc.disable()
    try:
        async with Hall() as hall:
            await hall.enter()
            crowd = weakref.ref(hall.guests[0].stream.home)
            hall.tell()
            hall.log.append("g1", "finished")
            await asyncio.sleep(0.1)
            assert {guest.stream.closed for guest in hall.guests} == {Closed.OVER}
            assert [guest.stream.home for guest in hall.guests] == [None] * PEOPLE
            assert crowd() is None
    finally:
        gc.enable()


async def test_when_the_ring_fails_all_come_back_to_resume_and_the_game_goes_on_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_words: object) -> list[tuple[int, int]]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with Hall() as hall:
        await hall.enter()
        monkeypatch.setattr(hall.ring, "send", broken)
        hall.tell()
        assert {guest.stream.closed for guest in hall.guests} == {Closed.LOST}
        await hall.enter()
        frame = hall.tell()
        for guest in hall.guests[PEOPLE:]:
            assert await guest.read() == frame


def test_what_is_no_plain_socket_is_not_sent_to_directly() -> None:
    assert Stream(Viewer(), FakeTransport(), 1000, 0.0).direct == -1
