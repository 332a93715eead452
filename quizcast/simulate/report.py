"""A run's report: the contract's figures and checks, as JSON and for a terminal; floor 8. `ok`: every check held."""

import math
from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType


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
