"""Putting units, site, user, folders and settings in place on a Debian machine, and taking them away; inside `deploy`.

What was put in place is kept in `installed.json`, by digest: a file that somebody has changed since is theirs, and is
neither overwritten nor removed. Data are never removed. Under another root than `/` nothing is run and nobody is made.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from quizcast.deploy.units import AUTOSCALE, UNITS, Places

MANIFEST = "installed.json"
FIRST_URLS = {
    "redis-url": "unix:///run/redis/redis-server.sock",
    "database-url": "postgresql:///quizcast?host=/run/postgresql",
}


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation has made: the SHA-256 of each file, and the folders, the outermost first."""

    files: dict[str, str] = {}
    folders: list[str] = []


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do: a `path` to `write`, `keep`, `remove`, make a `folder` of; or `words` to run."""

    what: str
    path: Path = Path()
    text: str = ""
    mode: int = 0o644
    words: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{self.what} {' '.join(self.words) or self.path}"


def placed(places: Places, files: Mapping[str, str], site: str) -> Iterator[Step]:
    """What there is to write: path, text and mode of each file."""
    etc = places.root / "etc"
    for name in (*UNITS, *AUTOSCALE):
        yield Step(what="write", path=places.units / name, text=files[name])
    for kind in ("sysusers", "tmpfiles"):
        yield Step(what="write", path=etc / f"{kind}.d/quizcast.conf", text=files[f"{kind}.conf"])
    # Not enabled: without a certificate nginx would not start any more.
    yield Step(what="write", path=etc / "nginx/sites-available/quizcast.conf", text=site)
    yield Step(what="write", path=places.etc / "quizcast.env", text=files["quizcast.env"])
    yield Step(what="write", path=places.command, text=files["quizcast.sh"], mode=0o755)
    for name, text in {"keys": _first_keys(places), "metrics-token": "", **FIRST_URLS}.items():
        yield Step(what="write", path=places.etc / "credentials" / name, text=text and f"{text}\n", mode=0o600)


def install(places: Places, files: Mapping[str, str], site: str) -> list[Step]:
    """The steps of an installation, or of bringing one up to date."""
    before = _read(places)
    steps: list[Step] = []
    for step in placed(places, files, site):
        there = _digest(step.path)
        secret = step.mode == 0o600  # made once
        ours = not there or (there == before.files.get(str(step.path)) and not secret)
        steps.append(step if ours else Step(what="keep", path=step.path, text=step.text, mode=step.mode))
    wanted = [
        places.etc / "tls",
        places.run / "metrics",
        places.state,
        places.cache,
        *(one.path.parent for one in steps),
    ]
    missing = {folder for one in wanted for folder in (one, *one.parents) if not folder.exists()}
    private = {places.etc / "tls", places.etc / "credentials", places.state}
    folders = [
        Step(what="folder", path=one, mode=0o700 if one in private else 0o755) for one in sorted(missing, key=str)
    ]
    after = Installed(
        files=before.files | {str(one.path): _sha256(one.text) for one in steps if one.what == "write"},
        folders=[*before.folders, *(str(one.path) for one in folders)],
    )
    record = msgspec.json.format(msgspec.json.encode(after)).decode()
    steps.append(Step(what="write", path=places.etc / MANIFEST, text=record))
    if places.root == Path("/"):
        steps += [
            Step(what="run", words=("systemd-sysusers", "quizcast.conf")),
            Step(what="run", words=("systemd-tmpfiles", "--create", "quizcast.conf")),
            *_systemctl("daemon-reload"),
        ]
    return [*folders, *steps]


def uninstall(places: Places) -> list[Step]:
    """The steps that take an installation away; none when there is none."""
    before = _read(places)
    if not before.files:
        return []
    machine = places.root == Path("/")
    steps = _systemctl("disable", "--now", "quizcast.target") if machine else []
    site = places.root / "etc/nginx"
    enabled = site / "sites-enabled/quizcast.conf"
    if enabled.is_symlink() and enabled.resolve() == (site / "sites-available/quizcast.conf").resolve():
        steps.append(Step(what="remove", path=enabled))
    for name, digest in before.files.items():
        if there := _digest(Path(name)):
            steps.append(Step(what="remove" if there == digest else "keep", path=Path(name)))
    steps.append(Step(what="remove", path=places.etc / MANIFEST))
    steps += [Step(what="remove all of", path=one) for one in (places.run, places.cache) if one.exists()]
    steps += [Step(what="remove, if it is empty,", path=Path(one)) for one in sorted(before.folders, reverse=True)]
    if machine:
        steps += _systemctl("daemon-reload")
        if not (places.state.exists() and any(places.state.iterdir())):
            steps.append(Step(what="run", words=("userdel", "quizcast")))
    return steps


def do(step: Step) -> None:
    """Do it. Raises `OSError`, or `subprocess.CalledProcessError`."""
    match step.what:
        case "write":
            # Whole or not at all, and never readable by others for a moment.
            draft = step.path.with_name(f".{step.path.name}.new")
            with open(draft, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, step.mode)) as file:
                file.write(step.text)
            draft.chmod(step.mode)
            draft.replace(step.path)
        case "folder":
            step.path.mkdir(exist_ok=True)
            step.path.chmod(step.mode)
        case "remove":
            step.path.unlink(missing_ok=True)
        case "remove all of":
            shutil.rmtree(step.path, ignore_errors=True)
        case "run":
            subprocess.run(step.words, check=True)
        case "keep":
            pass
        case _:
            with contextlib.suppress(OSError):  # something is in it
                step.path.rmdir()


def _systemctl(*words: str) -> list[Step]:
    return [Step(what="run", words=("systemctl", *words))] if Path("/run/systemd/system").exists() else []


def _first_keys(places: Places) -> str:
    """Those that the machine has signed with so far, else new ones."""
    with contextlib.suppress(OSError):
        return (places.state / "keys").read_text("utf-8").strip()
    return f"k{int(time.time())}:{secrets.token_urlsafe(48)}"


def _read(places: Places) -> Installed:
    try:
        return msgspec.json.decode((places.etc / MANIFEST).read_bytes(), type=Installed)
    except FileNotFoundError:
        return Installed()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
