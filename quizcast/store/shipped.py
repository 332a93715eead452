"""The SQL that quizcast brings along: named queries and migrations; bottom of `store`."""

import functools
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
ALONE = b"-- each statement by itself\n"


@functools.cache
def queries() -> Mapping[str, bytes]:
    """The named queries of `store/sql/*.sql`. Read once; a name is there once."""
    found: dict[str, bytes] = {}
    for file in resources.files("quizcast.store").joinpath("sql").iterdir():
        _, *parts = NAME.split(file.read_text("utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise KeyError(f"two queries are called {name}")
            found[name] = text.strip().encode()
    return found


def query(name: str) -> bytes:
    """A named query."""
    return queries()[name]


class Migration(NamedTuple):
    """One file of `store/migrations`: applied once, in order, and never edited afterwards.

    It runs in a transaction, unless it begins with `ALONE`: then each of its statements runs outside of one, as
    `CREATE INDEX CONCURRENTLY` has to. Such a file may be begun again after it broke off half-way.
    """

    name: str
    script: bytes
    checksum: str

    @property
    def alone(self) -> list[bytes]:
        """The statements that are to run by themselves; empty for a script that is one transaction."""
        if not self.script.startswith(ALONE):
            return []
        return [part for part in map(bytes.strip, self.script.removeprefix(ALONE).split(b";\n")) if part]


def migrations() -> list[Migration]:
    """All that this version knows, in order."""
    files = resources.files("quizcast.store").joinpath("migrations").iterdir()
    scripts = sorted((file.name.removesuffix(".sql"), file.read_bytes()) for file in files)
    return [Migration(name, script, hashlib.sha256(script).hexdigest()) for name, script in scripts]
