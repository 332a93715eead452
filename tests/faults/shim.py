"""Programs whose disk a test can fill and whose clock it can step, by a small library preloaded into them."""

import mmap
import os
import shlex
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
PROGRAMS = ("postgres", "initdb", "pg_isready")  # what `serve` runs of Postgres's


class Shim:
    """One world that processes share; as many as there are in a test. `folder` is to be an empty one of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._library = folder / "shim.so"
        subprocess.run(["cc", *FLAGS, "-o", str(self._library), str(SOURCE), "-ldl"], check=True)
        self._file = folder / "faults"
        self._file.write_bytes(bytes(16))
        for path in (folder, self._file, self._library):
            path.chmod(0o755)
        with self._file.open("r+b") as file:
            self._faults = mmap.mmap(file.fileno(), 16)

    @property
    def env(self) -> dict[str, str]:
        """The environment of processes in this world."""
        return {"LD_PRELOAD": str(self._library), "FAULTS": str(self._file)}

    def step_clock(self, by_s: float) -> None:
        """How far the clock is from the true one, from now on."""
        self._faults[0:8] = struct.pack("=q", round(by_s * 1000))

    def fill_disk(self, full: bool) -> None:
        """Whether every write to a file fails for want of room, from now on."""
        self._faults[8:16] = struct.pack("=q", full)

    def program(self, real: Path) -> Path:
        """A program that runs the real one in this world."""
        return self._script(self._folder / real.name, real)

    def programs(self, real: Path) -> Path:
        """A folder of Postgres's programs, of which the server runs in this world."""
        folder = self._folder / "bin"
        folder.mkdir()
        for name in PROGRAMS:
            self._script(folder / name, real / name)
        return folder

    def _script(self, path: Path, real: Path) -> Path:
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env.items())
        path.write_text(f'#!/bin/sh\n{words} exec {shlex.quote(os.fspath(real))} "$@"\n')
        path.chmod(0o755)
        return path
