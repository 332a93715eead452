"""Simulated participants: each joins, keeps a stream, and answers every question over its own connection; floor 8.

Answering is written with callbacks, not tasks: ten thousand people answer within the same second, and what they cost
here is taken from the server under test. Everything seen is only noted down; `report` judges it afterwards.
"""

import asyncio
import random
import resource
import time
from array import array
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from quizcast.errors import FilesLimited
from quizcast.simulate.client import (
    ATTEMPT_TIMEOUT_S,
    BUSY,
    Address,
    Connection,
    Reply,
    full_jitter,
    local_path,
    with_body,
)
from quizcast.simulate.host import insist
from quizcast.simulate.script import Lines, Say
from quizcast.simulate.stream import KEPT, Closed, Event, Question, Reader, Result, Snapshot, Stream

JOINS_PER_S = 1000  # a hall full of people typing a PIN; a class of thirty takes its second, too
JOINING_AT_ONCE = 256  # below any listen backlog
FILES_SPARE = 128  # descriptors for the host, the event loop, and connections that are being replaced
TOO_EARLY_S = 0.02  # the pause after `question_not_open`: the clocks of two machines differ by about as much


class _Joined(msgspec.Struct, frozen=True, kw_only=True):
    participant_id: str
    game_id: str
    nickname: str
    token: str
    events_url: str
    answers_url: str


class _Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    question: int
    received_at: int
    duplicate: bool


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str = ""


_receipt_json = msgspec.json.Decoder(_Receipt)
_receipt_msgpack = msgspec.msgpack.Decoder(_Receipt)


class Clock:
    """The server's clock as seen from here: `offset_ms` is to be added to ours. On loopback they are one clock.

    Elsewhere it is taken from the exchange with the shortest round trip, so it is off by at most half of that.
    """

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.offset_ms = 0.0
        self.rtt_ms = float("inf")

    def heard(self, asked_at: float, at: float, server_at_ms: int) -> None:
        """Learn from one exchange: asked and answered by our clock (s), stamped by the server's (ms) in between."""
        rtt_ms = (at - asked_at) * 1000
        if not self.shared and rtt_ms < self.rtt_ms:
            self.rtt_ms = rtt_ms
            self.offset_ms = server_at_ms - (asked_at + at) * 500

    def now(self) -> float:
        """The server's time in epoch seconds."""
        return time.time() + self.offset_ms / 1000


class Spoken:
    """One participant's answer to one question, from plan to receipt. Times are epoch seconds, 0: not yet."""

    __slots__ = ("acked_at", "code", "question", "said", "sent_at", "tries")

    def __init__(self, question: int, said: Say) -> None:
        self.question = question
        self.said = said
        self.sent_at = 0.0
        self.acked_at = 0.0
        self.tries = 0
        self.code = ""  # why it was refused for good


