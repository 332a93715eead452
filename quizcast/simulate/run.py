"""A simulated game from the first join to the verdict; floor 8.

Every wait has a deadline, so a run ends whatever the server does. While a game is played the garbage collector rests:
with ten thousand participants in memory a full collection stops this process for longer than what it measures.
"""

import asyncio
import contextlib
import gc
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import msgspec
import uvloop

from quizcast.simulate import script
from quizcast.simulate.client import Address, until
from quizcast.simulate.crowd import Crowd
from quizcast.simulate.host import Host
from quizcast.simulate.judge import judge, settled
from quizcast.simulate.report import Report

TICK_S = 0.05  # how often the loop's own lateness is sampled
TICKS_PER_PROGRESS = 5  # four reports a second, as often as the server tells of progress itself
TICKS_PER_SWEEP = 20  # once a second
SETTLE_S = 15.0  # how long accepted answers may take into the results
POLL_S = 0.5  # between two looks at the results: each look costs the server the whole ranking

Stage = Literal["joining", "lobby", "question", "closed", "leaderboard", "checking", "done"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is; `answered` counts the present question's accepted and refused answers."""

    stage: Stage
    users: int
    joined: int
    streams: int
    question: int | None
    question_count: int
    answered: int
    accepted: int
    events: int


class Watch:
    """Goes beside a run: tells of progress, looks after hanging calls, and notes how late this process itself is."""

    def __init__(
        self, host: Host, crowd: Crowd, questions: int, progress: Callable[[Progress], None] | None = None
    ) -> None:
        self.lag_ms = array("d")
        self.closed_by: Counter[str] = Counter()
        self.stage: Stage = "joining"
        self.question: int | None = None
        self.questions = questions
        self._host = host
        self._crowd = crowd
        self._progress = progress

    def enter(self, stage: Stage, question: int | None = None) -> None:
        """The run has come so far."""
        self.stage = stage
        self.question = question if question is not None else self.question
        self._tell()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch as long as the block runs."""
        ticking = asyncio.get_running_loop().create_task(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    async def _tick(self) -> None:
        ticks = 0
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self.lag_ms.append(max(0.0, time.monotonic() - due) * 1000)
            ticks += 1
            if ticks % TICKS_PER_PROGRESS == 0:
                self._tell()
            if ticks % TICKS_PER_SWEEP == 0:
                now = time.time()
                self._crowd.sweep(now)
                self._host.sweep(now)

    def _tell(self) -> None:
        if self._progress is None:
            return
        crowd = self._crowd
        self._progress(
            Progress(
                stage=self.stage,
                users=len(crowd.people),
                joined=crowd.joined,
                streams=crowd.streams,
                question=self.question,
                question_count=self.questions,
                answered=0 if self.question is None else crowd.common.settled[self.question],
                accepted=crowd.common.accepted,
                events=sum(crowd.common.reached.values()),
            )
        )


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Keep the garbage collector out of the measurement."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


async def play(host: Host, crowd: Crowd, watch: Watch, *, patience_s: float = 5.0, pause_s: float = 0.0) -> None:
    """Play all questions of the host's game with a crowd that has joined, and finish it.

    `patience_s` bounds each wait for the last participants to have seen something; who has not by then is counted as
    missing by the verdict unless it still arrives. `pause_s` is how long people may look at each leaderboard.
    """
    with no_collections():
        for index in range(watch.questions):
            question = await host.open(index)
            watch.enter("question", index)
            watch.closed_by[await host.closed(question, crowd.common.clock.now)] += 1
            watch.enter("closed", index)
            live = crowd.live
            await until(lambda index=index, live=live: crowd.common.told[index] >= live, patience_s)  # type: ignore[misc]
            await host.leaderboard()
            await _all_reached(host, crowd, patience_s)
            watch.enter("leaderboard", index)
            await asyncio.sleep(pause_s)
        await host.finish()
        await _all_reached(host, crowd, patience_s)


async def _all_reached(host: Host, crowd: Crowd, patience_s: float) -> None:
    """Until the host and everybody who is listening have all that is due."""
    reached, live = crowd.common.reached, crowd.live

    def arrived() -> bool:
        return len(host.record) >= len(host.expected) and all(reached[event.id] >= live for event in host.record)

    await until(arrived, patience_s)


async def verdict(host: Host, crowd: Crowd, watch: Watch, *, settle_s: float = SETTLE_S) -> Report:
    """Wait until the results hold every accepted answer, at most `settle_s`, and judge."""
    watch.enter("checking")
    deadline = time.monotonic() + settle_s
    results = await host.results()
    while not settled(crowd, results) and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        results = await host.results()
    report = judge(host, crowd, results, closed_by=watch.closed_by, lag_ms=watch.lag_ms)
    watch.enter("done")
    return report


async def simulate(
    url: str,
    *,
    users: int = 100,
    questions: int = 8,
    email: str = "",
    password: str = "",
    token: str = "",
    time_limit_ms: int = 20_000,
    lead_ms: int | None = None,
    answer_window_ms: float = 1000,
    join_over_s: float | None = None,
    right_share: float = 0.7,
    msgpack: bool = False,
    seed: int | None = None,
    timeout_s: float = 30.0,
    patience_s: float = 5.0,
    settle_s: float = SETTLE_S,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Play one whole game against a running server.

    The host is the account given by `token` or by `email` and `password`, else a new throwaway one. `right_share` of
    the participants answer each question right. `timeout_s` bounds every single call, `settle_s` the wait for the
    results. Raises `OperatorError` when the game cannot be played at all; everything else is in the report.
    """
    address = await Address.resolve(url)
    crowd = Crowd(
        address,
        users,
        quiz=(quiz := script.quiz(questions, time_limit_ms)),
        answer_window_ms=answer_window_ms,
        right_share=right_share,
        msgpack=msgpack,
        seed=seed,
    )
    if token:
        host = Host(address, token, timeout_s=timeout_s)
    elif email:
        host = await Host.login(address, email, password, timeout_s=timeout_s)
    else:
        host = await Host.register(address, timeout_s=timeout_s)
    watch = Watch(host, crowd, questions, progress)
    options: dict[str, Any] = {"max_participants": max(users, 1), "close_when_all_answered": True}
    if lead_ms is not None:
        options["lead_ms"] = lead_ms
    try:
        async with watch.watching():
            game = await host.create_game(await host.create_quiz(quiz), options)
            watch.enter("joining")
            await crowd.join(game.pin, over_s=join_over_s, timeout_s=timeout_s)
            watch.enter("lobby")
            await play(host, crowd, watch, patience_s=patience_s)
            return await verdict(host, crowd, watch, settle_s=settle_s)
    finally:
        await crowd.leave()
        await host.leave()


def run(url: str, **options: Any) -> Report:
    """`simulate` on an event loop of its own, for the command line."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(simulate(url, **options))
