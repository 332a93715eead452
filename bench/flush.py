"""Contest 4, flush: from the answer stream to committed rows, by one worker."""

import re
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import psycopg

from bench.backstage import QUIZ, Backstage, Web
from bench.contest import Contest, Contestant, Goal, Metric
from bench.machine import SERVER_CORE
from quizcast.embedded import find_postgres
from quizcast.simulate import Address, Host

POLL_S = 0.02  # looking costs the core that Redis and Postgres work on
DRAIN_TIMEOUT_S = 120
BATCH_SHARE = 0.05  # of the rows; the clock runs from when these are stored, so that starting is not part of it
FORGET: LiteralString = "DELETE FROM answers"
CLEAN: LiteralString = "VACUUM ANALYZE answers"
LEVEL: LiteralString = "CHECKPOINT"  # a page's first change after one is logged whole: everybody pays that alike
COLUMNS = "game_id, question, participant_id, answer, received_at"


class Storer(Contestant):
    """A way of storing everybody's answers to a question."""

    def __init__(self, stage: Backstage) -> None:
        super().__init__()
        self.stage = stage

    @abstractmethod
    def store(self, question: int) -> float:
        """Store them; rows per second."""


class Worker(Storer):
    """`quizcast worker`, woken by the backlog that it finds."""

    name = "quizcast"

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Its own command line."""
        return [sys.executable, "-m", "quizcast", "worker"], self.stage.settings.to_env()

    def ready(self) -> bool:
        """It has no port; that it works shows in the stream."""
        return True

    def store(self, question: int) -> float:
        """Fill the stream, then let the worker empty it."""
        hall = self.stage.hall
        hall.open(question)
        hall.answer(question)
        rows = hall.waiting()
        with self.running(SERVER_CORE):
            counted, began = drained(self.stage, rows - int(rows * BATCH_SHARE))
            _, ended = drained(self.stage, 0)
        return counted / (ended - began)


class Copy(Storer):
    """psql's `\\copy` of the same rows into the same table, with its indexes and checks."""

    name = "psql COPY"

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Not a server: psql is run once for each measurement."""
        return [str(find_postgres() / "psql"), "--no-psqlrc", self.stage.settings.database_url], {}

    def store(self, question: int) -> float:
        """Time as psql itself tells it."""
        hall, at = self.stage.hall, int(time.time() * 1000)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows"
            with file.open("w") as rows:
                rows.writelines(f"{hall.game_id}\t{question}\t{one}\t7\t{at}\n" for one in hall.people)
            words, _ = self.command(Path(folder))
            script = f"\\timing on\n\\copy answers ({COLUMNS}) FROM '{file}'\n"
            pinned = ["taskset", "--cpu-list", str(SERVER_CORE), *words]
            said = subprocess.run(pinned, input=script, capture_output=True, text=True, check=True).stdout
        copied, took = re.search(r"COPY (\d+)", said), re.search(r"Time: ([\d.]+) ms", said)
        if copied is None or took is None:
            raise RuntimeError(f"psql said {said!r}")
        return int(copied[1]) / float(took[1]) * 1000


def drained(stage: Backstage, left: int) -> tuple[int, float]:
    """Wait until so few rows wait: how many do, and when that was."""
    until = time.monotonic() + DRAIN_TIMEOUT_S
    while (waiting := stage.hall.waiting()) > left:
        if time.monotonic() > until:
            raise RuntimeError(f"{waiting} rows still wait")
        time.sleep(POLL_S)
    return waiting, time.monotonic()


class Flush(Contest[Storer]):
    """As many answers as the size says, to one question of one game."""

    name = "flush"
    title = "Flush"
    says = (
        f"One `quizcast worker` on core {SERVER_CORE} empties a stream of answers; Postgres and Redis are on the "
        "other, from the first batch stored to the last row committed and gone from the stream: reading and trimming "
        "Redis is in the figure. The floor is psql on the same core, which copies the same rows from a file into the "
        "same table, emptied and checkpointed before each turn."
    )
    unit = "rows"
    metrics = (Metric(key="per_s", title="rows/s", digits=0, ratio=True, lower=False),)
    plotted = ("per_s",)
    floors = ("psql COPY",)
    quick_floors = ("psql COPY",)
    sizes = (50_000, 100_000)
    quick_sizes = (50_000,)
    goals = tuple(Goal(metric="per_s", size=size, over="psql COPY", at_least=0.5) for size in sizes)

    def __init__(self, stage: Backstage) -> None:
        self._stage = stage
        self._web = Web(stage)
        self.contestants = (Worker(stage), Copy(stage))

    def measure(self, contestant: Storer, size: int) -> dict[str, float]:
        """In a game that Postgres knows; the participants are stored before."""
        hall = self._stage.hall
        hall.clear()
        with self._web.running(SERVER_CORE):
            game_id = hall.run(self._created())
        hall.enter(game_id, size)
        worker = Worker(self._stage)
        with worker.running(SERVER_CORE):
            drained(self._stage, 0)
        with psycopg.connect(self._stage.settings.database_url, autocommit=True) as conn:
            conn.execute(FORGET)
            conn.execute(CLEAN)
            conn.execute(LEVEL)
        return {"per_s": contestant.store(0)}

    async def _created(self) -> str:
        host = await Host.register(await Address.resolve(f"http://127.0.0.1:{self._web.port}"))
        questions = [{"kind": "numeric", "prompt": one.prompt, "correct": 7} for one in QUIZ.questions]
        quiz_id = await host.create_quiz({"title": QUIZ.title, "questions": questions})
        options = {"max_participants": 100_000, "lead_ms": 0, "close_when_all_answered": False}
        game = await host.create_game(quiz_id, options)
        await host.leave()
        return game.id
