"""Answering: the door that a whole hall comes through within a second, several times a game. Beside the other routes.

`submit` waits for nothing: a look-up for the token, one for what the body says, a place in the next group. What it
has to say is told to a function when the group is on disk, so that an answer needs neither a task nor a future. It is
served on the hot road (see `hot`).
"""

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TypeAlias

from msgspec.structs import replace

from quizcast.errors import (
    AlreadyAnswered,
    AnswerInvalid,
    BodyTooLarge,
    GameUnknown,
    NotInGame,
    Overloaded,
    QuestionClosed,
    QuestionNotOpen,
    QuizcastError,
    RedisUnavailable,
    TooManyAnswers,
)
from quizcast.intake import OnVerdict
from quizcast.live.submissions import AnswerTry, Taken
from quizcast.tracing import Trace
from quizcast.web.bodies import JSON, MSGPACK
from quizcast.web.guard import claims_of
from quizcast.web.http import SMALL_BODY_MAX, Endpoint, RawReply, Who, problem
from quizcast.web.protocol import HotRequest
from quizcast.web.services import Services
from quizcast.wire.api import AnswerReceipt, AnswerRequest, encode_json, encode_msgpack

Respond: TypeAlias = Callable[[RawReply], None]

TAKEN = 202
_PACKED = MSGPACK.encode()
_HEADERS = {media: [(b"content-type", media.encode()), (b"cache-control", b"no-store")] for media in (JSON, MSGPACK)}


def submit(
    services: Services,
    game_id: str,
    request: HotRequest,
    respond: Respond,
    trace: Trace | None = None,
    *,
    counted: bool = False,
) -> bool:
    """Take an answer; `respond` gets the reply, at once when it is refused here, else when its group is on disk.

    False when the game's quiz has to be read first: then the try counts, and is to be submitted again as `counted`.
    """
    headers, body = request.headers, request.body
    try:
        if len(body) > SMALL_BODY_MAX:
            raise BodyTooLarge(f"at most {SMALL_BODY_MAX} bytes")
        claims = claims_of("POST", headers, ENDPOINT.who, services.tokens)
        if claims.game_id != game_id:
            raise NotInGame()
        if not counted:  # ahead of the quiz: to read one costs more than all the rest, and a game may be gone
            services.intake.admit_answer(claims.subject)
        if services.games.quiz_at_hand(game_id) is None:
            return False
        reading = services.readings.of(game_id, headers.text(b"content-type"), body)
        one = AnswerTry(game_id, claims.subject, reading)
        told = partial(_tell, respond, reading.question, _PACKED in headers.get(b"accept", b""))
        if trace is not None:
            one, told = replace(one, trace=trace.context), partial(_trace, trace, time.time_ns(), told)
        services.intake.submit(one, told)
    except QuizcastError as error:
        respond(problem(error))
    return True


def _tell(respond: Respond, question: int, packed: bool, verdict: Taken | QuizcastError) -> None:
    respond(_receipt(question, packed, verdict) if isinstance(verdict, Taken) else problem(verdict))


def _trace(trace: Trace, began_ns: int, told: OnVerdict[Taken], verdict: Taken | QuizcastError) -> None:
    trace.part("intake", began_ns)
    told(verdict)


@lru_cache(maxsize=100)  # of those taken together, one and the same
def _receipt(question: int, packed: bool, taken: Taken) -> RawReply:
    receipt = AnswerReceipt(question=question, received_at=taken.received_at, duplicate=taken.duplicate)
    if packed:
        return TAKEN, _HEADERS[MSGPACK], encode_msgpack(receipt)
    return TAKEN, _HEADERS[JSON], encode_json(receipt)


ENDPOINT = Endpoint(
    method="POST",
    path="/games/{game_id}/answers",
    handler=None,
    who=Who.PARTICIPANT,
    says="Answer the open question. 202 is a promise: the answer is on disk.",
    status=TAKEN,
    body=AnswerRequest,
    body_max=SMALL_BODY_MAX,
    packed=True,
    reply=AnswerReceipt,
    errors=(
        AnswerInvalid,
        AlreadyAnswered,
        QuestionNotOpen,
        QuestionClosed,
        NotInGame,
        GameUnknown,
        TooManyAnswers,
        Overloaded,
        RedisUnavailable,
    ),
)
ENDPOINTS = [ENDPOINT]