class Participant:
    """One person with a phone."""

    __slots__ = (
        "_answer_head",
        "_backlog",
        "_closed",
        "_speaking",
        "answers",
        "connection",
        "crowd",
        "id",
        "ledger",
        "nickname",
        "ready",
        "results",
        "shown",
        "snapshots",
        "stream",
        "told_early",
    )

    def __init__(self, crowd: "Crowd", nickname: str, *, hold: bool) -> None:
        self.crowd = crowd
        self.nickname = nickname
        self.id = ""
        self.connection = Connection(crowd.address, hold=hold)
        self.stream: Stream | None = None
        self.ledger: list[Event] = []  # kept events in the order of receipt, duplicates and all
        self.shown: dict[int, float] = {}  # question → receipt, epoch s
        self.answers: dict[int, Spoken] = {}
        self.results: dict[int, Result] = {}
        self.snapshots = 0
        self.ready: asyncio.Future[None] = crowd.loop.create_future()  # the first snapshot has come
        self.told_early = 0  # events that gave away what is correct before the question had closed
        self._closed: set[int] = set()
        self._answer_head = b""
        self._speaking: Spoken | None = None
        self._backlog: list[Spoken] = []

    async def join(self, pin: str, timeout_s: float) -> None:
        """Join and open the stream; on failure `id` stays empty, or the stream closed."""
        crowd = self.crowd
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            # A join whose 201 got lost must not find its own nickname taken.
            "Idempotency-Key": f"{crowd.rng.getrandbits(128):032x}",
        }
        head = crowd.address.head("POST", f"{crowd.address.prefix}/api/v1/join", headers)
        request = with_body(head, msgspec.json.encode({"pin": pin, "nickname": self.nickname}))
        started = time.time()
        reply = await insist(self.connection, request, crowd.rng, timeout_s=timeout_s)
        if reply is None or reply.status != 201:
            crowd.trouble[f"join: {_code(reply)}"] += 1
            return
        crowd.join_ms.append((reply.at - started) * 1000)
        try:
            me = msgspec.json.decode(reply.body, type=_Joined)
        except msgspec.DecodeError as error:
            crowd.trouble[f"join: {error}"] += 1
            return
        self.id = me.participant_id
        kind = "application/msgpack" if crowd.msgpack else "application/json"
        headers = {"Authorization": f"Bearer {me.token}", "Content-Type": kind, "Accept": kind}
        self._answer_head = crowd.address.head("POST", local_path(me.answers_url), headers)
        self.stream = Stream(
            crowd.address,
            local_path(me.events_url),
            me.token,
            reader=crowd.reader,
            rng=crowd.rng,
            on_event=self._heard,
        )

    # ── listening ───────────────────────────────────────────────────────────────────────────────────────────

    def _heard(self, event: Event, at: float) -> None:
        crowd = self.crowd
        body = event.body
        if event.tells:
            self.told_early += 1
        if event.name in KEPT:
            if event.id:
                self.ledger.append(event)
                crowd.reached[event.id] += 1
            stamp: int = getattr(body, "server_now_at", 0)
            # What was published before this line opened is a replay: its delay is the outage's, not the push's.
            if self.stream is not None and stamp >= self.stream.opened_at * 1000 + crowd.clock.offset_ms - 1:
                crowd.push_ms.append(at * 1000 - stamp)
            if isinstance(body, Question):
                self._asked(body, at)
            elif isinstance(body, Closed):
                self._closed.add(body.index)
        elif isinstance(body, Result):
            if body.index not in self._closed:
                self.told_early += 1
            if body.index not in self.results:
                crowd.told[body.index] += 1
            self.results[body.index] = body
        elif isinstance(body, Snapshot):
            self.snapshots += 1
            if not self.ready.done():
                self.ready.set_result(None)
            if self.stream is not None:
                crowd.clock.heard(self.stream.asked_at, at, body.server_now_at)
            if body.phase == "question" and body.question is not None:
                self._asked(body.question, at)

    def _asked(self, question: Question, at: float) -> None:
        if question.index in self.answers:
            return
        crowd = self.crowd
        self.shown.setdefault(question.index, at)
        said = crowd.lines(question).choose(crowd.rng, crowd.right_share)
        if said is None:
            crowd.trouble[f"no answer known for kind {question.kind}"] += 1
            return
        spoken = self.answers[question.index] = Spoken(question.index, said)
        left_s = max(0.0, question.opens_at / 1000 - crowd.clock.now())
        # A millisecond over: the server counts whole ones, and answers before `opens_at` are refused.
        delay_s = left_s + 0.001 + crowd.rng.uniform(0.0, crowd.answer_window_ms / 1000)
        crowd.loop.call_later(delay_s, self._say, spoken)

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, spoken: Spoken) -> None:
        if self.crowd.gone:
            return
        if self._speaking is not None:
            self._backlog.append(spoken)
            return
        self._speaking = spoken
        if not spoken.sent_at:
            spoken.sent_at = time.time()
            self.crowd.sent[spoken.question] += 1
        self.connection.call(with_body(self._answer_head, spoken.said.body), self._answered)

    def _answered(self, reply: Reply | None) -> None:
        crowd, spoken = self.crowd, self._speaking
        self._speaking = None
        if spoken is None:
            return
        if reply is not None and reply.status == 202:
            self._acked(spoken, reply)
        elif reply is None or reply.status in BUSY:
            again_s = full_jitter(crowd.rng, spoken.tries, reply.retry_after_s if reply else 0.0)
            self._again(spoken, again_s, "lost" if reply is None else str(reply.status))
        else:
            code = _code(reply)
            if code == "question_not_open" and spoken.question not in self._closed:
                self._again(spoken, crowd.rng.uniform(TOO_EARLY_S / 2, TOO_EARLY_S * 2), code)
            else:
                spoken.code = code
                crowd.settled[spoken.question] += 1
                crowd.refusals[code] += 1
        if self._backlog and self._speaking is None:
            self._say(self._backlog.pop(0))

    def _acked(self, spoken: Spoken, reply: Reply) -> None:
        crowd = self.crowd
        try:
            receipt = (_receipt_msgpack if reply.msgpack else _receipt_json).decode(reply.body)
        except msgspec.DecodeError as error:
            crowd.trouble[f"answer: 202 with {error}"] += 1
        else:
            if not receipt.duplicate:
                crowd.clock.heard(self.connection.asked_at, reply.at, receipt.received_at)
            if receipt.question != spoken.question:
                crowd.trouble["answer: 202 for another question"] += 1
        spoken.acked_at = reply.at
        crowd.ack_ms.append((reply.at - spoken.sent_at) * 1000)
        crowd.settled[spoken.question] += 1
        crowd.accepted += 1

    def _again(self, spoken: Spoken, after_s: float, why: str) -> None:
        spoken.tries += 1
        self.crowd.retries[why] += 1
        self.crowd.loop.call_later(after_s, self._say, spoken)

    def sweep(self, now: float) -> None:
        """Give up calls and lines that are silent for too long."""
        since = self.connection.waiting_since
        if since and now - since > ATTEMPT_TIMEOUT_S:
            self.connection.abort()
        if self.stream is not None:
            self.stream.sweep(now)


