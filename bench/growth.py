"""Contest 5, how cost grows: one thing is made more and more of, and the rest stays as it is.

By streams, games, events a second and web processes here, by questions in `questions.py`, by hubs that hear one game
in `hubs.py`; and piece by piece what each thing costs Redis in `tolls.py`. `capacity.py` makes its tables of them.
"""

import contextlib
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.backstage import Backstage
from bench.contest import Contestant, Metric
from bench.fanout import OPEN_TIMEOUT_S, FanOut, Quizcast
from bench.hubs import Hubs
from bench.intake import answer_request
from bench.machine import SERVER_CORE
from bench.native import Reader, load
from bench.questions import Questions
from bench.sweep import CPU, P50, P99, SETTLE_S, WebSweep, opened
from bench.tolls import Tolls


class Streams(WebSweep):
    """The fan-out's own measurement, of quizcast alone."""

    name = "streams"
    title = "How cost grows: streams of one game"
    says = "As in the fan-out above: one event at a time to every stream of one game in one web process."
    unit = FanOut.unit
    metrics = FanOut.metrics
    plotted = ("p99_ms", "cpu_s", "kb")
    sizes = (1000, 2500, 5000, 10000)

    def __init__(self, stage: Backstage) -> None:
        super().__init__(stage)
        self._fanout = FanOut(stage)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """As there."""
        return self._fanout.measure(contestant, size)


class Games(WebSweep):
    """Many small games in one process."""

    PEOPLE = 20
    EVENTS = 600  # over all games together, so that the deliveries are as many at every size
    EVERY_S = 0.005
    IDLE_S = 8.4  # twice from one confirmation of everybody to the next

    name = "games"
    title = f"How cost grows: games of {PEOPLE}"
    says = (
        f"So many games of {PEOPLE} participants, all streams in one web process. {EVENTS} events go out, one every "
        f"{EVERY_S * 1000:g} ms, to one game after the other, so that the deliveries are as many whatever the number "
        f"of games. *Idle* is what the process and Redis do for {IDLE_S:g} s in which nothing happens but that every "
        "game has a question open: heartbeats, presence, the watch over deadlines; the CPU time per delivery has that "
        "in it. *Of Redis* is CPU time of Redis."
    )
    unit = "games"
    metrics = (
        P50,
        P99,
        CPU,
        Metric(key="idle", title="idle (share of a core)", digits=3),
        Metric(key="redis_idle", title="of Redis, idle (share)", digits=3),
        Metric(key="kb", title="KB per game", digits=0),
        Metric(key="redis_kb", title="KB per game in Redis", digits=0),
        Metric(key="base_mb", title="MB without a game", digits=0),
        Metric(key="lost", title="lost", digits=0),
    )
    plotted = ("p99_ms", "cpu_s", "idle", "redis_idle")
    sizes = (1, 100, 500)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """Open all, look on, publish."""
        hall, games, requests = self._hall, list[str](), list[bytes]()
        hall.clear()
        with contestant.running(SERVER_CORE):
            empty_kb, base_kb = hall.redis_kb(), contestant.pss_kb()
            for _ in range(size):
                hall.begin(self.PEOPLE)
                hall.open(0)
                games.append(hall.game_id)
                requests += contestant.invitations()
            redis_kb = hall.redis_kb() - empty_kb
            with Reader(contestant.port, requests, "sse", self.EVENTS, 0) as reader:
                opened(reader)
                game_kb = (contestant.pss_kb() - base_kb) / size
                idle_s, redis_idle_s, began = contestant.cpu_s(), hall.redis_s(), time.monotonic()
                time.sleep(self.IDLE_S)
                took_s = time.monotonic() - began
                idle, redis_idle = ((contestant.cpu_s() - idle_s) / took_s, (hall.redis_s() - redis_idle_s) / took_s)
                cpu_s, began = contestant.cpu_s(), time.monotonic()
                for place, game_id in enumerate(itertools.islice(itertools.cycle(games), self.EVENTS)):
                    _until(began + place * self.EVERY_S)
                    hall.game_id = game_id
                    contestant.publish()
                time.sleep(SETTLE_S)
                cpu_s = contestant.cpu_s() - cpu_s
                seen = reader.result()
        return {
            "p50_ms": seen.p50_us / 1000,
            "p99_ms": seen.p99_us / 1000,
            "cpu_s": cpu_s / max(1, seen.received) * 1e6,
            "idle": idle,
            "redis_idle": redis_idle,
            "kb": game_kb,
            "redis_kb": redis_kb / size,
            "base_mb": base_kb / 1024,
            "lost": self.EVENTS * self.PEOPLE - seen.received,
        }


