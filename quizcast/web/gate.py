"""The gate: what is over is refused as it comes in, before it is parsed; inside `web`, below `hot`.

A process that gets three times what it can take has to refuse two for each that it lets in. Refused behind the parser
they would cost more than those who are let in; here they cost less than half of that. Invariant: what is not surely one
whole and plain request is left to the parser; it will be refused all the same, if it is to be.
"""

import re
from collections.abc import Callable

from quizcast.errors import Overloaded, StreamsFull, TooManyJoins
from quizcast.hub import FULL_RETRY_S
from quizcast.intake import RETRY_AFTER_S
from quizcast.metrics import INTAKE, STREAMS_REFUSED
from quizcast.web import answers, participants, streams
from quizcast.web.refusals import Line, Refusal, Refusals
from quizcast.web.services import Services

_ADDRESS = re.compile(rb"(?:POST /api/v1/(?:(join)|games/(\w+)/answers)|GET /api/v1/games/\w+/events)[? ]")
_TO_A_GAME = b"POST /api/v1/games/"
# Headers that say where a request ends and what becomes of its line. After a bare line feed, too: some parsers take it.
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding|connection|expect|upgrade)[ \t]*:[ \t]*([^\r\n]*)", re.I)
_KEEP_ALIVE = b"keep-alive"


class Gate:
    """Knows what is over; `services` gives None while the process starts and stops."""

    def __init__(self, services: Callable[[], Services | None]) -> None:
        self._services = services
        self._refusals = Refusals()
        busy, joins = INTAKE.labels("answer", Overloaded.code), INTAKE.labels("join", TooManyJoins.code)
        self._answers = Refusal(answers.ENDPOINT, Overloaded, RETRY_AFTER_S, busy)
        self._joins = Refusal(participants.ENDPOINT, TooManyJoins, RETRY_AFTER_S, joins)
        self._streams = Refusal(streams.ENDPOINT, StreamsFull, FULL_RETRY_S, STREAMS_REFUSED.labels("full"))

    def refuses(self, line: Line, data: bytes) -> bool:
        """Whether a request that came in in one piece on an idle line is refused: at once, and in its turn."""
        services = self._services()
        if services is None:
            return False
        behind = self._refusals.behind
        # Nearly all that comes: no need to look at where exactly it goes.
        if data.startswith(_TO_A_GAME) and not (behind or services.intake.some_full):
            return False
        refusal = self._refusal(services, data, behind)
        if refusal is None or not _whole(data):
            return False
        self._refusals.add(line, refusal)
        return True

    def _refusal(self, services: Services, data: bytes, behind: bool) -> Refusal | None:
        address = _ADDRESS.match(data)
        if address is None or services.hub.draining:
            return None
        join, game_id = address.groups()
        if game_id is not None:
            return self._answers if services.intake.answers_full(game_id.decode(), behind=behind) else None
        if join is not None:
            return self._joins if services.intake.joins_full else None
        return self._streams if services.hub.full else None


def _whole(data: bytes) -> bool:
    """Whether this is one request, all of it and nothing else, on a line that goes on."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or b" HTTP/1.1\r\n" not in head:
        return False
    lengths, length = 0, b"%d" % len(body)
    for name, value in _FRAMING.findall(head):
        if name.lower() == b"content-length" and value == length:
            lengths += 1
        elif name.lower() != b"connection" or value.lower() != _KEEP_ALIVE:
            return False
    return lengths == 1 or not (lengths or body)
