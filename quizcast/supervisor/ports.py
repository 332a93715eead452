"""Listening sockets that outlive the web processes, and the addresses to reach them by; part of floor 8.

Each web process has its own `SO_REUSEPORT` socket, so that the kernel spreads the connections at accept. The
supervisor holds all of them open: while a process is replaced, its connections wait in the queue.
"""

import contextlib
import errno
import socket
import time

from quizcast.errors import PortTaken

GONE_MS = 60_000  # for a phone that vanished; its stream has a heartbeat to confirm every quarter of that
BACKLOG = 4096  # a thousand phones that reconnect at once; the kernel's own limit is often this
DYING_HOLDER_S = 2.0  # the web processes of a killed supervisor may hold the port a moment longer than it lives
EVERYWHERE = ("", "0.0.0.0", "::")


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets on one port, a free one for port 0. Raises `PortTaken`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    try:
        # SO_REUSEPORT would share the port with another quizcast without a word, so look first.
        with _free(family, host, port) as probe:
            port = probe.getsockname()[1]
        for _ in range(count):
            sockets.append(_bound(family, host, port, shared=True))
            sockets[-1].listen(BACKLOG)
    except OSError as error:
        for made in sockets:
            made.close()
        raise PortTaken(_advice(error, host, port)) from error
    return sockets


def _free(family: int, host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + DYING_HOLDER_S
    while True:
        try:
            return _bound(family, host, port, shared=False)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _bound(family: int, host: str, port: int, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have it from the socket that they come in by
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def _advice(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is in use; choose another by --port, or --port 0 for any that is free"
        case errno.EACCES:
            return f"port {port} is reserved for the administrator; choose one above 1023 by --port"
        case _:
            return f"cannot listen on {host} port {port}: {error.strerror or error}"


def url(host: str, port: int) -> str:
    """`http://HOST:PORT`, with a host that this machine can connect to."""
    if host in EVERYWHERE:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def public_url(host: str, port: int) -> str:
    """The address that people on the same network can type; equal to `url` when we listen to this machine alone."""
    return url(lan_address() if host in EVERYWHERE else host, port)


def lan_address() -> str:
    """This machine's own address towards other networks, or 127.0.0.1 without one. Sends nothing."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # a documentation address: connecting a datagram socket only picks a route
        return str(probe.getsockname()[0])
    return "127.0.0.1"
