"""One call sends to many sockets: whole, in order, and what is not taken is told."""

import errno
import os
import socket
from array import array
from collections.abc import Iterator

import pytest

from quizcast.errors import SettingsInvalid
from quizcast.hub.ring import CHUNK_MAX, ENTRIES, Ring, opened
from quizcast.settings import Settings

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
