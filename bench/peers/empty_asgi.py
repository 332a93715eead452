"""A floor of the intake: an ASGI app without a framework that reads the body and answers, and does nothing else."""

from collections.abc import Awaitable, Callable
from typing import Any

BODY = b'{"question":0,"received_at":1700000000000,"duplicate":false}'
HEAD = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Read and forget."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": HEAD})
    await send({"type": "http.response.body", "body": BODY})
