"""Contest 6, load beyond plan: more comes than a process can take, by the clock, whether or not it keeps up."""

from collections.abc import Mapping
from pathlib import Path

from bench.backstage import Backstage
from bench.contest import Goal, Metric
from bench.fanout import Quizcast
from bench.intake import answer_request
from bench.machine import SERVER_CORE
from bench.native import Replied, load
from bench.sweep import Sweep

SECONDS = 3.0
PEOPLE = 15_000
LINES = PEOPLE  # one each: with fewer, less would come than is offered
CAPACITY_LINES = 200
WARM_S = 8.0
PIN = "123456"
STREAMS_MAX = 2000
STREAMS_PER_S = 2000

OUTCOME = (
    Metric(key="ok_per_s", title="admitted a second", digits=0),
    Metric(key="p50_ms", title="p50 (ms)"),
    Metric(key="p99_ms", title="p99 (ms)"),
    Metric(key="refused_per_s", title="refused a second", digits=0),
    Metric(key="refused_p50_ms", title="p50 of refused (ms)"),
    Metric(key="refused_p99_ms", title="p99 of refused (ms)"),
    Metric(key="unsent", title="not sent, as all still waited", digits=0),
    Metric(key="broken", title="broken", digits=0),
)
STANDING = Metric(key="standing_p99_ms", title="p99 after the first second (ms)")


def outcome(seen: Replied, offered: int) -> dict[str, float]:
    """What the loader saw, as figures."""
    return {
        "ok_per_s": seen.ok / seen.seconds,
        "p50_ms": seen.p50_us / 1000,
        "p99_ms": seen.p99_us / 1000,
        "standing_p99_ms": seen.standing.p99_us / 1000,
        "refused_per_s": seen.refused / seen.seconds,
        "refused_p50_ms": seen.refusal.p50_us / 1000,
        "refused_p99_ms": seen.refusal.p99_us / 1000,
        "unsent": offered - seen.sent,
        "broken": seen.broken,
    }


class Overload(Sweep[Quizcast]):
    """One `quizcast web` on a core of its own, and more than it can take."""

    group = "overload"
    plotted = ("ok_per_s", "refused_per_s", "p99_ms")

    def __init__(self, stage: Backstage) -> None:
        self._hall = stage.hall
        self.contestants = (Quizcast(stage),)


class Answers(Overload):
    """Answers, in shares of what the process took a moment before."""

    name = "overload-answers"
    title = "Load beyond plan: answers"
    says = (
        f"One web process on core {SERVER_CORE}; the loader and Redis share the other. First {PEOPLE:,} participants "
        f"answer over {CAPACITY_LINES} lines as fast as they are acknowledged: that is the *capacity*. Then for "
        f"{SECONDS:g} s answers come in by the clock over {LINES:,} lines, one for each participant, in shares of the "
        "capacity, whether or not those before have had their reply; many come again, and are told that they were "
        "taken. A delay counts from the moment at which an answer was due. What is refused gets a 503 with "
        "`Retry-After`. Nobody has two answers under way: what comes due while everybody still waits is not sent, but "
        "counted."
    )
    unit = "% of capacity"
    metrics = (Metric(key="capacity", title="capacity (answers/s)", digits=0), *OUTCOME, STANDING)
    sizes = (50, 75, 100, 150, 200, 300)
    goals = (
        Goal(metric="p99_ms", size=300, over=None, at_most=1500),
        *(Goal(metric="standing_p99_ms", size=size, over=None, at_most=500) for size in (100, 200, 300)),
        Goal(metric="broken", size=300, over=None, at_most=0),
    )

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """Capacity, then a share of it."""
        hall = self._hall
        hall.fill(PEOPLE)
        with contestant.running(SERVER_CORE):
            for question in range(2):  # in the first the process reads the tokens
                hall.open(question)
                answers = [answer_request(hall.game_id, token, question) for token in hall.tokens]
                seen = load(contestant.port, answers, CAPACITY_LINES, WARM_S)
            capacity = seen.ok / seen.seconds
            rate = capacity * size / 100
            offered = [answers[place % PEOPLE] for place in range(int(rate * SECONDS))]
            seen = load(contestant.port, offered, LINES, SECONDS + 1, rate)
        return {"capacity": capacity, **outcome(seen, len(offered))}


class Joins(Overload):
    """Joins, of which a process admits so many a second."""

    name = "overload-joins"
    title = "Load beyond plan: joins"
    says = (
        f"As above, for {SECONDS:g} s: people who join one game. A process admits `QUIZCAST_JOINS_PER_SECOND` (2,000, "
        "and in the first second as many more); the others get a 429 with `Retry-After`."
    )
    unit = "joins/s offered"
    metrics = (*OUTCOME, STANDING)
    sizes = (500, 1000, 2000, 4000, 6000)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """At the rate."""
        hall = self._hall
        hall.fill(0)
        hall.run(hall.live.client.set(hall.live.keys.pin(PIN), hall.game_id))
        with contestant.running(SERVER_CORE):
            load(contestant.port, [_join(f"warm {number}") for number in range(500)], 50, WARM_S)
            offered = [_join(f"n {number}") for number in range(int(size * SECONDS))]
            seen = load(contestant.port, offered, LINES, SECONDS + 1, size)
        return outcome(seen, len(offered))


class Few(Quizcast):
    """A web process that may hold few streams."""

    def command(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Its own command line."""
        words, env = super().command(folder)
        return words, {**env, "QUIZCAST_MAX_STREAMS": str(STREAMS_MAX)}


class Streams(Overload):
    """Streams, of which a process holds so many."""

    name = "overload-streams"
    title = "Load beyond plan: streams"
    says = (
        f"As above: people who open a stream, {STREAMS_PER_S:,} a second, at a process that may hold {STREAMS_MAX:,} "
        "(`QUIZCAST_MAX_STREAMS`). A delay is up to the first frame, or to the 503 with `Retry-After`."
    )
    unit = "streams offered"
    metrics = (Metric(key="opened", title="opened", digits=0), *OUTCOME)
    plotted = ("ok_per_s", "refused_per_s", "p99_ms")
    sizes = (1000, 2000, 4000, 6000)
    goals = (Goal(metric="opened", size=6000, over=None, at_least=STREAMS_MAX),)

    def __init__(self, stage: Backstage) -> None:
        super().__init__(stage)
        self.contestants = (Few(stage),)

    def measure(self, contestant: Quizcast, size: int) -> dict[str, float]:
        """One after the other."""
        with contestant.running(SERVER_CORE):
            offered = contestant.invite(size)
            seen = load(contestant.port, offered, size, size / STREAMS_PER_S + 5, STREAMS_PER_S)
        return {"opened": seen.ok, **outcome(seen, len(offered))}


def _join(nickname: str) -> bytes:
    body = b'{"pin":"%b","nickname":"%b"}' % (PIN.encode(), nickname.encode())
    head = b"POST /api/v1/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


OVERLOADS = (Answers, Joins, Streams)
