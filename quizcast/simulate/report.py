"""What was seen, judged: figures, checks and the contract's JSON report; floor 8.

The judge trusts three things only: what the participants noted, what the host's stream recorded, and `results`.
`ok` is that every check held.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from quizcast.simulate.crowd import Crowd, Participant, Spoken
from quizcast.simulate.host import Host, ResultAnswer, ResultRow, Results


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution, in ms; `n` is how many were measured (all zero when nothing was)."""

    p50: float
    p90: float
    p99: float
    max: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float], *, plus: float = 0.0) -> "Spread":
        """The spread of the values, each with `plus` added; percentiles are values that occurred (nearest rank)."""
        ranked = sorted(values)

        def at(share: float) -> float:
            return round(ranked[math.ceil(share * len(ranked)) - 1] + plus, 3) if ranked else 0.0

        return cls(p50=at(0.5), p90=at(0.9), p99=at(0.99), max=at(1.0), n=len(ranked))


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """Answers, not attempts. `errors` were neither accepted nor refused, for all their retries."""

    sent: int
    accepted: int
    in_results: int
    refused: int
    errors: int


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Kept events over all participants' streams."""

    expected: int
    received: int
    missed: int
    duplicated: int
    out_of_order: int


class ClockFigure(msgspec.Struct, frozen=True, kw_only=True):
    """How the two clocks were compared: `shared` on loopback, otherwise by the exchange with the shortest trip."""

    method: str
    offset_ms: float
    rtt_ms: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's report, and below `ok` what helps to read it. All durations in ms."""

    users: int
    questions: int
    joined: int
    streams: int
    answers: Answers
    events: Events
    join_ms: Spread
    push_ms: Spread
    ack_ms: Spread
    reveal_skew_ms: Spread
    resume_ms: Spread | UnsetType = UNSET
    checks: dict[str, bool]
    ok: bool
    client_lag_ms: Spread
    clock: ClockFigure
    closed_by: dict[str, int]
    retries: dict[str, int]
    refusals: dict[str, int]
    trouble: dict[str, int]
    resets: int
    connections_held: int
    notes: list[str]

    def to_json(self) -> bytes:
        """The report as JSON, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    def text(self) -> str:
        """The report for a terminal, without colours."""
        answers, events = self.answers, self.events
        lines = [
            f"{self.joined} of {self.users} participants joined, {self.streams} streams, {self.questions} questions",
            f"answers  {answers.sent} sent, {answers.accepted} accepted, {answers.in_results} in the results, "
            f"{answers.refused} refused, {answers.errors} without an answer",
            f"events   {events.expected} expected, {events.received} received, {events.missed} missed, "
            f"{events.duplicated} duplicated, {events.out_of_order} out of order",
            "",
            f"{'ms':<14}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}{'n':>10}",
        ]
        for label in ("join_ms", "push_ms", "ack_ms", "reveal_skew_ms", "resume_ms", "client_lag_ms"):
            spread = getattr(self, label)
            if spread is not UNSET:
                cells = "".join(f"{value:>10.1f}" for value in (spread.p50, spread.p90, spread.p99, spread.max))
                lines.append(f"{label.removesuffix('_ms'):<14}{cells}{spread.n:>10}")
        lines.append("")
        lines += [f"{'ok  ' if held else 'FAIL'}  {name.replace('_', ' ')}" for name, held in self.checks.items()]
        for label in ("retries", "refusals", "trouble"):
            lines += [f"      {label}: {what} × {count}" for what, count in getattr(self, label).items()]
        lines += [f"note: {note}" for note in self.notes]
        lines.append("ok" if self.ok else "not ok")
        return "\n".join(lines)


def settled(crowd: Crowd, results: Results) -> bool:
    """Whether every accepted answer is in the results, and nobody's score is still behind what they were told."""
    rows = {row.participant_id: row for row in results.ranking}
    return all(
        (row := rows.get(person.id)) is not None
        and _score_agrees(person, row)
        and all(_stored(row, spoken.question) is not None for spoken in person.answers.values() if spoken.acked_at)
        for person in crowd.people
        if person.id
    )