class Events(WebSweep):
    """One event after the other, whether or not the last has arrived."""

    STREAMS = 1000
    SECONDS = 3

    name = "events"
    title = "How cost grows: events a second"
    says = (
        f"{STREAMS:,} streams of one game in one web process; events go out at the given rate for {SECONDS} s, whether "
        "or not those before have arrived. Where the process needs its whole core, the delay grows with the time."
    )
    unit = "events/s"
    metrics = (
        P50,
        P99,
        CPU,
        Metric(key="share", title="share of its core", digits=2),
        Metric(key="reached", title="events/s reached"),
        Metric(key="lost", title="lost", digits=0),
    )
    plotted = ("p50_ms", "p99_ms", "cpu_s", "share")
    sizes = (10, 40, 60, 80, 100)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """At the rate, by the clock."""
        events = size * self.SECONDS
        with contestant.running(SERVER_CORE):
            requests = contestant.invite(self.STREAMS)
            with Reader(contestant.port, requests, "sse", events, 0) as reader:
                opened(reader)
                cpu_s, began = contestant.cpu_s(), time.monotonic()
                for place in range(events):
                    _until(began + place / size)
                    contestant.publish()
                sent_s = time.monotonic() - began
                for _ in range(events):
                    if reader.line(5.0) is None:
                        break
                took_s = max(self.SECONDS, time.monotonic() - began)
                cpu_s = contestant.cpu_s() - cpu_s
                seen = reader.result()
        return {
            "p50_ms": seen.p50_us / 1000,
            "p99_ms": seen.p99_us / 1000,
            "cpu_s": cpu_s / max(1, seen.received) * 1e6,
            "share": cpu_s / took_s,
            "reached": events / max(sent_s, self.SECONDS),
            "lost": events * self.STREAMS - seen.received,
        }


class Processes(WebSweep):
    """The same game in more than one process."""

    STREAMS = 4000
    EVENTS = 15
    WARMUP = 3
    CONNECTIONS = 200
    QUESTIONS = 5  # the first is for the tokens to be read

    name = "processes"
    title = "How cost grows: web processes"
    says = (
        f"{STREAMS:,} streams of one game, dealt to so many web processes on the same core {SERVER_CORE}; then "
        f"{STREAMS:,} answers over {CONNECTIONS} connections, dealt likewise. On one core a second process cannot be "
        "faster, so this shows what spreading costs and not what it gains: how much more the deliveries and the "
        "answers cost when more processes take part. That two processes on two cores take half the time each is not "
        "measured: the second core is the reader's and Redis's."
    )
    unit = "processes"
    metrics = (
        P50,
        P99,
        CPU,
        Metric(key="per_s", title="answers/s", digits=0),
        Metric(key="answer_us", title="CPU µs per answer", digits=0),
        Metric(key="redis_answer_us", title="of Redis per answer (µs)"),
        Metric(key="refused", title="not 2xx", digits=0),
        Metric(key="lost", title="lost", digits=0),
    )
    plotted = ("p99_ms", "cpu_s", "per_s", "redis_answer_us")
    sizes = (1, 2)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """Streams first, then answers."""
        processes = [contestant, *(Quizcast(contestant.stage) for _ in range(size - 1))]
        with contextlib.ExitStack() as running:
            for process in processes:
                running.enter_context(process.running(SERVER_CORE))
            requests = contestant.invite(self.STREAMS)
            return {**self._streams(processes, requests), **self._answers(processes)}

    def _streams(self, processes: Sequence[Quizcast], requests: Sequence[bytes]) -> dict[str, float]:
        with contextlib.ExitStack() as reading:
            readers = [
                reading.enter_context(Reader(process.port, some, "sse", self.EVENTS, self.WARMUP))
                for process, some in zip(processes, _dealt(requests, len(processes)), strict=True)
            ]
            opened(*readers)
            cpu_s = 0.0
            for event in range(self.WARMUP + self.EVENTS):
                if event == self.WARMUP:
                    cpu_s = _cpu_s(processes)
                processes[0].publish()
                for reader in readers:
                    reader.line(OPEN_TIMEOUT_S)
                time.sleep(0.05)
            cpu_s = _cpu_s(processes) - cpu_s
            seen = [reader.result() for reader in readers]
        received = sum(one.received for one in seen)
        return {
            "p50_ms": max(one.p50_us for one in seen) / 1000,
            "p99_ms": max(one.p99_us for one in seen) / 1000,
            "cpu_s": cpu_s / max(1, received) * 1e6,
            "lost": self.STREAMS * self.EVENTS - received,
        }

    def _answers(self, processes: Sequence[Quizcast]) -> dict[str, float]:
        hall, taken, took_s, refused, cpu_s, redis_s = self._hall, 0, 0.0, 0, 0.0, 0.0
        for question in range(self.QUESTIONS):
            hall.open(question)
            answers = [answer_request(hall.game_id, token, question) for token in hall.tokens]
            lines = self.CONNECTIONS // len(processes)
            before_s, redis_before_s = _cpu_s(processes), hall.redis_s()
            with ThreadPoolExecutor(len(processes)) as threads:
                dealt = zip(processes, _dealt(answers, len(processes)), strict=True)
                running = [threads.submit(load, process.port, some, lines, 10.0) for process, some in dealt]
                seen = [one.result() for one in running]
            refused += sum(one.refused + one.broken for one in seen)
            if question:
                taken += sum(one.ok for one in seen)
                took_s += max(one.seconds for one in seen)
                cpu_s += _cpu_s(processes) - before_s
                redis_s += hall.redis_s() - redis_before_s
        return {
            "per_s": taken / took_s,
            "answer_us": cpu_s / taken * 1e6,
            "redis_answer_us": redis_s / taken * 1e6,
            "refused": refused,
        }


def _dealt(requests: Sequence[bytes], to: int) -> list[Sequence[bytes]]:
    return [requests[place::to] for place in range(to)]


def _cpu_s(processes: Sequence[Contestant]) -> float:
    return sum(process.cpu_s() for process in processes)


def _until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


SWEEPS = (Streams, Games, Questions, Events, Processes, Hubs, Tolls)  # in the order of the report
