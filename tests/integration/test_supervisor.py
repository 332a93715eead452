"""The process tree of `serve`, killed piece by piece."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quizcast.errors import ProcessFailed, QuizcastError
from quizcast.hub.ring import opened
from quizcast.remote import Remote
from quizcast.supervisor import child
from quizcast.supervisor.child import Child
from quizcast.supervisor.ports import listen
from quizcast.supervisor.slot import Slot
from quizcast.web import readiness
from tests.fix_tree import Tree, environment, processes, quizcast, wait_until

LOGIN = ("host@example.com", "a password of some length")


@contextmanager
def knocking(tree: Tree) -> Iterator[list[str]]:
    """Connect and ask all the while; the list fills with what went wrong, other than a connection that was cut."""
    trouble: list[str] = []
    done = threading.Event()

    def knock() -> None:
        while not done.is_set():
            try:
                tree.get("/livez")
            except ConnectionResetError:
                pass  # it was inside the process that was killed
            except OSError as error:
                if not isinstance(getattr(error, "reason", None), ConnectionResetError):
                    trouble.append(repr(error))
            time.sleep(0.01)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield trouble
    finally:
        done.set()
        thread.join()


def test_serve_says_where_it_is_ready_and_is(tree: Tree) -> None:
    assert tree.ready()


def test_every_process_carries_its_name(tree: Tree) -> None:
    assert processes()[tree.process.pid][1] == "quizcast: supervisor"
    for title in ("quizcast: web 0", "quizcast: web 1", "quizcast: worker 0"):
        assert tree.pid(title)


def test_every_web_process_sends_by_io_uring_where_the_system_lets_it(tree: Tree) -> None:
    ring = opened()
    for pid in tree.pids("quizcast: web"):
        files = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
        assert ("anon_inode:[io_uring]" in files) == (ring is not None)


def test_a_killed_web_process_is_replaced_and_no_connection_is_refused(tree: Tree) -> None:
    before = tree.pid("quizcast: web 0")
    with knocking(tree) as trouble:
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: tree.pids("quizcast: web 0") not in ([], [before]))
        wait_until(tree.ready)
        time.sleep(0.5)
    assert trouble == []


def test_sighup_replaces_the_web_processes_one_at_a_time(tree: Tree) -> None:
    titles = ("quizcast: web 0", "quizcast: web 1")
    before = {tree.pid(title) for title in titles}
    seen_together: set[int] = set()
    with knocking(tree) as trouble:
        tree.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            now = tree.pids("quizcast: web")
            seen_together.add(len(now))
            return len(now) == 2 and not before & set(now)

        wait_until(replaced, 60)
    assert trouble == []
    assert min(seen_together) >= 2


def test_a_killed_worker_is_replaced(tree: Tree) -> None:
    before = tree.pid("quizcast: worker 0")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: tree.pids("quizcast: worker 0") not in ([], [before]))


@pytest.mark.parametrize("mark", ["redis.sock", "bin/postgres"])
def test_a_killed_server_comes_back_and_the_web_processes_find_it(tree: Tree, mark: str) -> None:
    before = tree.pid(mark) if mark == "redis.sock" else min(tree.pids(mark))
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: before not in tree.pids() and tree.pids(mark))
    wait_until(tree.ready)


def test_a_line_to_a_phone_that_vanished_is_given_up_after_a_minute() -> None:
    (door,) = listen("127.0.0.1", 0, 1)
    with door, socket.create_connection(door.getsockname()[:2]), door.accept()[0] as line:
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_a_second_start_on_the_same_data_is_refused_in_one_line(tree: Tree) -> None:
    wait_until(lambda: len(tree.children()) >= 5)  # two web processes, a worker, Redis and Postgres
    before = tree.children()
    second = quizcast("serve", "--port", "0", "--data-dir", str(tree.data_dir))
    assert second.returncode == 1
    assert second.stderr.startswith("error: another quizcast (process ")
    assert "--data-dir" in second.stderr
    assert second.stderr.count("\n") == 1
    assert tree.children() == before  # nobody of the first had to be started again
    wait_until(tree.ready)  # and it goes on; beside other tests one look at its servers may take too long


def test_a_taken_port_is_refused_and_not_shared(tree: Tree, tmp_path: Path) -> None:
    second = quizcast("serve", "--port", str(tree.port), "--data-dir", str(tmp_path / "other"))
    assert second.returncode == 1
    assert second.stderr == (
        f"error: port {tree.port} is in use; choose another by --port, or --port 0 for any that is free\n"
    )


def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_one_has_the_data(
    start_tree: Callable[..., Tree],
) -> None:
    first = start_tree("--web", "1")
    Remote.login(first.url, *LOGIN, register=True)
    everybody = first.pids()
    assert len(everybody) >= 4
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not set(everybody) & set(processes()), 10)

    second = start_tree("--web", "1")
    Remote.login(second.url, *LOGIN)
    with pytest.raises(QuizcastError, match="email_taken"):
        Remote.login(second.url, *LOGIN, register=True)
    everybody = second.pids()
    assert second.terminate() == 0
    assert not set(everybody) & set(processes())


def test_unusable_keys_are_said_once_and_not_shown(tmp_path: Path) -> None:
    done = quizcast("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), env=environment(keys="k1:hunter2"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: key 1 ")
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_supervisor_waits_for_a_readiness_that_takes_as_long_as_it_may() -> None:
    assert readiness.WAIT_S < child.PROBE_TIMEOUT_S


def test_a_process_that_never_stays_up_is_given_up_with_its_last_words() -> None:
    ended: list[Child] = []

    def start() -> Child:
        return Child("web 0", ["web"], env=environment(), sink=lambda line: None)  # it has no servers to use

    def tend_for_ever(slot: Slot) -> None:
        while True:
            slot.tend()
            time.sleep(0.05)

    with pytest.raises(ProcessFailed, match=r"(?s)5 times in a row.*status 1.*set QUIZCAST_REDIS_URL"):
        tend_for_ever(Slot("web 0", start, ended.append))
    assert len(ended) == 4
