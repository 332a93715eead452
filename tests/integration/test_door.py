"""The door of a web process: when many connect at once, they are let in many at a time."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
import uvloop

from quizcast.web.protocol import QuizcastProtocol
from quizcast.web.server import HANDLES, WebServer
from tests.integration.live_game import until


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The server sets the garbage collector to its own ways; tests that follow get theirs back."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """An app that is not asked."""


async def let_in(turns: int, people: int) -> int:
    """How many of so many who connect at once are in after so many turns of the loop."""
    config = uvicorn.Config(nothing, port=0, http=QuizcastProtocol, ws="none", lifespan="off", log_config=None)
    server = WebServer(config, cast("Any", nothing))
    serving = asyncio.create_task(server._serve())  # without its signal handlers
    await until(lambda: server.started)
    address = server.servers[0].sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        for _ in range(people):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        for _ in range(turns):
            await asyncio.sleep(0)
        seen = len(server.server_state.connections)
    server.should_exit = True
    await asyncio.wait_for(serving, 10)
    return seen


def test_those_who_come_together_are_let_in_many_at_a_turn() -> None:
    assert uvloop.run(let_in(turns=6, people=HANDLES * 8)) >= HANDLES * 3
