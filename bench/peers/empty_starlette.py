"""A floor of the intake: a Starlette endpoint that reads the body and answers, and does nothing else."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def answer(request: Request) -> Response:
    """Read and forget."""
    await request.body()
    return JSONResponse({"question": 0, "received_at": 1_700_000_000_000, "duplicate": False}, 202)


async def ready(_request: Request) -> Response:
    """Whether the server is up."""
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/api/v1/games/{game}/answers", answer, methods=["POST"]), Route("/ready", ready)])
