"""Real Redis servers by the handful, on loopback: a cluster of three masters with a replica each, and Sentinels."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import redis

from quizcast.embedded import find_redis
from quizcast.embedded.valkey import OPTIONS

START_S = 20.0
MASTERS = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 1500  # after which a silent master is replaced; Redis's own default is ten times as long


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def eventually(true: Callable[[], object], timeout_s: float = START_S) -> float:
    """Poll until it holds; how long that took, in seconds. Errors of Redis count as no."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(redis.RedisError):
            if true():
                return time.monotonic() - began
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"did not come about in {timeout_s:g} s")
        time.sleep(0.02)


class RedisServer:
    """One server; what it keeps survives `kill` and `start`."""

    def __init__(self, folder: Path, port: int, options: Mapping[str, str], program: Path | None = None) -> None:
        folder.mkdir(parents=True)
        self.port = port
        self.folder = folder
        self._program = program or find_redis()
        self._options = {**OPTIONS, "port": str(port), "bind": "127.0.0.1", "repl-diskless-sync-delay": "0", **options}
        del self._options["unixsocketperm"]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, as its own process manager would."""
        words = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), *words], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(self.client.ping)

    @property
    def client(self) -> Any:
        """A client that gives up soon."""
        password = self._options.get("requirepass")
        return redis.Redis(port=self.port, password=password, socket_timeout=5, socket_connect_timeout=1)

    @property
    def running(self) -> bool:
        """Whether it has not been killed."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it is silent, and its connections look open."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @property
    def is_master(self) -> bool:
        """Whether it is one, as it sees itself."""
        return self.running and self.client.info("replication")["role"] == "master"


