"""`/static/{digest}/{path}`: the tree of `quizcast.assets`, compressed where there are variants; inside `pages`.

What is asked for under this tree's digest may be kept for ever. Another digest is that of a page from another version,
in a rolling restart: it gets that version's file while the built folder has it, and else today's, not to be kept.
"""

import functools
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from quizcast import assets
from quizcast.assets import Assets
from quizcast.errors import NotFound
from quizcast.web.caching import ASK_FIRST, FOR_EVER, kept, tag_of

VERSIONS_KEPT = 2  # in memory, beside this one: who rolls forward and back in one afternoon
# Module scripts of a page elsewhere, or of ours behind a CDN, come with CORS or not at all. There is nothing to hide.
OPEN = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin", "vary": "Accept-Encoding"}


class StaticFiles:
    """Serves the tree; variants come from `folder` as soon as `assets.build` has put them there."""

    def __init__(self, own: Assets, folder: Path) -> None:
        self._own = own
        self._folder = folder
        self._packed: dict[tuple[str, str, str], bytes] = {}  # of (digest, path, encoding); bounded by what there is
        self._older = functools.lru_cache(VERSIONS_KEPT)(self._read)

    def serve(self, request: Request, digest: str, path: str) -> Response:
        """One file. Raises `NotFound`."""
        tree = self._own if digest == self._own.digest else self._other(digest)
        content = tree.files.get(path)
        if content is None:
            raise NotFound()
        headers = OPEN | {"cache-control": FOR_EVER if digest == tree.digest else ASK_FIRST}
        for encoding in _accepted(request.headers.get("accept-encoding", "")):
            if (packed := self._variant(tree.digest, path, encoding)) is not None:
                headers["content-encoding"] = encoding
                tag = tag_of(content, f"-{encoding}")
                return kept(request, packed, assets.media_type(path), headers, tag=tag)
        return kept(request, content, assets.media_type(path), headers)

    def _variant(self, digest: str, path: str, encoding: str) -> bytes | None:
        key = (digest, path, encoding)
        if key not in self._packed:
            found = assets.variant(self._folder, digest, path, encoding)
            if found is None:
                return None  # not remembered: they may still be in the making
            self._packed[key] = found
        return self._packed[key]

    def _other(self, digest: str) -> Assets:
        if re.fullmatch(rf"[0-9a-f]{{{assets.DIGEST_LENGTH}}}", digest) and (self._folder / digest).is_dir():
            return self._older(digest)
        return self._own

    def _read(self, digest: str) -> Assets:
        try:
            found = Assets.read(self._folder / digest)
        except OSError:  # removed at this moment
            return self._own
        return found if found.digest == digest else self._own  # it is not what it was


def _accepted(header: str) -> list[str]:
    """The encodings that we have and the client takes, the smallest first."""
    given = {}
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        given[name.strip()] = weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return [encoding for encoding in assets.SUFFIXES if given.get(encoding)]
