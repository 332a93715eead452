"""A reply that browsers and proxies may keep: its tag, and 304 for those who have it; inside `web`, at its bottom."""

import hashlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

FOR_EVER = "public, max-age=31536000, immutable"  # the year that proxies take for it
ASK_FIRST = "no-cache"  # keep it, and ask each time whether it is still the one


def tag_of(content: bytes, kind: str = "") -> str:
    """An ETag; `kind` parts variants of one content."""
    return f'"{hashlib.sha256(content).hexdigest()[:20]}{kind}"'


def kept(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str], *, tag: str = "", status: int = 200
) -> Response:
    """The content with its tag, or 304 when the client has it already."""
    tag = tag or tag_of(content)
    own = {**headers, "etag": tag}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and (tag in known or known == ["*"]):
        return Response(None, 304, own)
    return Response(content, status, own, media_type)
