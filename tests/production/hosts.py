"""Several hosts on this machine: network namespaces on a switch that leads nowhere else.

A process started on a host sees that host's network alone. The file system is common to all, so unix sockets reach
across: what must not share one is given none. Needs root and iproute2; where that is not to be had the tests fail.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
NETWORK = "10.77.0"
NAMESPACES = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """One host: its address, and whether it can be reached."""

    def __init__(self, name: str, switch: str, number: int) -> None:
        self.address = f"{NETWORK}.{number}"
        self._namespace = name
        self._switch, self._port = switch, f"port{number}"
        _ip("netns", "add", name)
        _ip("-n", switch, "link", "add", "name", self._port, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", switch, "link", "set", self._port, "master", "bridge", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens or starts meanwhile, sockets, threads and processes, is on this host, and stays."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(NAMESPACES / self._namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            yield
        finally:
            _enter(before)
            os.close(there)
            os.close(before)

    def tune(self, **settings: int) -> None:
        """Set `net.ipv4.…` of this host, as a file in /etc/sysctl.d would."""
        with self.inside():
            for name, value in settings.items():
                Path("/proc/sys/net/ipv4", name).write_text(str(value))

    def cut(self) -> None:
        """Nothing comes through any more, in either direction, and nobody is told."""
        _ip("-n", self._switch, "link", "set", self._port, "nomaster")

    def heal(self) -> None:
        """Plug it in again."""
        _ip("-n", self._switch, "link", "set", self._port, "master", "bridge")


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts by name. End what runs on them first: they go when the block is left."""
    mark = f"quizcast{os.getpid()}"
    switch = f"{mark}-switch"
    try:
        try:
            _ip("netns", "add", switch)
            _ip("-n", switch, "link", "add", "name", "bridge", "type", "bridge")
            _ip("-n", switch, "link", "set", "bridge", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", error)
            pytest.fail(f"the tests with several hosts need root, network namespaces and iproute2: {said}")
        yield {name: Host(f"{mark}-{name}", switch, number) for number, name in enumerate(names, start=1)}
    finally:
        for name in (*names, "switch"):
            if (NAMESPACES / f"{mark}-{name}").exists():
                _ip("netns", "delete", f"{mark}-{name}")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
