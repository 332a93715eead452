"""From what was measured to what an installation needs: `make capacity` rewrites the tables in docs/capacity.md.

`constants.json` has what was measured, taken from the figures of a run of the bench by `--figures`; what nobody
measured can be given on the command line. `needs.py` has the arithmetic.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.growth import Games
from bench.needs import READ_TIMES, SHOWN_A_SECOND, WATCHES_A_SECOND, Assumed, Measured, Plan, plan, reachable
from bench.questions import Questions
from bench.report import OURS, Run
from bench.run import HERE

PAGE = HERE.parent / "docs" / "capacity.md"
CONSTANTS = HERE / "constants.json"
BEGIN, END = "<!-- capacity -->\n", "<!-- end capacity -->"
PARTICIPANTS = (1_000, 10_000, 100_000, 1_000_000)
SMALL = Games.PEOPLE
PATIENT_MS = 250.0  # a question is pushed 300 ms or more before anybody may answer it


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and `made`: how and where."""

    made: str
    measured: Measured


def constants(run: Run) -> Constants:
    """Those of a run with the contests growth and flush. Raises `LookupError` when one is missing."""
    machine = f"{run.machine['processor']}, {run.machine['system']}, Python {run.machine['Python']}"
    return Constants(made=f"Medians of {run.rounds('streams')} rounds or more on {machine}.", measured=_measured(run))


def read_constants() -> Constants:
    """Those that were taken last."""
    return msgspec.json.decode(CONSTANTS.read_bytes(), type=Constants)


