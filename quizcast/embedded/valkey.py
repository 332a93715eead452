"""The embedded Redis-protocol server: on a unix socket alone, every write synced before its reply; part of floor 5."""

import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from quizcast.embedded.datadir import DataDir
from quizcast.embedded.server import Program, Server

PROBE_TIMEOUT_S = 1.0
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "port": "0",
        "unixsocketperm": "700",
        "dir": "./",
        "daemonize": "no",
        "supervised": "no",
        "logfile": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",  # a kill -9 may leave half a command at the end of the file
        "save": "",
        "maxmemory-policy": "noeviction",
    }
)


def start_redis(
    program: Path, data: DataDir, identity: str = "self", *, options: Mapping[str, str] = MappingProxyType({})
) -> Server:
    """Spawn the server on `data`; `options` go on top of `OPTIONS`. Raises `ServiceFailed`."""
    folder = data.folder("redis")
    path = redis_socket(data.run)
    pidfile = folder / "redis.pid"
    chosen = {**OPTIONS, "unixsocket": str(path), "pidfile": str(pidfile), **options}
    return Server(
        Program(
            name="redis",
            command=(str(program), *(word for key, value in chosen.items() for word in (f"--{key}", value))),
            identity=identity,
            folder=folder,
            log=data.log("redis"),
            pidfile=pidfile,
            mark=str(path),  # the server shows its socket as its title
            sockets=(path,),
            url=redis_url(path),
            ready=lambda: _answers(path),
            stop=((signal.SIGTERM, 10.0),),
            # Nothing acknowledged is lost by it, and a server busy in a script could sit out any other.
            death_signal=signal.SIGKILL,
        )
    )


def redis_socket(run: Path) -> Path:
    """The server's socket in the folder of the sockets."""
    return run / "redis.sock"


def redis_url(path: Path) -> str:
    """The address that clients connect to, of a socket."""
    return f"unix://{quote(str(path))}"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")  # while it loads its file it answers -LOADING
        except OSError:
            return False