def _code(reply: Reply | None) -> str:
    """A refusal's stable word, or its status."""
    if reply is None:
        return "no answer in time"
    try:
        decode = msgspec.msgpack.decode if reply.msgpack else msgspec.json.decode
        return decode(reply.body, type=_Problem).code or str(reply.status)
    except msgspec.DecodeError:
        return str(reply.status)


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
        self.address = address
        self.answer_window_ms = answer_window_ms
        self.right_share = right_share
        self.msgpack = msgpack
        self.rng = random.Random(seed)
        self.clock = Clock(shared=address.loopback)
        self.reader = Reader()
        self.loop = asyncio.get_running_loop()
        self.gone = False
        self.join_ms = array("d")
        self.push_ms = array("d")  # by our clock minus the server's: `clock.offset_ms` is still to be added
        self.ack_ms = array("d")
        self.accepted = 0
        self.sent: Counter[int] = Counter()  # by question
        self.settled: Counter[int] = Counter()  # accepted or refused, by question
        self.told: Counter[int] = Counter()  # `result` events, by question
        self.reached: Counter[bytes] = Counter()  # kept events, by id
        self.refusals: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.trouble: Counter[str] = Counter()
        self._questions = [] if quiz is None else list(quiz["questions"])
        self._lines: dict[Question, Lines] = {}
        self._streams: list[asyncio.Task[None]] = []
        self.holding = connections_to_hold(users)
        self.people = [Participant(self, nickname(n), hold=n < self.holding) for n in range(users)]

    @property
    def joined(self) -> int:
        """How many are in the game."""
        return sum(bool(person.id) for person in self.people)

    @property
    def streams(self) -> int:
        """How many have an open stream now."""
        return sum(person.stream is not None and person.stream.open for person in self.people)

    async def join(self, pin: str, *, over_s: float | None = None, timeout_s: float = 30.0) -> None:
        """Join one after the other over `over_s` seconds; returns when all are in with a stream, or time is up."""
        over_s = max(1.0, len(self.people) / JOINS_PER_S) if over_s is None else over_s
        gate = asyncio.Semaphore(JOINING_AT_ONCE)
        started = self.loop.time()

        async def one(place: int, person: Participant) -> None:
            await asyncio.sleep(started + over_s * place / len(self.people) - self.loop.time())
            async with gate:
                await person.join(pin, timeout_s)
                if person.stream is None:
                    return
                listening = self.loop.create_task(person.stream.run())
                self._streams.append(listening)
                await asyncio.wait({person.ready, listening}, timeout=timeout_s, return_when=FIRST_COMPLETED)
                if not person.snapshots:
                    self.trouble[f"stream: no snapshot (status {person.stream.refused or 'none'})"] += 1

        async with asyncio.TaskGroup() as group:
            for place, person in enumerate(self.people):
                group.create_task(one(place, person))

    def lines(self, question: Question) -> Lines:
        """What there is to say to a question, made once."""
        lines = self._lines.get(question)
        if lines is None:
            known = self._questions[question.index] if question.index < len(self._questions) else None
            lines = self._lines[question] = Lines(question, known, msgpack=self.msgpack)
        return lines

    def sweep(self, now: float) -> None:
        """Look after calls and lines that hang; to be called about once a second with the epoch time."""
        for person in self.people:
            person.sweep(now)

    async def leave(self) -> None:
        """Close every stream and connection; whoever still had something to say does not say it."""
        self.gone = True
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
