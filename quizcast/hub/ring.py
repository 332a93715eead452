"""One chunk to many sockets in one system call, where Linux has io_uring and lets us; inside `hub`.

A `write` for each of thousands of streams costs half as much again, in Python, in uvloop and at the kernel's door. The
structures and numbers are those of <linux/io_uring.h>; see also io_uring(7). Invariant: what `send` does not report
went out whole, and nothing is under way when it returns, for no send here may wait.
"""

import ctypes
import errno
import logging
import mmap
import os
import socket
import struct
import sys
from array import array

ENTRIES = 1024  # sends in one call; a power of two. The rest of a larger crowd goes with the next
CHUNK_MAX = 65_536  # bytes; of what is longer, such as a hundred long texts with `closed`, each stream gets its own
SETUP_CALL, ENTER_CALL = 425, 426  # on every architecture that Python has wheels for
GET_EVENTS = 1
SINGLE_MMAP = 1
SQES_OFFSET = 0x10000000
SEND = 26
DO_NOT_WAIT, NO_SIGNAL = 0x40, 0x4000
SQE_BYTES, CQE_BYTES = 64, 16
# In an entry of the submission queue and of the completion queue, counted in 32 bits.
SQE_WORDS, SQE_FD, SQE_LENGTH = 16, 1, 6
CQE_WORDS, CQE_SLOT, CQE_RESULT = 4, 0, 2

log = logging.getLogger(__name__)


class Ring:
    """A submission and a completion queue, shared with the kernel. Raises `OSError` where there can be none."""

    def __init__(self) -> None:
        if (sys.platform, sys.byteorder) != ("linux", "little"):
            raise OSError(errno.ENOSYS, "not made for this machine")
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        params = ctypes.create_string_buffer(120)
        self._fd = self._checked(SETUP_CALL, ENTRIES, params)
        try:
            self._map(struct.unpack("=10I8IQ8IQ", params.raw))
            self._try()
        except BaseException:
            self.close()
            raise

    def _map(self, params: tuple[int, ...]) -> None:
        entries, completions, features = params[0], params[1], params[5]
        _, tail, _, _, _, _, slots = params[10:17]
        done_head, _, _, _, _, done = params[19:25]
        if not features & SINGLE_MMAP or entries != ENTRIES:
            raise OSError(errno.ENOSYS, "an io_uring of before Linux 5.4")
        size = max(slots + entries * 4, done + completions * CQE_BYTES)
        rings = memoryview(mmap.mmap(self._fd, size)).cast("i")
        self._sqes = memoryview(mmap.mmap(self._fd, entries * SQE_BYTES, offset=SQES_OFFSET)).cast("i")
        self._chunk = ctypes.create_string_buffer(CHUNK_MAX)
        self._tail, self._head = rings[tail // 4 :][:1], rings[done_head // 4 :][:1]
        self._cqes = rings[done // 4 :][: completions * CQE_WORDS]
        self._cq_mask = completions - 1
        rings[slots // 4 :][:entries] = array("i", range(entries))
        for slot in range(entries):  # what is the same for each send; `user_data` is the slot
            entry = struct.pack(
                "=BBHiQQIIQ",
                *(SEND, 0, 0, -1, 0, ctypes.addressof(self._chunk), 0, DO_NOT_WAIT | NO_SIGNAL, slot),
            )
            first = slot * SQE_WORDS
            self._sqes[first : first + len(entry) // 4] = array("i", entry)
        self._gone = 0  # sends so far

    def _try(self) -> None:
        near, far = socket.socketpair()
        with near, far:
            if self.send(array("i", (near.fileno(),)), b"?"):
                raise OSError(errno.ENOSYS, "an io_uring of before Linux 5.6")

    def close(self) -> None:
        """Give the ring back, the queues with this object; once more does nothing, and `send` fails from now on."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def send(self, fds: "array[int]", chunk: bytes) -> list[tuple[int, int]]:
        """Send `chunk` to each socket; (place in `fds`, bytes sent) of those that did not take all of it, for whatever
        reason, -1 for one. Raises `ValueError` for more than `CHUNK_MAX` bytes."""
        if len(chunk) > CHUNK_MAX:
            raise ValueError("the chunk is too long")
        ctypes.memmove(self._chunk, chunk, len(chunk))
        short: list[tuple[int, int]] = []
        done = 0
        while done < len(fds):
            start = self._gone % ENTRIES
            some = min(len(fds) - done, ENTRIES - start)
            sqes = self._sqes[start * SQE_WORDS : (start + some) * SQE_WORDS]
            sqes[SQE_FD::SQE_WORDS] = fds[done : done + some]
            sqes[SQE_LENGTH::SQE_WORDS] = array("i", (len(chunk),)) * some
            self._submit(some)
            first = self._gone & self._cq_mask
            cqes = self._cqes[first * CQE_WORDS : (first + some) * CQE_WORDS]
            results = cqes[CQE_RESULT::CQE_WORDS].tolist()
            if results.count(len(chunk)) < some:
                slots = cqes[CQE_SLOT::CQE_WORDS].tolist()
                short += [
                    (done + slot - start, max(0, result))
                    for slot, result in zip(slots, results, strict=True)
                    if result != len(chunk)
                ]
            self._gone += some
            self._head[0] = _word(self._gone)
            done += some
        return short

    def _submit(self, some: int) -> None:
        self._tail[0] = _word(self._gone + some)
        left = some
        try:
            while left:  # a signal may come in between
                taken = self._checked(ENTER_CALL, self._fd, left, some, GET_EVENTS, None, 0)
                if not taken:
                    raise OSError(errno.EIO, "the ring takes nothing")
                left -= taken
        except BaseException:  # what is left in it must never go out
            self.close()
            raise

    def _checked(self, *words: object) -> int:
        while True:
            got: int = self._call(*words)
            if got >= 0:
                return got
            if (number := ctypes.get_errno()) != errno.EINTR:
                raise OSError(number, os.strerror(number))


def _word(count: int) -> int:
    """A count as the kernel has it, modulo 2**32, where Python's view has a sign."""
    return (count + 2**31) % 2**32 - 2**31


def opened() -> Ring | None:
    """A ring, or None where the system has none or does not let us."""
    try:
        return Ring()
    except OSError as error:
        log.info("each stream gets a system call of its own: there is no io_uring here (%s)", error.strerror)
        return None
