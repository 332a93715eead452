"""Contest 3, a whole game: a real installation behind nginx and its crowd, on two cores that all of them share."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator

from bench.contest import Contest, Goal, Metric
from bench.installation import Installation
from bench.machine import LOAD_CORE, SERVER_CORE, cores, pin
from bench.native import Crowd
from quizcast.simulate import Address, Host, Results

QUESTIONS = 6
CHOICES = 4
EVENTS_EACH = QUESTIONS * 3 + 1  # question, closed and leaderboard; finished
LINES_MAX = 5000  # for answers: with 10,000 streams more open files than a process may have
OPEN_TIMEOUT_S = 60
PAUSE_S = 1.0  # for people to look at what they see, and for the streams to have received it
RESULTS_TIMEOUT_S = 15.0  # how long an accepted answer may take into the results
POLL_S = 0.5


class WholeGame(Contest[Installation]):
    """Everybody listens, everybody answers, the host leads."""

    name = "game"
    title = "A whole game"
    says = (
        "nginx with the project's own site (plain HTTP, two workers), two web processes on unix sockets, one worker, "
        "the embedded servers and the crowd, a program in C: all on the same two cores, nothing pinned to either. A "
        f"game of {QUESTIONS} questions, led over the API. Each participant reads a stream through nginx and answers "
        "every question at a random moment of the second after `opens_at`, over a connection of their own (of which "
        f"there are at most {LINES_MAX:,}). *push* is from the server's stamp of a kept event, in whole ms, to its "
        "receipt; *ack* from sending an answer to its 202; *skew* how far apart the participants could show a "
        "question, given `opens_at`, for the worst of the questions, with the lead that the server chooses by itself. "
        "*lost* counts acknowledged answers that are not in the results; *missed* events that a stream did not get, "
        "or got twice or out of order; *errors* answers without a 2xx. Memory is the PSS of every process but the "
        "crowd's, at the end of the game with all streams open; CPU seconds are those of the game."
    )
    unit = "participants"
    metrics = (
        Metric(key="push_p50_ms", title="push p50 (ms)"),
        Metric(key="push_p99_ms", title="push p99 (ms)"),
        Metric(key="ack_p50_ms", title="ack p50 (ms)"),
        Metric(key="ack_p99_ms", title="ack p99 (ms)"),
        Metric(key="skew_ms", title="skew (ms)"),
        Metric(key="lost", title="lost", digits=0),
        Metric(key="missed", title="missed", digits=0),
        Metric(key="errors", title="errors", digits=0),
        Metric(key="mb", title="memory (MB)", digits=0),
        Metric(key="cpu_s", title="servers (CPU s)"),
        Metric(key="crowd_s", title="crowd (CPU s)"),
    )
    plotted = ("push_p99_ms", "ack_p99_ms", "mb")
    floors = ()
    quick_floors = ()
    sizes = (1000, 2000, 5000, 10000)
    quick_sizes = (1000,)
    goals = (
        Goal(metric="push_p99_ms", size=2000, over=None, at_most=50),
        Goal(metric="ack_p99_ms", size=2000, over=None, at_most=100),
        Goal(metric="skew_ms", size=5000, over=None, at_most=10),
        Goal(metric="mb", size=10000, over=None, at_most=2048),
        *(
            Goal(metric=metric, size=size, over=None, at_most=0)
            for size in sizes
            for metric in ("lost", "missed", "errors")
        ),
    )

    def __init__(self) -> None:
        self.contestants = (Installation(),)

    def measure(self, contestant: Installation, size: int) -> dict[str, float]:
        """Everything is started anew."""
        before = cores()
        pin(SERVER_CORE, LOAD_CORE)
        try:
            with contestant.running(SERVER_CORE, LOAD_CORE):
                return self._measure(contestant, size)
        finally:
            pin(*before)

    def _measure(self, contestant: Installation, size: int) -> dict[str, float]:
        hall = contestant.hall
        host, game_id = hall.run(_created(contestant.port))
        hall.enter(game_id, size)
        requests = _requests(game_id, hall.tokens)
        with Crowd(contestant.port, requests, QUESTIONS, min(size, LINES_MAX)) as crowd:
            if crowd.line(OPEN_TIMEOUT_S) is None:
                raise RuntimeError(f"{size} streams did not open")
            cpu_s = contestant.cpu_s()
            memory_kb = hall.run(_play(host, contestant.pss_kb))
            cpu_s = contestant.cpu_s() - cpu_s
            seen = crowd.result()
        stored = hall.run(_stored(host, seen.accepted))
        return {
            "push_p50_ms": seen.push.p50_us / 1000,
            "push_p99_ms": seen.push.p99_us / 1000,
            "ack_p50_ms": seen.ack.p50_us / 1000,
            "ack_p99_ms": seen.ack.p99_us / 1000,
            "skew_ms": seen.skew_us / 1000,
            "lost": seen.accepted - stored,
            "missed": size * (EVENTS_EACH + QUESTIONS) - seen.received - seen.results + seen.astray,
            "errors": size * QUESTIONS - seen.accepted,
            "mb": memory_kb / 1024,
            "cpu_s": cpu_s,
            "crowd_s": seen.cpu_s,
        }


async def _created(port: int) -> tuple[Host, str]:
    host = await Host.register(await Address.resolve(f"http://127.0.0.1:{port}"))
    choices = [{"text": f"the answer {number}", "correct": not number} for number in range(CHOICES)]
    question = {"kind": "single", "prompt": "Which of these is it?", "choices": choices}
    quiz_id = await host.create_quiz({"title": "Bench", "questions": [question] * QUESTIONS})
    game = await host.create_game(quiz_id, {})
    return host, game.id


async def _play(host: Host, memory: Callable[[], int]) -> int:
    """All questions; what `memory` says before the last word."""
    for index in range(QUESTIONS):
        await host.closed(await host.open(index), time.time)
        await asyncio.sleep(PAUSE_S)
        await host.leaderboard()
        await asyncio.sleep(PAUSE_S)
    found = memory()
    await host.finish()
    await asyncio.sleep(PAUSE_S)
    return found


async def _stored(host: Host, accepted: int) -> int:
    """How many answers the results hold, when they hold all that were accepted or have had their time."""
    until = time.monotonic() + RESULTS_TIMEOUT_S
    found = _answers(await host.results())
    while found < accepted and time.monotonic() < until:
        await asyncio.sleep(POLL_S)
        found = _answers(await host.results())
    await host.leave()
    return found


def _answers(results: Results) -> int:
    return len(
        {
            (row.participant_id, answer.question)
            for row in results.ranking
            for answer in row.answers
            if answer is not None
        }
    )


def _requests(game_id: str, tokens: list[str]) -> Iterator[bytes]:
    """For each participant the one for the stream, then the answers."""
    for token in tokens:
        ours = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
        yield f"GET /api/v1/games/{game_id}/events HTTP/1.1\r\n{ours}\r\n".encode()
        for index in range(QUESTIONS):
            body = f'{{"question":{index},"answer":{random.randrange(CHOICES)}}}'
            head = f"POST /api/v1/games/{game_id}/answers HTTP/1.1\r\n{ours}Content-Type: application/json\r\n"
            yield f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
