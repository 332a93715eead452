"""What a process tells the systemd that has started it, and nobody where none has; floor 2.

A datagram to the socket in `NOTIFY_SOCKET`, by sd_notify(3). Nothing here raises: a manager that does not listen is
no reason to play no game.
"""

import contextlib
import os
import socket
import time

READY = "READY=1"  # takes requests, or work
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"  # say it from the loop that would hang


def tell(state: str) -> None:
    """Send a state to the manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)  # a manager that is behind must not hold up the event loop
        line.sendto(state.encode(), address)


def reloading() -> str:
    """The state of a process that replaces what it consists of; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
