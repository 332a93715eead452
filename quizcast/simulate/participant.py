"""A simulated participant: joins, keeps a stream, and answers every question over its own connection; floor 8.

Answering is written with callbacks, not tasks: ten thousand people answer within the same second, and what they cost
here is taken from the server under test. Everything seen is only noted down; `judge` weighs it afterwards.
"""

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from quizcast.simulate.calls import Connection, Reply, insist
from quizcast.simulate.client import ATTEMPT_TIMEOUT_S, BUSY, Address, Clock, full_jitter, local_path, with_body
from quizcast.simulate.events import KEPT, Closed, Event, Question, Reader, Result, Snapshot
from quizcast.simulate.script import Lines, Say
from quizcast.simulate.stream import Stream

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


class Common:
    """What the participants of one crowd have in common: settings, chance, the clock, and what they noted down."""

    def __init__(
        self,
        address: Address,
        *,
        quiz: Mapping[str, Any] | None,
        answer_window_ms: float,
        right_share: float,
        msgpack: bool,
        seed: int | None,
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

    def lines(self, question: Question) -> Lines:
        """What there is to say to a question, made once."""
        lines = self._lines.get(question)
        if lines is None:
            known = self._questions[question.index] if question.index < len(self._questions) else None
            lines = self._lines[question] = Lines(question, known, msgpack=self.msgpack)
        return lines


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
        "common",
        "connection",
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

    def __init__(self, common: Common, nickname: str, *, hold: bool) -> None:
        self.common = common
        self.nickname = nickname
        self.id = ""
        self.connection = Connection(common.address, hold=hold)
        self.stream: Stream | None = None
        self.ledger: list[Event] = []  # kept events in the order of receipt, duplicates and all
        self.shown: dict[int, float] = {}  # question → receipt, epoch s
        self.answers: dict[int, Spoken] = {}
        self.results: dict[int, Result] = {}
        self.snapshots = 0
        self.ready: asyncio.Future[None] = common.loop.create_future()  # the first snapshot has come
        self.told_early = 0  # events that gave away what is correct before the question had closed
        self._closed: set[int] = set()
        self._answer_head = b""
        self._speaking: Spoken | None = None
        self._backlog: list[Spoken] = []

    async def join(self, pin: str, timeout_s: float) -> None:
        """Join and open the stream; on failure `id` stays empty, or the stream closed."""
        common = self.common
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            # A join whose 201 got lost must not find its own nickname taken.
            "Idempotency-Key": f"{common.rng.getrandbits(128):032x}",
        }
        head = common.address.head("POST", f"{common.address.prefix}/api/v1/join", headers)
        request = with_body(head, msgspec.json.encode({"pin": pin, "nickname": self.nickname}))
        started = time.time()
        reply = await insist(self.connection, request, common.rng, timeout_s=timeout_s)
        if reply is None or reply.status != 201:
            common.trouble[f"join: {_code(reply)}"] += 1
            return
        common.join_ms.append((reply.at - started) * 1000)
        try:
            me = msgspec.json.decode(reply.body, type=_Joined)
        except msgspec.DecodeError as error:
            common.trouble[f"join: {error}"] += 1
            return
        self.id = me.participant_id
        kind = "application/msgpack" if common.msgpack else "application/json"
        headers = {"Authorization": f"Bearer {me.token}", "Content-Type": kind, "Accept": kind}
        self._answer_head = common.address.head("POST", local_path(me.answers_url), headers)
        self.stream = Stream(
            common.address,
            local_path(me.events_url),
            me.token,
            reader=common.reader,
            rng=common.rng,
            on_event=self._heard,
        )

    # ── listening ───────────────────────────────────────────────────────────────────────────────────────────

    def _heard(self, event: Event, at: float) -> None:
        common = self.common
        body = event.body
        if event.tells:
            self.told_early += 1
        if event.name in KEPT:
            if event.id:
                self.ledger.append(event)
                common.reached[event.id] += 1
            stamp: int = getattr(body, "server_now_at", 0)
            # What was published before this line opened is a replay: its delay is the outage's, not the push's.
            if self.stream is not None and stamp >= self.stream.opened_at * 1000 + common.clock.offset_ms - 1:
                common.push_ms.append(at * 1000 - stamp)
            if isinstance(body, Question):
                self._asked(body, at)
            elif isinstance(body, Closed):
                self._closed.add(body.index)
        elif isinstance(body, Result):
            if body.index not in self._closed:
                self.told_early += 1
            if body.index not in self.results:
                common.told[body.index] += 1
            self.results[body.index] = body
        elif isinstance(body, Snapshot):
            self.snapshots += 1
            if not self.ready.done():
                self.ready.set_result(None)
            if self.stream is not None:
                common.clock.heard(self.stream.asked_at, at, body.server_now_at)
            if body.phase == "question" and body.question is not None:
                self._asked(body.question, at)

    def _asked(self, question: Question, at: float) -> None:
        if question.index in self.answers:
            return
        common = self.common
        self.shown.setdefault(question.index, at)
        said = common.lines(question).choose(common.rng, common.right_share)
        if said is None:
            common.trouble[f"no answer known for kind {question.kind}"] += 1
            return
        spoken = self.answers[question.index] = Spoken(question.index, said)
        left_s = max(0.0, question.opens_at / 1000 - common.clock.now())
        # A millisecond over: the server counts whole ones, and answers before `opens_at` are refused.
        delay_s = left_s + 0.001 + common.rng.uniform(0.0, common.answer_window_ms / 1000)
        common.loop.call_later(delay_s, self._say, spoken)

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, spoken: Spoken) -> None:
        if self.common.gone:
            return
        if self._speaking is not None:
            self._backlog.append(spoken)
            return
        self._speaking = spoken
        if not spoken.sent_at:
            spoken.sent_at = time.time()
            self.common.sent[spoken.question] += 1
        self.connection.call(with_body(self._answer_head, spoken.said.body), self._answered)

    def _answered(self, reply: Reply | None) -> None:
        common, spoken = self.common, self._speaking
        self._speaking = None
        if spoken is None:
            return
        if reply is not None and reply.status == 202:
            self._acked(spoken, reply)
        elif reply is None or reply.status in BUSY:
            again_s = full_jitter(common.rng, spoken.tries, reply.retry_after_s if reply else 0.0)
            self._again(spoken, again_s, "lost" if reply is None else str(reply.status))
        else:
            code = _code(reply)
            if code == "question_not_open" and spoken.question not in self._closed:
                self._again(spoken, common.rng.uniform(TOO_EARLY_S / 2, TOO_EARLY_S * 2), code)
            else:
                spoken.code = code
                common.settled[spoken.question] += 1
                common.refusals[code] += 1
        if self._backlog and self._speaking is None:
            self._say(self._backlog.pop(0))

    def _acked(self, spoken: Spoken, reply: Reply) -> None:
        common = self.common
        try:
            receipt = (_receipt_msgpack if reply.msgpack else _receipt_json).decode(reply.body)
        except msgspec.DecodeError as error:
            common.trouble[f"answer: 202 with {error}"] += 1
        else:
            if receipt.duplicate:
                common.retries["receipt lost"] += 1
            else:
                common.clock.heard(self.connection.asked_at, reply.at, receipt.received_at)
            if receipt.question != spoken.question:
                common.trouble["answer: 202 for another question"] += 1
        spoken.acked_at = reply.at
        common.ack_ms.append((reply.at - spoken.sent_at) * 1000)
        common.settled[spoken.question] += 1
        common.accepted += 1

    def _again(self, spoken: Spoken, after_s: float, why: str) -> None:
        spoken.tries += 1
        self.common.retries[why] += 1
        self.common.loop.call_later(after_s, self._say, spoken)

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
