"""The pages' static files: one digest over all of them, what imports what, and their compressed variants; floor 5.

A tree is read once and stays in memory. Invariants: the digest changes when any file does, so what is under a digest
never changes; a folder named by a digest is complete from the moment it is there, and what it holds is told by it.
"""

import contextlib
import gzip
import hashlib
import os
import posixpath
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Self

# What browsers get. Of a name that ends otherwise (a manifest, a licence) nothing is served.
TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
}
SUFFIXES: Mapping[str, str] = {"br": ".br", "gzip": ".gz"}  # encoding → what its file's name ends with; the best first
DIGEST_LENGTH = 16  # hexadecimal digits: 64 bits, and nobody who could choose the files gains by a collision
KEPT_S = 7 * 86400  # an older version's folder: longer than any page stays open in a rolling restart

# Only what stands at the beginning of a statement and loads at once: `import("…")` is for later, and so is its file.
_IMPORT = re.compile(r"""(?:^|[;}\n])\s*(?:import|export)\s*(?:[\w$*{},\s]+?from\s*)?["']([^"']+)["']""")


class Assets:
    """A tree of static files: path below the folder, with slashes → content."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        told = hashlib.sha256()
        for path, content in sorted(files.items()):
            told.update(b"%d %d " % (len(path.encode()), len(content)))
            told.update(path.encode() + content)
        self.digest = told.hexdigest()[:DIGEST_LENGTH]

    @classmethod
    def shipped(cls) -> Self:
        """Those that this version of quizcast brings."""
        return cls.read(resources.files("quizcast").joinpath("static"))

    @classmethod
    def read(cls, folder: Traversable) -> Self:
        """The files of a folder, as far as they are for browsers. Raises `OSError`."""
        return cls(dict(sorted(_walk(folder, ""))))

    @property
    def languages(self) -> list[str]:
        """The languages that there are texts for, English first."""
        found = [path[len("i18n/") : -len(".json")] for path in self.files if re.fullmatch(r"i18n/[\w-]+\.json", path)]
        return sorted(found, key=lambda tag: (tag != "en", tag))

    def imports(self, path: str) -> list[str]:
        """The files that a module imports statically, in the order of the text; may name some that are not there."""
        found = _IMPORT.findall(self.files.get(path, b"").decode("utf-8", "replace"))
        return [posixpath.normpath(posixpath.join(posixpath.dirname(path), one)) for one in found]

    def modules(self, entry: str) -> list[str]:
        """A module and all that a browser has to load before it can run, each once, the nearest first."""
        found = [entry] if entry in self.files else []
        for path in found:  # grows meanwhile
            found += [one for one in dict.fromkeys(self.imports(path)) if one in self.files and one not in found]
        return found


def media_type(path: str) -> str:
    """The type of a file in the tree."""
    return TYPES[posixpath.splitext(path)[1]]


def build(assets: Assets, folder: Path) -> Path:
    """Write the tree into `folder/<digest>`, and `.br` and `.gz` beside every file that gains; where that is.

    Does nothing when it is there, and removes what has not been in use for `KEPT_S`. Safe to run twice at a time.
    Raises `OSError`.
    """
    whole = folder / assets.digest
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # everybody may have what is in it, above all nginx
    if not whole.is_dir():
        made = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        try:
            for path, content in assets.files.items():
                _write(made / path, content)
                for suffix, packed in _packed(content, path):
                    _write(made / f"{path}{suffix}", packed)
            made.chmod(0o755)
            with contextlib.suppress(FileExistsError):  # another process was quicker, and has the same
                _rename(made, whole)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    os.utime(whole)  # in use
    _forget(folder, time.time() - KEPT_S)
    return whole


def variant(folder: Path, digest: str, path: str, encoding: str) -> bytes | None:
    """A file's content in this encoding, where `build` found that it gains."""
    try:
        return folder.joinpath(digest, f"{path}{SUFFIXES[encoding]}").read_bytes()
    except OSError:
        return None


def _walk(folder: Traversable, below: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for one in folder.iterdir():
        if one.is_dir():
            found += _walk(one, f"{below}{one.name}/")
        elif posixpath.splitext(one.name)[1] in TYPES:
            found.append((below + one.name, one.read_bytes()))
    return found


def _packed(content: bytes, path: str) -> list[tuple[str, bytes]]:
    import brotli  # only where it is needed: a web process reads what was made

    mode = brotli.MODE_FONT if path.endswith(".woff2") else brotli.MODE_TEXT
    made = [
        (SUFFIXES["br"], brotli.compress(content, mode=mode, quality=11)),
        (SUFFIXES["gzip"], gzip.compress(content, compresslevel=9, mtime=0)),
    ]
    return [(suffix, packed) for suffix, packed in made if len(packed) < len(content)]


def _write(path: Path, content: bytes) -> None:
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    path.write_bytes(content)
    path.chmod(0o644)


def _rename(made: Path, whole: Path) -> None:
    try:
        made.rename(whole)
    except OSError as error:
        if whole.is_dir():
            raise FileExistsError from error
        raise


def _forget(folder: Path, before: float) -> None:
    for one in folder.iterdir():
        ours = one.name.startswith(".") or re.fullmatch(rf"[0-9a-f]{{{DIGEST_LENGTH}}}", one.name)
        with contextlib.suppress(FileNotFoundError):
            if ours and one.is_dir() and one.stat().st_mtime < before:
                shutil.rmtree(one, ignore_errors=True)
