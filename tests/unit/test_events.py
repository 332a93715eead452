"""Events as bytes: any client can read them, and no participant learns too early what is correct."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sse_starlette import ServerSentEvent

from quizcast.domain import quiz
from quizcast.domain.game import CloseReason, Phase, QuestionOn
from quizcast.domain.scoring import Opening
from quizcast.wire import events
from quizcast.wire.events import Message, Position, encode_data, frame, frame_of, parse_message, parse_position
from tests.fakes import decoded
from tests.unit.quizzes import questions, shuffled

NASTY = "one\ntwo\rthree\r\nfour\u2028five\u2029six\x85seven\x0beight\x1cnine\ud83d\ude00".encode(
    "utf-16", "surrogatepass"
).decode("utf-16")
OPENS = 1_700_000_000_300

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
positions = st.builds(Position, st.integers(0, 2**48), st.integers(0, 2**48))


def opening(shuffle: quiz.Shuffle = ()) -> Opening:
    return Opening(question=3, opens_at=OPENS, closes_at=OPENS + 20_000, shuffle=shuffle)


@given(texts, st.none() | positions)
def test_a_frame_says_the_same_to_every_client(text: str, position: Position | None) -> None:
    event = events.Reset(reason=text)
    raw = frame(event.name, encode_data(event), position)
    (read,) = decoded(raw)
    assert read.event == "reset"
    assert read.json() == {"reason": text}
    assert read.id == (str(position) if position else "")
    theirs = ServerSentEvent(
        data=encode_data(event).decode(), event="reset", id=str(position) if position else None, sep="\n"
    )
    (meant,) = decoded(theirs.encode())
    assert (meant.event, meant.data, meant.id) == (read.event, read.data, read.id)


@given(texts)
def test_a_frame_is_one_line_of_data_even_for_readers_who_know_unicodes_line_ends(text: str) -> None:
    for line_ends in (NASTY, text):
        lines = frame_of(events.Lobby(participants=1, joined=[line_ends])).decode().splitlines()
        assert [line.partition(":")[0] for line in lines] == ["event", "data", ""]
        assert json.loads(lines[1].removeprefix("data: ")) == {"participants": 1, "joined": [line_ends]}


def test_a_question_with_line_ends_in_every_text_stays_one_frame() -> None:
    asked = quiz.Single(
        prompt=NASTY,
        media_url="https://example.org/" + NASTY,
        choices=(quiz.Choice(text="a" + NASTY, correct=True), quiz.Choice(text="b" + NASTY)),
    )
    (read,) = decoded(frame_of(events.question_shown(asked, opening(), 5)))
    assert read.json()["prompt"] == NASTY
    assert [choice["text"] for choice in read.json()["choices"]] == ["a" + NASTY, "b" + NASTY]


def test_frames_one_after_the_other_are_read_one_by_one() -> None:
    stream = b"".join(frame("progress", b'{"index":%d}' % index, Position(1, index)) for index in range(50))
    assert [event.json()["index"] for event in decoded(stream)] == list(range(50))


def other_key(question: quiz.Question, seed: int) -> tuple[quiz.Question, quiz.Shuffle | None]:
    """The same question with another key, and the shuffle under which it looks the same (None: any)."""
    match question:
        case quiz.Single(choices=choices):
            right = seed % len(choices)
            marked = tuple(replace(choice, correct=place == right) for place, choice in enumerate(choices))
            return replace(question, choices=marked), None
        case quiz.Multiple(choices=choices):
            marked = tuple(replace(choice, correct=bool(seed >> place & 1)) for place, choice in enumerate(choices))
            return replace(question, choices=marked), None
        case quiz.TrueFalse():
            return replace(question, correct=not question.correct), None
        case quiz.Numeric():
            return replace(question, correct=float(seed), tolerance=question.tolerance + seed), None
        case quiz.Text():
            return replace(question, accepted=(f"something else {seed}",)), None
        case quiz.Order(items=items):
            turned = (*items[seed % len(items) :], *items[: seed % len(items)])
            return replace(question, items=turned), ()
        case quiz.Poll() | quiz.WordCloud():
            return question, None


@given(shuffled(), st.integers(0, 1000), texts)
def test_two_quizzes_that_differ_in_their_key_alone_look_the_same(
    asked: tuple[quiz.Question, quiz.Shuffle], seed: int, explanation: str
) -> None:
    question, shuffle = asked
    other, turned = other_key(replace(question, explanation=explanation), seed)
    other_shuffle = shuffle
    if turned is not None and isinstance(question, quiz.Order) and isinstance(other, quiz.Order):
        other_shuffle = tuple(other.items.index(question.items[place]) for place in shuffle)
    ours = encode_data(events.question_shown(question, opening(shuffle), 9))
    theirs = encode_data(events.question_shown(other, opening(other_shuffle), 9))
    assert ours == theirs


@given(shuffled())
def test_a_question_as_shown_has_the_contracts_fields_and_no_others(
    asked: tuple[quiz.Question, quiz.Shuffle],
) -> None:
    question, shuffle = asked
    shown = json.loads(encode_data(events.question_shown(question, opening(shuffle), 9)))
    assert {"index", "count", "kind", "prompt", "points", "opens_at", "closes_at"} <= set(shown)
    assert set(shown) <= {
        *("index", "count", "kind", "prompt", "points", "opens_at", "closes_at"),
        *("choices", "media_url", "min", "max"),
    }
    assert all(set(choice) == {"text"} for choice in shown.get("choices", []))
    assert shown["index"] == 3
    assert shown["count"] == 9


@given(questions)
def test_every_kind_that_has_choices_shows_them_all(question: quiz.Question) -> None:
    shuffle = tuple(reversed(range(len(question.items)))) if isinstance(question, quiz.Order) else ()
    shown = events.question_shown(question, opening(shuffle), 1)
    if isinstance(question, quiz.Order):
        assert [choice.text for choice in shown.choices] == list(reversed(question.items))  # type: ignore[union-attr]
    elif isinstance(question, quiz.Single | quiz.Multiple | quiz.Poll):
        assert [one.text for one in shown.choices] == [one.text for one in question.choices]  # type: ignore[union-attr]
    else:
        assert shown.choices is msgspec.UNSET


def test_a_kept_event_leaves_its_stamp_to_the_script_that_logs_it() -> None:
    closed = events.Closed(index=1, reason=CloseReason.TIME, correct=2, counts=[0, 1, 2])
    assert json.loads(encode_data(closed)) == {"index": 1, "reason": "time", "correct": 2, "counts": [0, 1, 2]}


def test_a_snapshot_carries_the_events_as_they_went_out() -> None:
    shown = events.question_shown(quiz.TrueFalse(prompt=NASTY, correct=True), opening(), 2)
    snapshot = events.Snapshot(
        phase=Phase.QUESTION,
        question_index=3,
        question_count=9,
        participants=2,
        pin="123456",
        title="Q",
        question_on=QuestionOn.BOTH,
        question=msgspec.Raw(encode_data(shown)),
        server_now_at=OPENS,
    )
    (read,) = decoded(frame_of(snapshot))
    assert read.json()["question"]["prompt"] == NASTY
    assert "me" not in read.json()


def test_events_have_the_contracts_names() -> None:
    names = {event.name for event in events.EVENTS}
    assert names == {
        *("snapshot", "question", "closed", "result", "leaderboard", "finished"),
        *("lobby", "progress", "heartbeat", "kicked", "reset", "drain", "extended"),
    }
    kept = {event.name for event in events.EVENTS if event.kept}
    assert kept == {"question", "extended", "closed", "leaderboard", "finished"}
    alone = {event.name for event in events.EVENTS if event.audience is events.Audience.ONE}
    assert alone == {"result", "kicked"}


@given(positions)
def test_positions_survive_the_way_to_the_client_and_back(position: Position) -> None:
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "1-2-3", "1 - 2", "+1-2", "1-²", "a-b", "1-2\n", "9" * 50 + "-1", "١-٢", "None"]
)
def test_what_is_no_position_is_none(text: str) -> None:
    assert parse_position(text) is None


@given(st.from_regex(re.compile(r"[a-z]{1,12}"), fullmatch=True), texts, st.none() | positions)
def test_messages_survive_the_channel(name: str, text: str, position: Position | None) -> None:
    data = json.dumps({"text": text}).encode()
    head = str(position) if position else "*"
    assert parse_message(b"%b %b %b" % (head.encode(), name.encode(), data)) == Message(name, data, position)
    assert parse_message(b"@p1 %b %b" % (name.encode(), data)) == Message(name, data, None, "p1")


@pytest.mark.parametrize("raw", [b"", b"*", b"* lobby", b"what lobby {}", b"1-x question {}", b"\xff\xfe a b"])
def test_what_is_no_message_is_none(raw: bytes) -> None:
    assert parse_message(raw) is None