class RedisCluster:
    """Six servers: three masters with a third of the slots each, and a replica of each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.servers: list[RedisServer] = []
        ports = free_ports(4 * MASTERS)
        for number in range(2 * MASTERS):
            self.add(ports[2 * number], ports[2 * number + 1])
        masters, replicas = self.servers[:MASTERS], self.servers[MASTERS:]
        for number, master in enumerate(masters):
            first, last = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
            master.client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            # Each an epoch of its own at once, and not by the conflicts that they would settle one after the other.
            master.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for number, other in enumerate(self.servers[1:]):
            self.servers[0].client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, ports[2 * number + 3])
        eventually(lambda: all(self._known(server) == 2 * MASTERS for server in self.servers))
        for master, replica in zip(masters, replicas, strict=True):
            replica.client.execute_command("CLUSTER REPLICATE", self.id_of(master))
        self.settle()

    def add(self, port: int, bus: int) -> RedisServer:
        """Start one more server, which knows none of the others yet."""
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(bus),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-require-full-coverage": "no",
        }
        self.servers.append(RedisServer(self._folder / f"node{len(self.servers)}", port, options))
        return self.servers[-1]

    @property
    def url(self) -> str:
        """Where quizcast finds it: two of its servers, of which one may be away."""
        return f"redis://127.0.0.1:{self.servers[0].port},127.0.0.1:{self.servers[1].port}?cluster=true"

    def id_of(self, server: RedisServer) -> str:
        """What the cluster calls it."""
        return str(server.client.execute_command("CLUSTER MYID").decode())

    def master_of(self, slot: int) -> RedisServer:
        """Who has a slot, as the cluster sees it now; the servers that run are asked."""
        asked = next(server for server in self.servers if server.running)
        for first, last, master, *_ in asked.client.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == master[1])
        raise LookupError(slot)

    def replica_of(self, master: RedisServer) -> RedisServer:
        """The one that would take its place."""
        port = master.client.info("replication")["slave0"]["port"]
        return next(server for server in self.servers if server.port == port)

    def move(self, slot: int, to: RedisServer, pause_s: float = 0.0) -> int:
        """Move a slot as `redis-cli --cluster reshard` does; how many keys that were.

        `pause_s` is for how long half of them are here and half of them there.
        """
        source = self.master_of(slot)
        to.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(to))
        moved = 0
        half = source.client.execute_command("CLUSTER COUNTKEYSINSLOT", slot) // 2
        while keys := source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            source.client.execute_command("MIGRATE", "127.0.0.1", to.port, keys[0], 0, 5000)
            moved += 1
            if moved == half:
                time.sleep(pause_s)
        for server in (to, source, *self.servers):
            if server.is_master:
                server.client.execute_command("CLUSTER SETSLOT", slot, "NODE", self.id_of(to))
        return moved

    def settle(self) -> None:
        """Start who was killed, and wait until each master has a replica that keeps up."""
        for server in self.servers:
            if not server.running:
                server.start()
        eventually(lambda: all(self._whole(server) for server in self.servers))

    def stop(self) -> None:
        """The end."""
        for server in self.servers:
            server.kill()

    def _known(self, server: RedisServer) -> int:
        return int(server.client.execute_command("CLUSTER INFO")["cluster_known_nodes"])

    def _whole(self, server: RedisServer) -> bool:
        state = server.client.execute_command("CLUSTER INFO")
        told = server.client.info("replication")
        linked = told["connected_slaves"] == 1 if told["role"] == "master" else told["master_link_status"] == "up"
        return state["cluster_state"] == "ok" and int(state["cluster_slots_ok"]) == SLOTS and linked


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[RedisCluster]:
    """A cluster for as long as the block."""
    cluster = RedisCluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop()


class Watched:
    """A master and two replicas, watched by three Sentinels, of whom two have to agree."""

    NAME = "quizcast"
    DOWN_MS = 1000  # after which a silent master is believed dead; Sentinel's own default is thirty times as long

    def __init__(self, folder: Path, password: str = "") -> None:
        """`password` is the servers', and that of the Sentinels as well."""
        first, second, third, *watching = free_ports(6)
        self.ports = watching
        self._password = password
        options = {"requirepass": password, "masterauth": password} if password else {}
        self.servers = [RedisServer(folder / "first", first, options)]
        for port in (second, third):
            self.servers.append(RedisServer(folder / str(port), port, options | {"replicaof": f"127.0.0.1 {first}"}))
        eventually(lambda: self.servers[0].client.info("replication")["connected_slaves"] == 2)
        self._sentinels = [self._watch(folder / f"sentinel{port}", port, first) for port in watching]
        for port in watching:
            # Each has to know the replicas and the other two, before it can do anything for them.
            eventually(lambda port=port: self._known_by(port) == (2, 2))  # type: ignore[misc]

    @property
    def url(self) -> str:
        """Where quizcast finds it."""
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        who = f":{self._password}@" if self._password else ""
        login = f"?sentinel_password={self._password}" if self._password else ""
        return f"redis+sentinel://{who}{places}/{self.NAME}{login}"

    @property
    def master(self) -> RedisServer:
        """Who is it, as a Sentinel says."""
        _, port = self.sentinel(self.ports[0]).execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.NAME)
        return next(server for server in self.servers if server.port == int(port))

    @contextlib.contextmanager
    def silent_sentinel(self) -> Iterator[None]:
        """The Sentinel that is asked first says nothing meanwhile, and its door is open."""
        self._sentinels[0].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._sentinels[0].send_signal(signal.SIGCONT)

    def sentinel(self, port: int) -> Any:
        """A client of one of the Sentinels."""
        return redis.Redis(port=port, password=self._password or None, decode_responses=True)

    def stop(self) -> None:
        """The end."""
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        for server in self.servers:
            server.kill()

    def _watch(self, folder: Path, port: int, master: int) -> subprocess.Popen[bytes]:
        folder.mkdir()
        config = folder / "sentinel.conf"  # which it rewrites with what it learns
        config.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {master} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} {self.DOWN_MS}\n"
            f"sentinel failover-timeout {self.NAME} 5000\n"
            + (
                f"requirepass {self._password}\nsentinel auth-pass {self.NAME} {self._password}\n"
                * bool(self._password)
            )
        )
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(find_redis()), str(config), "--sentinel"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self.sentinel(port).ping)
        return process

    def _known_by(self, port: int) -> tuple[int, int]:
        found = self.sentinel(port).sentinel_masters()[self.NAME]
        return int(found["num-slaves"]), int(found["num-other-sentinels"])
