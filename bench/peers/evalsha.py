"""Intake as one would first write it: Starlette, PyJWT, and one EVALSHA of redis-py per answer.

Environment: BENCH_REDIS (path of a Redis socket), BENCH_SECRET (of the tokens).
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator

import jwt
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

TAKE = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'participant', ARGV[1], 'answer', ARGV[2], 'at', ARGV[3])
return 1
"""

redis = Redis(unix_socket_path=os.environ["BENCH_REDIS"])
take = redis.register_script(TAKE)


async def answer(request: Request) -> Response:
    """Take one answer; the first wins."""
    try:
        claims = jwt.decode(
            request.headers.get("authorization", "").removeprefix("Bearer "),
            os.environ["BENCH_SECRET"],
            algorithms=["HS256"],
            audience="quizcast:participant",
        )
    except jwt.InvalidTokenError:
        return JSONResponse({"code": "token_invalid"}, 401)
    game = request.path_params["game"]
    if claims["game"] != game:
        return JSONResponse({"code": "not_in_game"}, 403)
    body = await request.json()
    question, at = body["question"], int(time.time() * 1000)
    keys = [f"{{{game}}}:answers:{question}", f"{{{game}}}:rows"]
    taken = await take(keys=keys, args=[claims["sub"], str(body["answer"]), at])
    return JSONResponse({"question": question, "received_at": at, "duplicate": not taken}, 202)


async def ready(_request: Request) -> Response:
    """Whether the server is up."""
    return PlainTextResponse("ok")


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Close what was opened."""
    yield
    await redis.aclose()


app = Starlette(
    routes=[Route("/api/v1/games/{game}/answers", answer, methods=["POST"]), Route("/ready", ready)],
    lifespan=lifespan,
)
