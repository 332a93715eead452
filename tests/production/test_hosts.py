"""Three hosts with web processes, one with Redis and Postgres, one with nginx and the crowd; and one that is lost.

Nothing tells the others that it is gone: packets to it just vanish, as behind a dead switch. Heartbeats, time-outs and
leases are those of production.
"""

import contextlib
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec import UNSET

from quizcast.embedded import (
    DataDir,
    Server,
    Services,
    find_postgres,
    find_redis,
    identity_for,
    start_postgres,
    start_redis,
)
from tests.faults.stage import Play
from tests.fix_nginx import Nginx
from tests.fix_tree import environment, quizcast, wait_until
from tests.fix_web import start_part, stop_parts
from tests.production.hosts import Host, hosts

WEB = ("web0", "web1", "web2")
USERS = 200
PORT = 8000
# On the host with nginx: how it learns of a peer that has vanished. docs/operations.md has the same lines.
KEEPALIVE = {"tcp_keepalive_time": 4, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 3}
# Who was confirmed just before the cut is awaited for 14 s, and everybody for 10 s: who is back by then misses nothing.
AWAITED_S, BACK_S = 14.0, 10.0
TIME_LIMIT_MS = 60_000


class Cluster:
    """The hosts and what runs on them."""

    def __init__(
        self, network: dict[str, Host], proxy: Nginx, web: list[subprocess.Popen[bytes]], folder: Path
    ) -> None:
        self.hosts = network
        self.proxy = proxy
        self.web = web
        self.folder = folder

    def play(self, **options: object) -> Play:
        """A game of the crowd, which is on nginx's host."""
        with self.hosts["proxy"].inside():
            return Play(self.proxy.url, users=USERS, **options)

    def ready(self, name: str) -> bool:
        """Whether a web host says so, to its own."""
        try:
            return bool(self.read(name, "/readyz"))
        except OSError:
            return False

    def read(self, name: str, path: str) -> str:
        """What a web host answers to itself."""
        host = self.hosts[name]
        with host.inside(), urllib.request.urlopen(f"http://{host.address}:{PORT}{path}", timeout=5) as reply:
            text: str = reply.read().decode()
            return text

    def streams(self, name: str) -> int:
        """How many streams a web host holds."""
        lines = self.read(name, "/metrics").splitlines()
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("quizcast_streams{")))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All of it, with nothing shared but Redis and Postgres."""
    folder = tmp_path_factory.mktemp("hosts")
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(hosts("proxy", "data", *WEB))
        data = network["data"]
        with data.inside():
            stack.enter_context(_servers(data.address, folder / "servers"))
        env = environment(
            redis_url=f"redis://{data.address}:6379",
            database_url=f"postgresql://quizcast@{data.address}:5432/quizcast?sslmode=disable",
            keys=f"hosts:{'k' * 40}",
            trusted_proxies=network["proxy"].address,
            register_per_hour="100000",
        )
        with network["web0"].inside():
            migrated = quizcast("migrate", env=env)
        assert migrated.returncode == 0, migrated.stderr
        parts: list[subprocess.Popen[bytes]] = []
        stack.callback(stop_parts, parts)
        for name in WEB:
            where = {"QUIZCAST_DATA_DIR": str(folder / name)}
            with network[name].inside():
                words = ("web", "--host", network[name].address, "--port", str(PORT))
                parts.append(start_part(folder / f"{name}.log", env | where, *words))
                parts.append(start_part(folder / f"{name}-worker.log", env | where, "worker"))
        network["proxy"].tune(**KEEPALIVE)
        upstream = "".join(f"server {network[name].address}:{PORT} max_fails=0;\n    " for name in WEB)
        with network["proxy"].inside():
            proxy = Nginx(folder / "nginx", folder, upstream)
        stack.callback(proxy.end)
        cluster = Cluster(network, proxy, parts[::2], folder)
        wait_until(lambda: all(map(cluster.ready, WEB)), 60)
        yield cluster


def test_a_host_that_is_lost_in_mid_game_costs_its_people_seconds_and_nobody_an_answer_or_an_event(
    cluster: Cluster,
) -> None:
    play = cluster.play(questions=5, time_limit_ms=TIME_LIMIT_MS)
    play.until_mid_question(1)
    held = {name: cluster.streams(name) for name in WEB}
    logged = len(cluster.proxy.said())
    began = time.monotonic()
    cluster.hosts["web1"].cut()
    try:
        play.until(lambda now: now.question > 1 or now.stage != "question")
        closed_s = time.monotonic() - began
        wait_until(lambda: cluster.streams("web0") + cluster.streams("web2") >= sum(held.values()))
        back_s = time.monotonic() - began
        report = play.report()  # to its end without that host
    finally:
        cluster.hosts["web1"].heal()
    log = cluster.proxy.said()[logged:]
    refused = re.findall(r'"[A-Z]+ (\S+) HTTP/1\.1" (5\d\d)', log)
    print(f"streams {held}; the question closed {closed_s:.1f} s after the cut, all were back after {back_s:.1f} s")
    print(f"resumed in {report.resume_ms}; {report.ack_ms}; sent again {report.retries}; refused {refused}")
    assert min(held.values()) > USERS // 6
    assert report.ok, report.text()
    assert report.resume_ms is not UNSET
    assert report.resume_ms.n >= held["web1"] - 1  # the host's stream is none of a participant
    assert closed_s < AWAITED_S
    assert back_s < BACK_S
    assert not [why for why in report.retries if why.isdigit()]
    # The host's command that it had in hand is given to nobody else, as it may have been carried out: they ask again.
    assert len(refused) <= 1
    assert not [path for path, _ in refused if path.endswith(("/join", "/events"))]


def test_the_host_that_was_lost_serves_again(cluster: Cluster) -> None:
    wait_until(lambda: cluster.ready("web1"), 30)
    play = cluster.play(questions=2)
    play.until_mid_question(1)
    assert min(cluster.streams(name) for name in WEB) > USERS // 6
    report = play.report()
    assert report.ok, report.text()
    assert not report.retries


def _servers(address: str, folder: Path) -> Services:
    """Redis and Postgres that listen on the network, too; to be called on their host."""
    data, programs = DataDir(folder), find_postgres()
    servers: dict[str, Server] = {}
    services = Services(data, servers)
    try:
        identity = identity_for(data, programs)
        listens = {"bind": address, "port": "6379", "protected-mode": "no"}
        servers["redis"] = start_redis(find_redis(), data, identity, options=listens)
        servers["postgres"] = start_postgres(programs, data, identity, settings={"listen_addresses": address})
        for server in servers.values():
            server.wait_ready()
        with (folder / "postgres" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        with psycopg.connect(services.database_url, autocommit=True) as conn:
            conn.execute("SELECT pg_reload_conf()")
    except BaseException:
        services.stop()
        raise
    return services
