"""What the rooms of `hosts` share."""

from collections.abc import Sequence
from typing import Any

from quizcast import formats
from quizcast.errors import InvalidInput
from quizcast.web.http import Call, Endpoint, Handler, Reply, Who


def host_route(method: str, path: str, handler: Handler, says: str, **more: Any) -> Endpoint:
    """An endpoint that only hosts may call."""
    return Endpoint(method=method, path=path, handler=handler, who=Who.HOST, says=says, **more)


def one_of(call: Call, name: str, allowed: Sequence[str]) -> str:
    """A parameter of the query string that has few values; the first of them unless said. Raises `InvalidInput`."""
    given = call.query(name, allowed[0])
    if given not in allowed:
        raise InvalidInput(f"{name} is one of {', '.join(allowed)}")
    return given


def file_reply(dumped: formats.Dumped) -> Reply:
    """A file for the browser to save."""
    disposition = f'attachment; filename="{dumped.filename}"'
    return Reply(body=dumped.data, media_type=dumped.media_type, headers={"content-disposition": disposition})
