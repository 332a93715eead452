"""The embedded Postgres: on a unix socket alone, trusted because its folder is 0700, fsync on; part of floor 5.

A cluster is made beside its place and moved there when it is complete, so what lies there always is.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from quizcast.embedded.datadir import DataDir
from quizcast.embedded.server import ENVIRONMENT, Program, Server, run
from quizcast.errors import ServiceFailed

USER = DATABASE = "quizcast"
PORT = "5432"  # only a part of the socket's name
STAND_INS = ("quizcast", "postgres")  # system users that run Postgres for root where namespaces are forbidden
NICE = 10  # on cores that it shares with web processes: what it stores can wait for a moment, a push cannot
BUILTIN_LOCALES = 17  # the first major version that brings C.UTF-8 along instead of asking the system
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "max_wal_size": "512MB",
        "jit": "off",  # the statements are short; compiling one takes longer than running it
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_checkpoints": "off",
        "lc_messages": "C",
    }
)


def identity_for(data: DataDir, programs: Path) -> str:
    """As whom the servers run (see `launch`): Postgres refuses to run as root.

    Raises `ServiceFailed` saying what to do when root has nobody to hand over to.
    """
    probe = (str(programs / "postgres"), "--version")
    if os.geteuid() != 0:
        return "self"
    uid, gid = data.owner()
    if uid != 0:
        return f"{uid}:{gid}"
    reasons = []
    try:
        run("namespace", probe, cwd=data.path)
        return "namespace"
    except ServiceFailed as error:
        reasons.append(error.detail)
    for name in STAND_INS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        data.give_to(user.pw_uid, user.pw_gid)
        try:
            run(identity := f"{user.pw_uid}:{user.pw_gid}", probe, cwd=data.path)
            return identity
        except ServiceFailed as error:
            data.give_to(0, 0)
            reasons.append(error.detail)
    raise ServiceFailed(
        "Postgres does not run as root. Run quizcast as an ordinary user, or allow user namespaces, or make a "
        f"system user `{STAND_INS[0]}` that can reach {data.path} and {programs} ({'; '.join(reasons)})"
    )


def start_postgres(
    programs: Path, data: DataDir, identity: str = "self", *, settings: Mapping[str, str] = MappingProxyType({})
) -> Server:
    """Spawn the server on `data`, made first if it is new; `settings` go on top of `SETTINGS`.

    Raises `ServiceFailed`.
    """
    folder = data.path / "postgres"
    chosen = {**SETTINGS, "unix_socket_directories": str(data.run), **settings}
    if not folder.exists():
        _make_cluster(programs, data, identity, durable=chosen["fsync"] == "on")
    socket = data.run / f".s.PGSQL.{PORT}"
    return Server(
        Program(
            name="postgres",
            command=(
                str(programs / "postgres"),
                *("-D", str(folder)),
                *(word for key, value in chosen.items() for word in ("-c", f"{key}={value}")),
            ),
            identity=identity,
            folder=data.folder("postgres"),
            log=data.log("postgres"),
            pidfile=folder / "postmaster.pid",
            mark=f"-D {folder} ",
            sockets=(socket, socket.with_name(socket.name + ".lock")),
            url=f"postgresql://{USER}@/{DATABASE}?host={quote(str(data.run), safe='')}&port={PORT}",
            ready=lambda: _accepts(programs, data.run),
            stop=((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0)),  # fast, then immediate shutdown
            death_signal=signal.SIGQUIT,  # takes its children along, as SIGKILL would not
            nice=NICE,
            busy=("pre-existing shared memory block",),
        )
    )


def _make_cluster(programs: Path, data: DataDir, identity: str, *, durable: bool) -> None:
    half_done = data.path / "postgres.new"
    shutil.rmtree(half_done, ignore_errors=True)
    data.folder(half_done.name)
    postgres = str(programs / "postgres")
    version = run(identity, (postgres, "--version"), cwd=data.path)
    major = re.search(r"\) ([0-9]+)", version)
    if major is not None and int(major[1]) >= BUILTIN_LOCALES:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        locale = ["--locale=C.UTF-8"]
    sync = [] if durable else ["--no-sync"]
    fsync = [] if durable else ["-F"]
    where = ["-D", str(half_done)]
    user = ["-U", USER, "--auth=trust", "--no-instructions"]
    run(identity, [str(programs / "initdb"), *where, *user, "--encoding=UTF8", *locale, *sync], cwd=data.path)
    create = f"CREATE DATABASE {DATABASE}\n"
    run(identity, [postgres, "--single", *where, *fsync, "postgres"], cwd=data.path, text=create)
    half_done.rename(data.path / "postgres")


def _accepts(programs: Path, run_folder: Path) -> bool:
    probe = (str(programs / "pg_isready"), "-q", "-t", "1", "-h", str(run_folder), "-p", PORT, "-U", USER)
    return subprocess.run((*probe, "-d", DATABASE), env=ENVIRONMENT, check=False).returncode == 0
