"""Becomes a server: gives up root, ties its life to the parent's, then execs; part of floor 5.

Run as a script, `launch.py PARENT_PID DEATH_SIGNAL IDENTITY PROGRAM ARGS…`, so that nothing runs between a fork and
an exec in a process that may have threads. IDENTITY is `self`, `namespace` (root maps itself to uid 1000 of a user
namespace: Postgres refuses uid 0) or `UID:GID`. It uses the standard library alone: site packages are off.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
INNER_ID = 1000  # what root is called inside the namespace: any id but 0
CANNOT_LAUNCH = 126  # the shell's word for "found, but could not be run"


def main(argv: list[str]) -> None:
    """Never returns: execs the program, or exits with `CANNOT_LAUNCH` and one line on stderr."""
    parent, death_signal, identity, *command = argv
    try:
        change_identity(identity)
        os.chdir(Path.cwd())  # fails, and says where, if the new identity cannot reach the data directory
        die_with_parent(int(parent), int(death_signal))
        os.execv(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]} as {identity}: {error}", file=sys.stderr)
        sys.exit(CANNOT_LAUNCH)


def change_identity(identity: str) -> None:
    """Become `identity`. Raises `OSError` where the system forbids it."""
    if identity == "namespace":
        uid, gid = os.geteuid(), os.getegid()  # inside, before they are mapped, these tell nothing
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
        # The kernel takes the group map only from a process that has renounced setgroups().
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{INNER_ID} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{INNER_ID} {gid} 1")
    elif identity != "self":
        uid, gid = map(int, identity.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def die_with_parent(parent: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` when the parent dies, however it dies; only Linux can.

    Comes after the change of identity, which would clear it, and survives the exec.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the call above
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
