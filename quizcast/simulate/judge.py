"""What was seen, judged; floor 8.

The judge trusts three things only: what the participants noted, what the host's stream recorded, and `results`.
"""

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from quizcast.simulate.crowd import Crowd
from quizcast.simulate.host import Host, ResultAnswer, ResultRow, Results
from quizcast.simulate.participant import Participant, Spoken
from quizcast.simulate.report import Answers, ClockFigure, Events, Report, Spread

LATE_MS = 20  # from here on the simulator's own lateness (p99) shows in its figures, and the report says so


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
    malformed = crowd.common.reader.malformed + host.reader.malformed
    trouble = Counter(crowd.common.trouble) + Counter(f"malformed {what}" for what in malformed)
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
    clock = crowd.common.clock
    return Report(
        users=len(crowd.people),
        questions=questions,
        joined=len(inside),
        streams=streams,
        answers=answers,
        events=events,
        join_ms=Spread.of(crowd.common.join_ms),
        push_ms=Spread.of(crowd.common.push_ms, plus=clock.offset_ms),
        ack_ms=Spread.of(crowd.common.ack_ms),
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
        retries=dict(crowd.common.retries),
        refusals=dict(crowd.common.refusals),
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
    if (lag := Spread.of(lag_ms)).p99 > LATE_MS:
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
        opens_s = (opens_at - crowd.common.clock.offset_ms) / 1000
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
