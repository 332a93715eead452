"""One call sends to many sockets: whole, in order, and what is not taken is told; the hub sees to the rest."""

import asyncio
import errno
import os
import socket
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from quizcast.errors import SettingsInvalid
from quizcast.hub import Closed, Stream, Viewer
from quizcast.hub.ring import CHUNK_MAX, ENTRIES, Ring, opened
from quizcast.settings import Settings
from tests.fakes import FakeTransport, MemoryLog, hub_on

PAIRS = 100


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = opened()
    if made is None:
        pytest.skip("this system has no io_uring, or forbids it: a container's filter, or kernel.io_uring_disabled")
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Each a server's end, which does not block, and a client's."""
    made = [socket.socketpair() for _ in range(PAIRS)]
    for near, _ in made:
        near.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_everybody_gets_every_byte_in_order_however_often_the_queue_goes_round(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    fds = array("i", [near.fileno() for near, _ in pairs])
    chunks = [b"event %d;" % number for number in range(3 * ENTRIES // PAIRS)]
    for chunk in chunks:
        assert ring.send(fds, chunk) == []
    for _, far in pairs:
        assert far.recv(CHUNK_MAX) == b"".join(chunks)


def test_more_than_the_queue_holds_goes_in_several_calls(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    times = 2 * ENTRIES // PAIRS + 1
    fds = array("i", [*(near.fileno() for near, _ in pairs), -1] * times)
    assert ring.send(fds, b"x") == [(PAIRS + time * (PAIRS + 1), 0) for time in range(times)]
    assert {far.recv(CHUNK_MAX) for _, far in pairs} == {b"x" * times}


def test_what_a_socket_does_not_take_is_told(ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    (full, reader), (gone, left), (fine, far) = pairs[:3]
    left.close()
    fds, chunk = array("i", [full.fileno(), gone.fileno(), fine.fileno()]), os.urandom(CHUNK_MAX)
    taken = b""
    while len(short := ring.send(fds, chunk)) == 1:  # of the one that is gone
        taken += chunk
        assert short == [(1, 0)]
        assert far.recv(CHUNK_MAX, socket.MSG_WAITALL) == chunk
    assert short[0][0] == 0
    taken += chunk[: short[0][1]]
    reader.setblocking(False)
    got = b""
    while len(got) < len(taken):
        got += reader.recv(CHUNK_MAX)
    assert got == taken
    with pytest.raises(BlockingIOError):
        reader.recv(1)


def test_a_chunk_that_is_too_long_is_refused_and_nothing_goes_out(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    with pytest.raises(ValueError, match="too long"):
        ring.send(array("i", [pairs[0][0].fileno()]), bytes(CHUNK_MAX + 1))
    pairs[0][1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pairs[0][1].recv(1)


def test_where_there_is_no_io_uring_there_is_no_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Ring, *_words: object) -> int:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Ring, "_checked", forbidden)
    assert opened() is None


def test_it_may_be_turned_off() -> None:
    assert Settings.from_env({"QUIZCAST_IO_URING": "off"}).io_uring == "off"
    with pytest.raises(SettingsInvalid, match="auto or off"):
        Settings.from_env({"QUIZCAST_IO_URING": "maybe"})


# ── the hub with a ring ─────────────────────────────────────────────────────────────────────────────────────


PEOPLE = 24
EVENT = b'{"filling":"' + b"x" * 3000 + b'"}'


class Hall:
    """Real connections with a stream each, to a hub with a ring; `readers` are the clients' ends."""

    def __init__(self, ring: Ring | None, **changes: Any) -> None:
        self.log = MemoryLog()
        self.log.create("g1")
        self.hub = hub_on(self.log, ring=ring, heartbeat_s=1e6, **changes)
        self.transports: list[asyncio.WriteTransport] = []
        self.streams: list[Stream] = []
        self.readers: list[socket.socket] = []
        self.opening: list[bytes] = []

    async def enter(self) -> None:
        for number in range(PEOPLE):
            near, far = socket.socketpair()
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            far.setblocking(False)
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
            arrival = await self.hub.arrive("g1", Viewer(participant_id=f"reader {number}"), None)
            self.streams.append(self.hub.go_live(arrival, transport))
            self.transports.append(transport)
            self.readers.append(far)
            await self.read(-1)

    async def read(self, number: int) -> bytes:
        """All that has come."""
        got, quiet = b"", 0
        while quiet < 3:
            await asyncio.sleep(0.001)  # for what waits in the transport
            try:
                more = self.readers[number].recv(CHUNK_MAX)
            except (BlockingIOError, ConnectionResetError):
                more = b""
            quiet = 0 if more else quiet + 1
            got += more
        return got

    async def leave(self) -> None:
        await self.hub.stop()
        for transport, reader in zip(self.transports, self.readers, strict=True):
            transport.abort()
            reader.close()
        await asyncio.sleep(0)


async def test_events_that_do_not_fit_into_the_sockets_come_whole_and_in_order() -> None:
    hall = Hall(opened())
    await hall.enter()
    sent = b"".join(hall.log.append("g1", "leaderboard", EVENT).frame for _ in range(20))
    assert any(stream.behind for stream in hall.streams)
    assert {stream.direct for stream in hall.streams} == {-1}
    for number in range(PEOPLE):
        assert await hall.read(number) == sent
    again = hall.log.append("g1", "leaderboard").frame  # directly once more
    assert min(stream.direct for stream in hall.streams) >= 0
    for number in range(PEOPLE):
        assert await hall.read(number) == again
    await hall.leave()


async def test_a_slow_reader_is_cut_and_the_others_have_everything() -> None:
    hall = Hall(opened(), buffer_max=10_000)
    await hall.enter()
    for _ in range(20):
        frame = hall.log.append("g1", "leaderboard", EVENT).frame
        for number in range(1, PEOPLE):
            assert await hall.read(number) == frame
    assert [stream.closed for stream in hall.streams] == [Closed.SLOW] + [None] * (PEOPLE - 1)
    await hall.leave()


async def test_who_is_gone_gets_nothing_even_where_their_sockets_number_is_another_s_by_now() -> None:
    hall = Hall(opened())
    await hall.enter()
    number = hall.streams[0].direct
    hall.transports[0].abort()
    await asyncio.sleep(0.01)
    near, far = socket.socketpair()
    assert number in (near.fileno(), far.fileno())
    frame = hall.log.append("g1", "leaderboard").frame
    assert hall.streams[0].closed is Closed.GONE
    assert await hall.read(1) == frame
    for end in (near, far):
        end.setblocking(False)
        with pytest.raises(BlockingIOError):
            end.recv(1)
    near.close()
    far.close()
    await hall.leave()


async def test_when_the_ring_fails_all_come_back_to_resume_and_the_game_goes_on_without_it(
    monkeypatch: pytest.MonkeyPatch, ring: Ring
) -> None:
    def broken(*_words: object) -> list[tuple[int, int]]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    hall = Hall(ring)
    await hall.enter()
    monkeypatch.setattr(ring, "send", broken)
    hall.log.append("g1", "leaderboard")
    assert {stream.closed for stream in hall.streams} == {Closed.LOST}
    await hall.enter()
    frame = hall.log.append("g1", "leaderboard").frame
    for number in range(PEOPLE, 2 * PEOPLE):
        assert await hall.read(number) == frame
    await hall.leave()


def test_what_is_no_plain_socket_is_not_sent_to_directly() -> None:
    assert Stream(Viewer(), FakeTransport(), 1000, 0.0).direct == -1
