"""All simulated participants of one game: they come in, and they leave; floor 8."""

import asyncio
import resource
from asyncio import FIRST_COMPLETED
from collections.abc import Callable, Mapping
from typing import Any

from quizcast.errors import FilesLimited
from quizcast.simulate.client import Address
from quizcast.simulate.participant import Common, Participant

JOINS_PER_S = 1000  # a hall full of people typing a PIN; a class of thirty takes its second, too
JOINING_AT_ONCE = 256  # below any listen backlog
FILES_SPARE = 128  # descriptors for the host, the event loop, and connections that are being replaced


class Crowd:
    """Everybody who takes part, and what they noted down.

    `quiz` (the contract's Quiz as a dict) lets them know what is right; without it they guess. Durations in ms.
    """

    def __init__(
        self,
        address: Address,
        users: int,
        *,
        quiz: Mapping[str, Any] | None = None,
        answer_window_ms: float = 1000,
        right_share: float = 0.7,
        msgpack: bool = False,
        nickname: Callable[[int], str] = "Sim {:05d}".format,
        seed: int | None = None,
    ) -> None:
        self.common = Common(
            address,
            quiz=quiz,
            answer_window_ms=answer_window_ms,
            right_share=right_share,
            msgpack=msgpack,
            seed=seed,
        )
        self._streams: list[asyncio.Task[None]] = []
        self.holding = connections_to_hold(users)
        self.people = [Participant(self.common, nickname(n), hold=n < self.holding) for n in range(users)]

    @property
    def joined(self) -> int:
        """How many are in the game."""
        return sum(bool(person.id) for person in self.people)

    @property
    def streams(self) -> int:
        """How many have an open stream now."""
        return sum(person.stream is not None and person.stream.open for person in self.people)

    @property
    def live(self) -> int:
        """How many are listening, or will be again: not those who were kicked or never came in."""
        return sum(
            person.snapshots > 0 and person.stream is not None and not person.stream.over for person in self.people
        )

    async def join(self, pin: str, *, over_s: float | None = None, timeout_s: float = 30.0) -> None:
        """Join one after the other over `over_s` seconds; returns when all are in with a stream, or time is up."""
        over_s = max(1.0, len(self.people) / JOINS_PER_S) if over_s is None else over_s
        gate = asyncio.Semaphore(JOINING_AT_ONCE)
        started = self.common.loop.time()

        async def one(place: int, person: Participant) -> None:
            await asyncio.sleep(started + over_s * place / len(self.people) - self.common.loop.time())
            async with gate:
                await person.join(pin, timeout_s)
                if person.stream is None:
                    return
                listening = self.common.loop.create_task(person.stream.run())
                self._streams.append(listening)
                await asyncio.wait({person.ready, listening}, timeout=timeout_s, return_when=FIRST_COMPLETED)
                if not person.snapshots:
                    self.common.trouble[f"stream: no snapshot (status {person.stream.refused or 'none'})"] += 1

        async with asyncio.TaskGroup() as group:
            for place, person in enumerate(self.people):
                group.create_task(one(place, person))

    def sweep(self, now: float) -> None:
        """Look after calls and lines that hang; to be called about once a second with the epoch time."""
        for person in self.people:
            person.sweep(now)

    async def leave(self) -> None:
        """Close every stream and connection; whoever still had something to say does not say it."""
        self.common.gone = True
        for person in self.people:
            person.connection.close()
            if person.stream is not None:
                person.stream.stop()
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)


def connections_to_hold(users: int) -> int:
    """How many answer connections may stay open beside `users` streams; raises the limit of open files if it can.

    The others hang up after each answer. Raises `FilesLimited` when not even the streams fit.
    """
    wanted = 2 * users + FILES_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else soft
    if room < users + 2 * FILES_SPARE:
        raise FilesLimited(
            f"{users} participants need {wanted} open files and at least {users + 2 * FILES_SPARE}, but the limit is "
            f"{room}: raise it (`ulimit -n {wanted}`, or LimitNOFILE= of the service) or take fewer participants"
        )
    return max(0, min(users, room - users - FILES_SPARE))