def judge(
    host: Host, crowd: Crowd, results: Results, *, closed_by: Mapping[str, int], lag_ms: Sequence[float]
) -> Report:
    """Compare everything with everything."""
    events = _count_events(host, crowd)
    answers, answer_checks = _compare_answers(crowd, results)
    questions = host.expected.count("question")
    ranked = Counter(row.participant_id for row in results.ranking)
    rows = {row.participant_id: row for row in results.ranking}
    inside = [person for person in crowd.people if person.id]
    streams = sum(person.snapshots > 0 for person in inside)
    malformed = crowd.reader.malformed + host.reader.malformed
    trouble = Counter(crowd.trouble) + Counter(f"malformed {what}" for what in malformed)
    for person in inside:
        if person.stream is not None and (person.stream.refused or person.stream.kicked):
            trouble[f"stream ended: {person.stream.refused or 'kicked'}"] += 1
    checks = {
        "all_joined": len(inside) == len(crowd.people),
        "all_streams_open": streams == len(crowd.people),
        "no_event_missed": events.missed == 0,
        "none_duplicated": events.duplicated == 0,
        "in_order": events.out_of_order == 0,
        "host_saw_every_event": [event.name for event in host.record] == host.expected,
        "answer_key_hidden": not any(person.told_early for person in inside),
        "every_answer_accepted": answers.accepted == answers.sent == len(inside) * questions,
        **answer_checks,
        "everybody_ranked_once": all(ranked[person.id] == 1 for person in inside),
        "everybody_told_each_result": all(len(person.results) == questions for person in inside),
        "scores_agree": all(
            (row := rows.get(person.id)) is not None and _score_agrees(person, row) and _points_agree(person, row)
            for person in inside
        ),
        "marks_agree": all(_marks_agree(person) for person in inside),
        "no_errors": answers.errors == 0 and not trouble,
    }
    resumes = array("d", [ms for person in inside if person.stream for ms in person.stream.resumes_ms])
    clock = crowd.clock
    return Report(
        users=len(crowd.people),
        questions=questions,
        joined=len(inside),
        streams=streams,
        answers=answers,
        events=events,
        join_ms=Spread.of(crowd.join_ms),
        push_ms=Spread.of(crowd.push_ms, plus=clock.offset_ms),
        ack_ms=Spread.of(crowd.ack_ms),
        reveal_skew_ms=Spread.of(_reveal_skews(host, crowd)),
        resume_ms=Spread.of(resumes) if resumes else UNSET,
        checks=checks,
        ok=all(checks.values()),
        client_lag_ms=Spread.of(lag_ms),
        clock=ClockFigure(
            method="shared" if clock.shared else "shortest round trip",
            offset_ms=round(clock.offset_ms, 3),
            rtt_ms=round(clock.rtt_ms, 3) if math.isfinite(clock.rtt_ms) else None,
        ),
        closed_by=dict(closed_by),
        retries=dict(crowd.retries),
        refusals=dict(crowd.refusals),
        trouble=dict(trouble),
        resets=sum(person.stream.resets for person in inside if person.stream),
        connections_held=crowd.holding,
        notes=_notes(crowd, lag_ms),
    )


def _notes(crowd: Crowd, lag_ms: Sequence[float]) -> list[str]:
    notes = []
    if crowd.holding < len(crowd.people):
        notes.append(
            f"the limit of open files left room for {crowd.holding} standing answer connections: the other "
            f"{len(crowd.people) - crowd.holding} participants connected anew for each answer"
        )
    if (lag := Spread.of(lag_ms)).p99 > 20:
        notes.append(f"the simulator itself was late by up to {lag.p99:g} ms (p99): push and ack include that")
    return notes


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────


