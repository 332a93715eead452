"""The servers that quizcast brings itself: Valkey and Postgres under the data directory; floor 5.

Real servers from wheels or the system, run as children: sockets in a 0700 folder and no TCP, every write on disk
before it is acknowledged, dead when this process is, recovered at the next start. Start and restart them from the
main thread. Their data, and how to talk to them, is the business of `store` and `live`.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from quizcast.embedded.datadir import DataDir, socket_folder
from quizcast.embedded.find import find_postgres, find_redis
from quizcast.embedded.postgres import identity_for, start_postgres
from quizcast.embedded.server import Server
from quizcast.embedded.valkey import redis_socket, redis_url, start_redis
from quizcast.errors import ServerUnreachable
from quizcast.settings import Settings

__all__ = ["DataDir", "Server", "Services", "find_postgres", "find_redis", "identity_for"]
__all__ += ["running_redis", "start_postgres", "start_redis"]


def running_redis(data_dir: Path) -> str:
    """The address of the Redis that another process runs on a data directory. Raises `ServerUnreachable`."""
    path = redis_socket(socket_folder(data_dir.absolute()))
    try:
        there = path.is_socket()
    except PermissionError:
        there = False
    if not there:
        raise ServerUnreachable(
            f"no `quizcast serve` of this user runs on {data_dir}; name its --data-dir, or set QUIZCAST_REDIS_URL"
        )
    return redis_url(path)


class Services:
    """Both servers, running, and the lock on their data directory. Leaving the `with` block stops them."""

    def __init__(self, data: DataDir, servers: dict[str, Server]) -> None:
        self._data = data
        self._servers = servers

    @classmethod
    def start(cls, settings: Settings, *, durable: bool = True, data: DataDir | None = None) -> Self:
        """Start both on `settings.data_dir` and wait until they are ready; `data` is that, when it is locked already.

        `durable=False` does without syncing to disk: for tests. Raises `ServiceMissing`, `ServiceFailed`,
        `DataDirInUse`; then nothing is left running.
        """
        services = cls(data or DataDir(settings.data_dir), {})
        data, servers = services._data, services._servers
        try:
            redis, programs = find_redis(settings.redis_bin), find_postgres(settings.pg_bin)
            identity = identity_for(data, programs)
            appendfsync = {} if durable else {"appendfsync": "no"}
            fsync = {} if durable else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
            # Redis loads its file while Postgres makes or recovers its own.
            servers["redis"] = start_redis(redis, data, identity, options=appendfsync)
            servers["postgres"] = start_postgres(programs, data, identity, settings=fsync)
            for server in servers.values():
                server.wait_ready()
        except BaseException:
            services.stop()
            raise
        return services

    @property
    def redis_url(self) -> str:
        """`unix:///…/redis.sock`."""
        return self._servers["redis"].url

    @property
    def database_url(self) -> str:
        """`postgresql://quizcast@/quizcast?host=…`."""
        return self._servers["postgres"].url

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, `redis` and `postgres`; a restart changes them."""
        return {name: server.pid for name, server in self._servers.items()}

    def dead(self) -> list[str]:
        """The names of the servers that have stopped by themselves."""
        return [name for name, server in self._servers.items() if not server.alive]

    def restart(self, name: str) -> None:
        """Start the server `name` again on its data; its address stays. Raises `ServiceFailed`."""
        self._servers[name].restart()

    def stop(self) -> None:
        """Stop both in order, in bounded time, and free the data directory."""
        for server in self._servers.values():
            server.ask_to_stop()
        for server in self._servers.values():
            server.stop()
        self._data.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
