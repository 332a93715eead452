"""Joining: the door that a whole hall comes through before the first question. Beside the other routes."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from quizcast.auth import Kind
from quizcast.conductor import join_try
from quizcast.errors import (
    Banned,
    GameFull,
    GameLocked,
    GameOver,
    NicknameInvalid,
    NicknameTaken,
    NotAuthenticated,
    NotInGame,
    Overloaded,
    PinUnknown,
    RedisUnavailable,
    TooManyJoins,
    TooManyPins,
)
from quizcast.ids import new_id
from quizcast.web.guard import PARTICIPANT_COOKIE
from quizcast.web.http import SMALL_BODY_MAX, Call, Endpoint, Reply, Who, cookie
from quizcast.wire.api import Join, Joined


async def join(call: Call) -> Any:
    """Take part. A retry with the same Idempotency-Key, or with the token, is the same participant."""
    async with call.services.intake.joining():
        return await _join(call)


async def _join(call: Call) -> Any:
    wish: Join = call.body
    services = call.services
    game_id, ids = await _way_in(call, wish)
    while True:
        one = join_try(game_id, next(ids), wish.nickname)
        # Who was kicked comes back as somebody new, so that the old answers stay out of the ranking.
        with contextlib.suppress(NotInGame):
            welcome = await services.intake.join(one)
            break
    token = services.tokens.mint(Kind.PARTICIPANT, one.participant_id, game_id)
    base = f"{call.base_url}/api/v1/games/{game_id}"
    body = Joined(
        game_id=game_id,
        participant_id=one.participant_id,
        nickname=welcome.nickname,
        token=token,
        events_url=f"{base}/events",
        answers_url=f"{base}/answers",
    )
    return Reply(body=body, cookies=(cookie(PARTICIPANT_COOKIE, token, services.settings.participant_ttl_s, call),))


async def _way_in(call: Call, wish: Join) -> tuple[str, Iterator[str]]:
    """The PIN's game, and who this is: the participant of the token, when they are in this game; else of the request's
    key; else new. Then, for who was kicked, who they are now. Raises `PinUnknown`, `TooManyPins`."""
    services = call.services
    game_id: str | None
    try:
        game_id = await services.conductor.find(wish.pin)
    except PinUnknown:
        game_id = None
    if wish.participant_token and game_id is not None:
        try:
            claims = services.tokens.read(wish.participant_token, (Kind.PARTICIPANT,))
        except NotAuthenticated:
            claims = None  # of a game long ago, say: they join anew
        if claims and claims.game_id == game_id and await services.games.known(game_id, claims.subject):
            # Who is in the game has not guessed its PIN.
            return game_id, itertools.chain([claims.subject], _without_token(call, game_id))
    game_id = await services.pins.judge(call.peer, game_id)
    return game_id, _without_token(call, game_id)


def _without_token(call: Call, game_id: str) -> Iterator[str]:
    key = call.idempotency_key
    for kicks in itertools.count():
        yield call.services.tokens.derived_id(game_id, key, kicks) if key else new_id()


ENDPOINT = Endpoint(
    method="POST",
    path="/join",
    handler=join,
    who=Who.ANYONE,
    says="Take part in the game with this PIN.",
    status=201,
    body=Join,
    body_max=SMALL_BODY_MAX,
    packed=True,
    reply=Joined,
    idempotent=True,
    errors=(
        PinUnknown,
        NicknameInvalid,
        NicknameTaken,
        GameLocked,
        GameFull,
        GameOver,
        Banned,
        TooManyJoins,
        TooManyPins,
        Overloaded,
        RedisUnavailable,
    ),
)
ENDPOINTS = [ENDPOINT]