def _count_events(host: Host, crowd: Crowd) -> Events:
    order = {event.id: place for place, event in enumerate(host.record)}
    expected_each = max(len(host.expected), len(host.record))
    expected = received = missed = duplicated = out_of_order = 0
    for person in crowd.people:
        if not person.id:
            continue
        seen: set[bytes] = set()
        furthest = -1
        for event in person.ledger:
            if event.id in seen:
                duplicated += 1
                continue
            seen.add(event.id)
            place = order.get(event.id, furthest)
            out_of_order += place < furthest
            furthest = max(furthest, place)
        kicked = person.stream is not None and person.stream.kicked
        due = len(seen) if kicked else expected_each
        expected += due
        received += len(person.ledger)
        missed += max(0, due - len(seen))
    return Events(expected=expected, received=received, missed=missed, duplicated=duplicated, out_of_order=out_of_order)


def _reveal_skews(host: Host, crowd: Crowd) -> list[float]:
    skews = []
    for index, opens_at in host.opened.items():
        opens_s = (opens_at - crowd.clock.offset_ms) / 1000
        shown = [max(person.shown[index], opens_s) for person in crowd.people if index in person.shown]
        if shown:
            skews.append((max(shown) - min(shown)) * 1000)
    return skews


# ── answers and scores ───────────────────────────────────────────────────────────────────────────────────────


def _compare_answers(crowd: Crowd, results: Results) -> tuple[Answers, dict[str, bool]]:
    rows: dict[str, list[ResultRow]] = {}
    for row in results.ranking:
        rows.setdefault(row.participant_id, []).append(row)
    in_results = twice = unasked = 0
    for person in crowd.people:
        stored = [answer for row in rows.get(person.id, ()) for answer in row.answers if answer is not None]
        times = Counter(answer.question for answer in stored)
        agreeing: set[int] = set()
        twice += sum(count > 1 for count in times.values())
        for answer in stored:
            spoken = person.answers.get(answer.question)
            as_said = spoken is not None and _same(spoken, answer.answer)
            unasked += spoken is None or not spoken.sent_at or bool(spoken.code) or not as_said
            if as_said:
                agreeing.add(answer.question)
        in_results += sum(spoken.acked_at > 0 and spoken.question in agreeing for spoken in person.answers.values())
    spoken_all = [spoken for person in crowd.people for spoken in person.answers.values()]
    sent = sum(spoken.sent_at > 0 for spoken in spoken_all)
    accepted = sum(spoken.acked_at > 0 for spoken in spoken_all)
    refused = sum(bool(spoken.code) for spoken in spoken_all)
    figures = Answers(
        sent=sent, accepted=accepted, in_results=in_results, refused=refused, errors=sent - accepted - refused
    )
    checks = {
        "every_ack_in_results": in_results == accepted,
        "no_answer_twice": twice == 0,
        "nothing_extra_in_results": unasked == 0,
    }
    return figures, checks


def _same(spoken: Spoken, value: Any) -> bool:
    said = spoken.said.value
    return type(value) is type(said) and bool(value == said) if isinstance(said, bool) else bool(value == said)


def _stored(row: ResultRow, question: int) -> ResultAnswer | None:
    return next((answer for answer in row.answers if answer is not None and answer.question == question), None)


def _score_agrees(person: Participant, row: ResultRow) -> bool:
    if not person.results:
        return True
    return person.results[max(person.results)].score == row.score


def _points_agree(person: Participant, row: ResultRow) -> bool:
    return all(
        (stored := _stored(row, index)) is None or (stored.points == result.points and stored.answer == result.answer)
        for index, result in person.results.items()
    )


def _marks_agree(person: Participant) -> bool:
    """Whether the server found right what is right; only where the crowd knows the quiz."""
    return all(
        person.results[index].correct is spoken.said.right
        for index, spoken in person.answers.items()
        if index in person.results and spoken.acked_at and spoken.said.right is not None
    )
