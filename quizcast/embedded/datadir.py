"""The data directory: its folders, its lock, its owner, and a short enough place for sockets; part of floor 5.

One supervisor at a time holds it, by `flock` on `lock`, so a kill -9 frees it and nothing can go stale.
Every folder in it is 0700. When root uses a directory that belongs to somebody else, what is made in it is theirs.
"""

import fcntl
import hashlib
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from quizcast.errors import DataDirInUse, ServiceFailed

SOCKET_PATH_MAX = 103  # bytes: macOS takes 103, Linux 107
LONGEST_SOCKET = ".s.PGSQL.5432"
RUNTIME_PARENT = Path("/tmp")  # not the user's TMPDIR, which is long on macOS
DYING_HOLDER_S = 5.0  # the last processes of a killed supervisor may hold the lock a moment longer than it lives
PRIVATE = 0o700


class DataDir:
    """A data directory in use by this process. `path` is absolute; `run` is the folder of the sockets."""

    def __init__(self, path: Path) -> None:
        """Make and lock it. Raises `DataDirInUse`, or `ServiceFailed` when it cannot be made or used."""
        self.path = path.absolute()
        try:
            if not self.path.exists():
                self.path.mkdir(mode=PRIVATE, parents=True)
            self._lock = self._take_lock()
        except OSError as error:
            raise ServiceFailed(f"cannot use the data directory {self.path}: {error}") from error
        self.run = socket_folder(self.path)
        try:
            self._private(self.run)
        except BaseException:
            self.release()
            raise

    def folder(self, name: str) -> Path:
        """The folder `name` in it, made if it is missing, 0700 in any case."""
        return self._private(self.path / name)

    def log(self, name: str) -> Path:
        """The file `log/NAME.log`, made if it is missing, 0600."""
        path = self.folder("log") / f"{name}.log"
        path.touch(mode=0o600)
        self.own(path)
        return path

    def owner(self) -> tuple[int, int]:
        """The uid and gid that the directory belongs to."""
        status = self.path.stat()
        return status.st_uid, status.st_gid

    def give_to(self, uid: int, gid: int) -> None:
        """Make everything in it theirs (root only)."""
        for top in {self.path, self.run}:
            for path in (top, *top.rglob("*")):
                os.chown(path, uid, gid, follow_symlinks=False)

    def own(self, path: Path) -> None:
        """Give a new file to the directory's owner when root made it for somebody else."""
        if os.geteuid() == 0 and self.owner() != (0, 0):
            os.chown(path, *self.owner(), follow_symlinks=False)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
        if self.run.parent != self.path:
            with suppress(OSError):  # a socket that a killed server left: the next start removes it
                self.run.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take_lock(self) -> int:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + DYING_HOLDER_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
                if _alive(holder) or time.monotonic() > deadline:
                    os.close(lock)
                    raise DataDirInUse(
                        f"another quizcast (process {holder or 'unknown'}) runs on {self.path}; "
                        "stop it, or choose another place by --data-dir"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self.own(self.path / "lock")
        return lock

    def _private(self, path: Path) -> Path:
        """Make `path`, or make sure that what is there is a folder, ours and nobody else's to enter."""
        with suppress(FileExistsError):
            path.mkdir(mode=PRIVATE)
            self.own(path)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), self.owner()[0]):
            raise ServiceFailed(f"{path} is not a folder of this user; remove it or choose another data directory")
        if stat.S_IMODE(status.st_mode) != PRIVATE:
            path.chmod(PRIVATE)
        return path


def socket_folder(path: Path) -> Path:
    """Where the sockets of servers on this (absolute) data directory are."""
    run = path / "run"
    # In a Postgres address a comma parts hosts, and in its settings a quote or a comma parts folders.
    if len(os.fsencode(run / LONGEST_SOCKET)) <= SOCKET_PATH_MAX and not re.search(r'[,"]', str(run)):
        return run
    return RUNTIME_PARENT / f"qc-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}"


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ValueError, ProcessLookupError):
        return False
    return True
