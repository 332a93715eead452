"""How cost grows as one game gets longer."""

import http.client
import socket
import statistics
import time

from bench.backstage import QUESTION, Hall
from bench.contest import Metric
from bench.fanout import Quizcast, invitation
from bench.machine import SERVER_CORE
from bench.native import Reader
from bench.sweep import SETTLE_S, WebSweep, opened
from quizcast.domain.quiz import QuizContent


class Questions(WebSweep):
    """One game, as it gets longer."""

    PEOPLE = 500
    TIMED = 5  # the last so many questions up to the size

    name = "questions"
    title = "How cost grows: questions played"
    says = (
        f"A game of {PEOPLE} with a stream each, who all answer every question. Of the last {TIMED} questions up to "
        "the given one: how long the host's requests to open and to close take (closing scores), and what a question "
        "costs the process in all, from opening to everybody's result. Then how long a participant waits for the "
        "state, and for all that they missed when they come back with the game's first event."
    )
    unit = "questions"
    metrics = (
        Metric(key="open_ms", title="open (ms)"),
        Metric(key="close_ms", title="close (ms)"),
        Metric(key="question_ms", title="CPU ms per question", digits=0),
        Metric(key="redis_ms", title="of Redis", digits=0),
        Metric(key="state_ms", title="state (ms)", digits=2),
        Metric(key="resume_ms", title="resume from the first (ms)"),
        Metric(key="redis_kb", title="KB in Redis since the start", digits=0),
    )
    plotted = ("close_ms", "question_ms", "state_ms", "resume_ms")
    sizes = (5, 25, 50, 100)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """Play up to the question, then look."""
        hall = self._hall
        hall.fill(self.PEOPLE, QuizContent(title="Long", questions=(QUESTION,) * size))
        opens, closes = list[float](), list[float]()
        with contestant.running(SERVER_CORE), Reader(contestant.port, contestant.invitations(), "sse", 1, 0) as reader:
            opened(reader)
            host, empty_kb = Client(contestant.port, hall.game_id, hall.host()), hall.redis_kb()
            for question in range(size):
                if question == size - self.TIMED:
                    time.sleep(SETTLE_S)
                    cpu_s, redis_s = contestant.cpu_s(), hall.redis_s()
                opens.append(host.ask("POST", "open"))
                hall.answer(question)
                closes.append(host.ask("POST", "close"))
            time.sleep(SETTLE_S)
            cpu_s, redis_s = contestant.cpu_s() - cpu_s, hall.redis_s() - redis_s
            participant = Client(contestant.port, hall.game_id, hall.tokens[0])
            states = [participant.ask("GET", "state") for _ in range(50)]
            resumes = [_resumed_ms(contestant.port, hall, size) for _ in range(3)]
            redis_kb = hall.redis_kb() - empty_kb
        return {
            "open_ms": statistics.median(opens[-self.TIMED :]),
            "close_ms": statistics.median(closes[-self.TIMED :]),
            "question_ms": cpu_s / self.TIMED * 1000,
            "redis_ms": redis_s / self.TIMED * 1000,
            "state_ms": statistics.median(states),
            "resume_ms": statistics.median(resumes),
            "redis_kb": redis_kb,
        }


class Client:
    """One keep-alive connection of a host or participant to a game's routes."""

    def __init__(self, port: int, game_id: str, token: str) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._path = f"/api/v1/games/{game_id}/"
        self._headers = {"authorization": f"Bearer {token}"}

    def ask(self, method: str, what: str) -> float:
        """Make a request; the milliseconds until its reply was read. Raises `RuntimeError` unless it is a 200."""
        began = time.monotonic()
        self._line.request(method, self._path + what, headers=self._headers)
        reply = self._line.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{what}: {reply.status} {body[:200]!r}")
        return (time.monotonic() - began) * 1000


def _resumed_ms(port: int, hall: Hall, results: int) -> float:
    """Come back with the game's first event; milliseconds until every question's result has been replayed."""
    head = f"{invitation(hall.game_id, hall.tokens[0])}Last-Event-ID: {hall.first_id()}\r\n\r\n"
    began, seen = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), 30) as line:
        line.sendall(head.encode())
        while seen.count(b"event: result\n") < results:
            if not (more := line.recv(1 << 20)):
                raise RuntimeError("the stream ended")
            seen += more
    return (time.monotonic() - began) * 1000
