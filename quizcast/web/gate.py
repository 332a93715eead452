"""The gate: what is over is refused as it comes in, before it is parsed; inside `web`, below `hot`.

A process that gets three times what it can take has to refuse two for each that it lets in. Refused behind the parser
they would cost more than those who are let in; here they cost a fifth of that. Invariant: what is not surely one whole
and plain request is left to the parser; it will be refused all the same, if it is to be.
"""

import random
import re
import time
from collections.abc import Callable, Iterable

from quizcast.errors import Overloaded, QuizcastError, StreamsFull, TooManyJoins
from quizcast.hub import FULL_RETRY_S
from quizcast.intake import RETRY_AFTER_S
from quizcast.metrics import INTAKE, STREAMS_REFUSED
from quizcast.web import answers, participants, streams
from quizcast.web.http import RawReply, counted, problem
from quizcast.web.services import Services

_ADDRESS = re.compile(rb"(?:POST /api/v1/(?:(join)|games/(\w+)/answers)|GET /api/v1/games/\w+/events)[? ]")
# Headers that say where a request ends and what becomes of its line. After a bare line feed, too: some parsers take it.
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding|connection|expect|upgrade)[ \t]*:[ \t]*([^\r\n]*)", re.I)
_KEEP_ALIVE = b"keep-alive"


class Gate:
    """Knows what is over; `services` gives None while the process starts and stops."""

    def __init__(self, services: Callable[[], Services | None]) -> None:
        self._services = services
        self._overloaded = _replies(Overloaded, RETRY_AFTER_S)
        self._too_many_joins = _replies(TooManyJoins, RETRY_AFTER_S)
        self._streams_full = _replies(StreamsFull, FULL_RETRY_S)

    def refusal(self, data: bytes) -> RawReply | None:
        """The reply to a request that came in in one piece on an idle line, if it is to be refused at once."""
        services, address = self._services(), _ADDRESS.match(data)
        if services is None or address is None or services.hub.draining:
            return None
        began = time.perf_counter()
        join, game_id = address.groups()
        if join is not None:
            over, replies, endpoint = services.intake.joins_full, self._too_many_joins, participants.ENDPOINT
        elif game_id is not None:
            over = services.intake.answers_full(game_id.decode())
            replies, endpoint = self._overloaded, answers.ENDPOINT
        else:
            over, replies, endpoint = services.hub.full, self._streams_full, streams.ENDPOINT
        if not (over and _whole(data)):
            return None
        reply = random.choice(replies)
        if endpoint is streams.ENDPOINT:
            STREAMS_REFUSED.labels("full").inc()
        elif join is not None:
            INTAKE.labels("join", TooManyJoins.code).inc()
        else:
            INTAKE.labels("answer", Overloaded.code).inc()
        counted(endpoint, reply[0], began)
        return reply


def _replies(kind: type[QuizcastError], seconds: Iterable[int]) -> list[RawReply]:
    return [problem(kind(retry_after_s=some)) for some in seconds]


def _whole(data: bytes) -> bool:
    """Whether this is one request, all of it and nothing else, on a line that goes on."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or b" HTTP/1.1\r\n" not in head:
        return False
    lengths = []
    for name, value in _FRAMING.findall(head):
        if name.lower() == b"content-length" and value.isdigit():
            lengths.append(int(value))
        elif value.lower() != _KEEP_ALIVE:
            return False
    return lengths == [len(body)] or not (lengths or body)
