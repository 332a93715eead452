"""Fan-out as the manual of sse-starlette has it: a response per stream, each with a queue of its own."""

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

queues: set[asyncio.Queue[str]] = set()


async def events(_request: Request) -> Response:
    """One stream, until its client leaves."""
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def stream() -> AsyncIterator[ServerSentEvent]:
        queues.add(queue)
        try:
            while True:
                yield ServerSentEvent(await queue.get(), event="leaderboard")
        finally:
            queues.discard(queue)

    return EventSourceResponse(stream())


async def publish(request: Request) -> Response:
    """An event for everybody."""
    data = (await request.body()).decode()
    for queue in queues:
        queue.put_nowait(data)
    return Response(status_code=202)


async def ready(_request: Request) -> Response:
    """Whether the server is up."""
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/events", events), Route("/publish", publish, methods=["POST"]), Route("/ready", ready)])
