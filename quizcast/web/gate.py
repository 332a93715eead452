"""The gate: what is over is refused as it comes in, before it is parsed; inside `web`, below `hot`.

A process that gets three times what it can take has to refuse two for each that it lets in. Refused behind the parser
they would cost more than those who are let in; here they cost a fifth of that. Invariant: what is not surely one whole
and plain request is left to the parser; it will be refused all the same, if it is to be.
"""

import random
import re
import time
from collections.abc import Callable, Iterable

from prometheus_client import Counter

from quizcast.errors import Overloaded, QuizcastError, StreamsFull, TooManyJoins
from quizcast.hub import FULL_RETRY_S
from quizcast.intake import RETRY_AFTER_S
from quizcast.metrics import INTAKE, STREAMS_REFUSED
from quizcast.web import answers, participants, streams
from quizcast.web.http import Endpoint, problem, request_timer
from quizcast.web.protocol import Refusal, written
from quizcast.web.services import Services

_ADDRESS = re.compile(rb"(?:POST /api/v1/(?:(join)|games/(\w+)/answers)|GET /api/v1/games/\w+/events)[? ]")
_TO_A_GAME = b"POST /api/v1/games/"
# Headers that say where a request ends and what becomes of its line. After a bare line feed, too: some parsers take it.
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding|connection|expect|upgrade)[ \t]*:[ \t]*([^\r\n]*)", re.I)
_KEEP_ALIVE = b"keep-alive"


class _Over:
    """How one kind of request is refused: at once, and counted as any other."""

    def __init__(self, endpoint: Endpoint, kind: type[QuizcastError], seconds: Iterable[int], refused: Counter) -> None:
        replies = [problem(kind(retry_after_s=some)) for some in seconds]
        self._refusals = [(status, written(headers, body)) for status, headers, body in replies]
        self._timer = request_timer(endpoint.method, endpoint.path, replies[0][0])
        self._refused = refused

    def refusal(self, began: float) -> Refusal:
        """One of them; what differs is when to come back."""
        self._refused.inc()
        self._timer.observe(time.perf_counter() - began)
        return random.choice(self._refusals)


class Gate:
    """Knows what is over; `services` gives None while the process starts and stops."""

    def __init__(self, services: Callable[[], Services | None]) -> None:
        self._services = services
        busy, joins = INTAKE.labels("answer", Overloaded.code), INTAKE.labels("join", TooManyJoins.code)
        self._answers = _Over(answers.ENDPOINT, Overloaded, RETRY_AFTER_S, busy)
        self._joins = _Over(participants.ENDPOINT, TooManyJoins, RETRY_AFTER_S, joins)
        self._streams = _Over(streams.ENDPOINT, StreamsFull, FULL_RETRY_S, STREAMS_REFUSED.labels("full"))

    def refusal(self, data: bytes) -> Refusal | None:
        """What is said to a request that came in in one piece on an idle line, if it is to be refused at once."""
        services = self._services()
        # Nearly all that comes: no need to look at where exactly it goes.
        if services is None or (data.startswith(_TO_A_GAME) and not services.intake.some_full):
            return None
        address = _ADDRESS.match(data)
        if address is None or services.hub.draining:
            return None
        join, game_id = address.groups()
        if game_id is not None:
            full, over = services.intake.answers_full(game_id.decode()), self._answers
        elif join is not None:
            full, over = services.intake.joins_full, self._joins
        else:
            full, over = services.hub.full, self._streams
        if not full:
            return None
        began = time.perf_counter()
        return over.refusal(began) if _whole(data) else None


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
