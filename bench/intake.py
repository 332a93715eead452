"""Contest 2, intake: answers over connections that stay open, taken by one server process on one core."""

import sys
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

from bench.backstage import Backstage, Web, python_app
from bench.contest import Contest, Contestant, Goal, Metric
from bench.machine import PEERS, SERVER_CORE
from bench.native import load

PEOPLE = 15_000  # below what a process remembers of verified tokens, above what a process has of participants
SECONDS = 5.0  # a contestant who needs longer for everybody's answers is cut off
QUESTIONS = 3
CHOICES = 4  # of which each picks one


class Taker(Contestant):
    """A contestant of the intake; `open` is called before each question's answers come."""

    def open(self, question: int) -> None:
        """Nothing to do where there is no game."""


class Quizcast(Web, Taker):
    """The real route: token, first-wins script, stream on disk."""

    def open(self, question: int) -> None:
        """In the game."""
        self.stage.hall.open(question)


class Asgi(Taker):
    """An app of `bench/peers` on uvicorn."""

    def __init__(self, stage: Backstage, name: str, module: str) -> None:
        super().__init__()
        self.name = name
        self._env = stage.peers_env
        self._module = module

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """uvicorn."""
        return [sys.executable, "-m", *python_app(self._module, self.port)], self._env


class BullMq(Taker):
    """Express, jsonwebtoken and BullMQ."""

    name = "Express + BullMQ"

    def __init__(self, stage: Backstage) -> None:
        super().__init__()
        self._env = stage.peers_env

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Node, as it comes."""
        return ["node", str(PEERS / "bullmq.js")], {**self._env, "PORT": str(self.port), "NODE_ENV": "production"}


class Intake(Contest[Taker]):
    """Everybody answers, as fast as the connections allow."""

    name = "intake"
    title = "Intake"
    says = (
        f"One server process on core {SERVER_CORE}; the loader and Redis share the other. {PEOPLE:,} participants "
        "answer one question after the other, each with a token of their own and one of "
        f"{CHOICES} answers, over connections that stay open and send the next answer when the last is acknowledged, "
        f"for at most {SECONDS:g} s per question. *first* is the first "
        "question, when the process has not seen these tokens yet; the other figures are of the questions after "
        "that. quizcast's Redis syncs every group of answers to disk before they are acknowledged; the peers' Redis "
        "writes nothing to disk."
    )
    unit = "connections"
    metrics = (
        Metric(key="first_per_s", title="first (answers/s)", digits=0, ratio=True, lower=False),
        Metric(key="per_s", title="answers/s", digits=0, ratio=True, lower=False),
        Metric(key="p50_ms", title="p50 (ms)"),
        Metric(key="p99_ms", title="p99 (ms)"),
        Metric(key="loader_share", title="loader (share of its core)", digits=2),
        Metric(key="refused", title="not 2xx", digits=0),
    )
    plotted = ("per_s", "p99_ms")
    floors = ("empty Starlette", "empty ASGI", "Express + BullMQ")
    quick_floors = ("empty Starlette", "empty ASGI")
    sizes = (200, 1000)
    quick_sizes = (200,)
    goals = (
        *(Goal(metric="per_s", size=size, over="empty Starlette", at_least=1.2) for size in sizes),
        *(Goal(metric="per_s", size=size, over="empty ASGI", at_least=0.75) for size in sizes),
        *(Goal(metric="per_s", size=size, over="Express + BullMQ", at_least=15) for size in sizes),
        Goal(metric="p99_ms", size=1000, over=None, at_most=100),
        *(Goal(metric="refused", size=size, over=None, at_most=0) for size in sizes),
    )

    def __init__(self, stage: Backstage) -> None:
        self._stage = stage
        self.contestants = (
            Quizcast(stage),
            BullMq(stage),
            Asgi(stage, "Starlette + EVALSHA", "evalsha"),
            Asgi(stage, "empty Starlette", "empty_starlette"),
            Asgi(stage, "empty ASGI", "empty_asgi"),
        )

    def measure(self, contestant: Taker, size: int) -> dict[str, float]:
        """The questions, one after the other."""
        hall = self._stage.hall
        hall.fill(PEOPLE)
        seen = []
        with contestant.running(SERVER_CORE):
            for question in range(QUESTIONS):
                contestant.open(question)
                picks = zip(hall.tokens, cycle(range(CHOICES)), strict=False)
                answers = [answer_request(hall.game_id, token, question, pick) for token, pick in picks]
                seen.append(load(contestant.port, answers, size, SECONDS))
        first, *later = seen
        seconds = sum(one.seconds for one in later)
        return {
            "first_per_s": first.ok / first.seconds,
            "per_s": sum(one.ok for one in later) / seconds,
            "p50_ms": max(one.p50_us for one in later) / 1000,
            "p99_ms": max(one.p99_us for one in later) / 1000,
            "loader_share": sum(one.cpu_s for one in later) / seconds,
            "refused": sum(one.refused + one.broken for one in seen),
        }


def answer_request(game_id: str, token: str, question: int, answer: int = 7) -> bytes:
    """A participant's answer, as it goes over the line."""
    body = b'{"question":%d,"answer":%d}' % (question, answer)
    head = f"POST /api/v1/games/{game_id}/answers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    return head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