def _measured(run: Run) -> Measured:
    def value(contest: str, size: int, key: str, contestant: str = OURS) -> float:
        found = [
            one.figures[key]
            for one in run.samples
            if (one.contest, one.contestant, one.size) == (contest, contestant, size)
        ]
        if not found:
            raise LookupError(f"no figures of {contestant} in {contest} at {size:,}")
        return statistics.median(found)

    def sizes(contest: str) -> list[int]:
        return sorted({one.size for one in run.samples if one.contest == contest})

    def toll(name: str, key: str = "redis_us") -> float:
        return value("tolls", 1000, key, name)

    streams, hubs, questions = sizes("streams"), sizes("hubs"), sizes("questions")
    delivery_us = value("streams", streams[-1], "cpu_s")  # seconds per million
    few, many = hubs[0], hubs[-1]
    longest, people = questions[-1], Questions.PEOPLE
    return Measured(
        push_us=_slope([(size, value("streams", size, "p99_ms") * 1000) for size in streams]),
        delivery_us=delivery_us,
        event_us=SMALL * (value("games", 1, "cpu_s") - delivery_us),
        message_us=value("hubs", many, "hub_us"),
        answer_us=value("processes", 1, "answer_us"),
        close_us=value("questions", longest, "question_ms") * 1000 / people - 3 * delivery_us,
        score_us=toll("closing, per participant", "process_us"),
        confirm_us=toll("confirming a participant", "process_us"),
        confirm_game_us=toll(f"confirming a game of {SMALL}", "process_us")
        - SMALL * toll("confirming a participant", "process_us"),
        watch_us=WATCHES_A_SECOND * toll("asking for deadlines", "process_us"),
        deadline_us=READ_TIMES * toll("reading a deadline", "process_us"),
        stream_kb=value("streams", streams[-1], "kb"),
        process_mb=value("games", 1, "base_mb"),
        stored_per_s=value("flush", sizes("flush")[-1], "per_s"),
        redis_event_us=toll("an event"),
        redis_hub_us=(value("hubs", many, "redis_us") - value("hubs", few, "redis_us")) / (many - few),
        redis_line_us=value("hubs", many, "idle_us"),
        redis_answer_us=toll("an answer, 100 at once"),
        redis_answer_apart_us=toll("an answer, each of another game"),
        redis_close_us=toll("closing, per participant") + toll("a result"),
        redis_confirm_us=toll("confirming a participant"),
        redis_confirm_game_us=toll(f"confirming a game of {SMALL}") - SMALL * toll("confirming a participant"),
        redis_watch_us=WATCHES_A_SECOND * toll("asking for deadlines"),
        redis_deadline_us=READ_TIMES * toll("reading a deadline"),
        redis_kb=value("questions", longest, "redis_kb") / people / longest,
    )


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through the origin that is closest to the points."""
    return sum(x * y for x, y in points) / sum(x * x for x, _ in points)


def page(text: str, block: str) -> str:
    """The page with the marked block replaced. Raises `ValueError` when the marks are not there."""
    head, begun, rest = text.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"no {BEGIN.strip()} … {END} in it")
    return f"{head}{BEGIN}\n{block}\n{END}{tail}"


def written(found: Constants, assumed: Assumed) -> str:
    """The tables, as Markdown."""
    return "\n".join(_lines(found, assumed))


def _lines(found: Constants, assumed: Assumed) -> Iterator[str]:
    measured = found.measured
    tuned, together = measured.tuned(), msgspec.structs.replace(assumed, together=True, progress_s=SHOWN_A_SECOND)
    patient = msgspec.structs.replace(assumed, push_ms=PATIENT_MS)
    for title, size in (("One game", None), (f"Games of {SMALL}", SMALL)):
        now = [plan(measured, assumed, people, size or people) for people in PARTICIPANTS]
        then = [plan(tuned, together, people, size or people) for people in PARTICIPANTS]
        yield from (f"### {title}", "", f"| participants | {' | '.join(f'{one.participants:,}' for one in now)} |")
        yield f"|---|{'--:|' * len(now)}"
        for name, cells in _rows(now, assumed.busy, single=size is None):
            yield f"| {name} | {' | '.join(cells)} |"
        if size is None:
            slower = [plan(measured, patient, people, people) for people in PARTICIPANTS]
            yield f"| were a push within {PATIENT_MS:g} ms enough: {_brief(slower)}"
        yield f"| after the changes below: {_brief(then)}"
        yield ""
    yield f"One Redis shard makes an event heard in {reachable(measured, assumed):,} processes within the push budget."
    yield ""
    yield from (
        "### Measured",
        "",
        f"{found.made} Times are CPU time in µs unless the name has another unit.",
        "",
        "| constant | value |",
        "|---|--:|",
    )
    for name, value in msgspec.structs.asdict(measured).items():
        yield f"| `{name}` | {value:,.{0 if value >= 100 else 2}f} |"
    yield from ("", "### Assumed", "", "| option | value |", "|---|--:|")
    for name, value in msgspec.structs.asdict(assumed).items():
        if name != "together":
            yield f"| `{_option(name)}` | {value:g} |"


def _brief(plans: Sequence[Plan]) -> str:
    cells = [f"{one.web:,}, {_few(one.redis)}, ${one.usd:,.0f}" for one in plans]
    return f"web processes, cores of Redis, a month | {' | '.join(cells)} |"


def _rows(now: Sequence[Plan], busy: float, *, single: bool) -> Iterator[tuple[str, list[str]]]:
    yield "web processes, and what asks for so many", [f"{one.web:,} ({one.web_because})" for one in now]
    yield "workers (cores)", [_few(one.workers) for one in now]
    yield "Redis (cores)", [_few(one.redis) for one in now]
    yield "of these to confirm who is here", [_few(one.redis_presence) for one in now]
    if single:
        yield "Redis shards: a game has one", ["1" if one.redis <= 1 else "**1, too few**" for one in now]
        yield "everybody's answers keep Redis busy for", [f"{one.answers_s:.2g} s" for one in now]
        yield "hearing of every group of answers, of each web process", [_bad(one.progress_share, busy) for one in now]
        yield "telling of every group of answers, of Redis (cores, on top)", [_few(one.redis_progress) for one in now]
        yield "closing a question takes", [f"{one.close_s:.2g} s" for one in now]
    else:
        yield "and for the watch over deadlines", [_few(one.redis_watch) for one in now]
        yield "Redis shards", [f"{one.shards:,}" for one in now]
        yield "the watch over deadlines, of each web process", [_bad(one.watch_share, busy) for one in now]
    yield "Postgres (cores)", [_few(one.postgres) for one in now]
    yield "nginx (cores)", [_few(one.proxy) for one in now]
    if single:
        yield "network, an event within the budget (Gbit/s)", [_few(one.burst_gbit) for one in now]
    yield "network, average of play (Mbit/s)", [_few(one.traffic_mbit) for one in now]
    yield "memory in use (GB)", [_few(one.gb) for one in now]
    yield "machines: vCPU / GB", [f"{one.vcpus:,} / {one.machine_gb:,}" for one in now]
    yield "**a month**", [f"**${one.usd:,.0f}**" for one in now]


def _few(value: float) -> str:
    if value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _bad(share: float, limit: float) -> str:
    return f"**{share:.0%}: too much**" if share > limit else f"{share:.1%}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def main() -> None:
    """Rewrite the page, or print its tables."""
    parser = argparse.ArgumentParser(description="Make the capacity tables from the bench's figures.")
    parser.add_argument("--figures", type=Path, help="take the constants from these figures of the bench first")
    parser.add_argument(
        "--print", action="store_true", dest="printed", help="print instead of writing docs/capacity.md"
    )
    usual = Assumed()
    options = [name for name in usual.__struct_fields__ if name != "together"]
    for name in options:
        value = getattr(usual, name)
        parser.add_argument(_option(name), type=type(value), default=value, help=f"{value:g}")
    chosen = parser.parse_args()
    if chosen.figures:
        found = constants(msgspec.json.decode(chosen.figures.read_bytes(), type=Run))
        CONSTANTS.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    block = written(read_constants(), Assumed(**{name: getattr(chosen, name) for name in options}))
    if chosen.printed:
        print(block)
    else:
        PAGE.write_text(page(PAGE.read_text(), block))


if __name__ == "__main__":
    main()
