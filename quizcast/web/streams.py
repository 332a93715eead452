"""The event streams: a request becomes a `hub` stream; and the same picture by polling. Beside the other routes.

sse-starlette gives the headers that an event stream has to have. Its pump per stream is left out: the hub writes the
same bytes into every transport, and a stream costs no task at all. It is served on the hot road (see `hot`).
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from sse_starlette import EventSourceResponse

from quizcast.auth import Claims, Kind
from quizcast.domain.game import Phase
from quizcast.errors import (
    Draining,
    GameUnknown,
    NotInGame,
    RedisUnavailable,
    StreamsFull,
    TooManyStreams,
)
from quizcast.hub import FULL_RETRY_S, Arrival, Stream, Viewer
from quizcast.metrics import STREAMS_REFUSED
from quizcast.web.http import Call, Endpoint, Query, Who
from quizcast.web.services import Services
from quizcast.wire.events import Snapshot, parse_position

# Of one participant in one process: a few tabs, and lines that broke and are not known to be dead yet. Whoever opens on
# and on is to take no places from others.
STREAMS_EACH = 10
# The hub ends a stream by closing its line: a client that was told so does not send its next request on it.
CLOSING = (b"connection", b"close")
_OF_A_STREAM = EventSourceResponse(iter(()), headers={"cache-control": "no-store"}).raw_headers
HEADERS = [CLOSING if name == b"connection" else (name, value) for name, value in _OF_A_STREAM]


async def viewer_of(services: Services, claims: Claims, game_id: str) -> Viewer:
    """Who is watching this game. Raises `NotInGame`, or `GameUnknown` for another host's game."""
    if claims.kind is Kind.HOST:
        await services.owned(game_id, claims.subject)
        return Viewer()
    if claims.game_id != game_id:
        raise NotInGame()
    return Viewer(participant_id=claims.subject if claims.kind is Kind.PARTICIPANT else None)


async def arrive(services: Services, claims: Claims, game_id: str, resume: str, gone: Callable[[], bool]) -> Arrival:
    """Find out what a viewer has to be told first, unless they are `gone` when it is their turn.

    Raises what the endpoint's `errors` list, and `GameOver`.
    """
    viewer = await viewer_of(services, claims, game_id)
    if viewer.participant_id is None:
        return await services.hub.arrive(game_id, viewer, parse_position(resume), gone)
    if services.presence.streams(game_id, viewer.participant_id) >= STREAMS_EACH:
        STREAMS_REFUSED.labels("each").inc()
        raise TooManyStreams(retry_after_s=random.choice(FULL_RETRY_S))
    with services.presence.opening(game_id, viewer.participant_id):
        return await services.hub.arrive(game_id, viewer, parse_position(resume), gone)


def begin(services: Services, arrival: Arrival, transport: asyncio.WriteTransport) -> Stream:
    """Begin an event stream, to be ended by `leave`."""
    opened = services.hub.go_live(arrival, transport)
    if opened.viewer.participant_id is not None:
        services.presence.arrived(arrival.channel.game_id, opened.viewer.participant_id)
    return opened


def leave(services: Services, game_id: str, opened: Stream) -> None:
    """The line is gone, whoever ended it."""
    services.hub.detach(game_id, opened)
    if opened.viewer.participant_id is not None:
        services.presence.left(game_id, opened.viewer.participant_id)


async def state(call: Call) -> Any:
    """Where the game stands, for a client that woke up or cannot stream."""
    game_id = call.param("game_id")
    if call.claims is None:
        raise NotInGame()
    viewer = await viewer_of(call.services, call.claims, game_id)
    _, snapshot = await call.services.views.state(game_id, viewer.participant_id)
    if viewer.participant_id is not None and snapshot.phase is not Phase.FINISHED:
        call.services.presence.seen(game_id, viewer.participant_id)
    return snapshot


ENDPOINT = Endpoint(
    method="GET",
    path="/games/{game_id}/events",
    handler=None,
    who=Who.VIEWER,
    says="The stream: a snapshot, then every event; ends with 204 when the game is over.",
    others={204: "The game is over: there is nothing to come back for."},
    media_types=("text/event-stream",),
    reply=str,
    query=(
        Query(name="token", type=str, says="the token, for an EventSource, which cannot send headers"),
        Query(name="last_event_id", type=str, says="resume after this event, as the header Last-Event-ID does"),
    ),
    errors=(NotInGame, GameUnknown, TooManyStreams, StreamsFull, Draining, RedisUnavailable),
)
ENDPOINTS = [
    ENDPOINT,
    Endpoint(
        method="GET",
        path="/games/{game_id}/state",
        handler=state,
        who=Who.VIEWER,
        says="The snapshot, for a client that woke up or cannot stream.",
        reply=Snapshot,
        query=(Query(name="token", type=str, says="the token, where no header can be sent"),),
        errors=(NotInGame, GameUnknown, RedisUnavailable),
    ),
]
