"""What answers say, remembered: the same for the same bytes, and neither a mistake nor another game's."""

from typing import Any

import msgspec
import pytest

from quizcast.domain.quiz import Choice, Numeric, QuizContent, Single, Text
from quizcast.errors import GameUnknown, InvalidInput, MalformedBody, QuestionNotOpen, QuizcastError, UnsupportedMedia
from quizcast.web.bodies import JSON, MSGPACK
from quizcast.web.readings import KEPT_BYTES, READINGS_KEPT, Readings

CHOICES = (Choice(text="a", correct=True), Choice(text="b"))
QUIZZES = {
    "choices": QuizContent(title="Q", questions=(Single(prompt="?", choices=CHOICES),)),
    "numbers": QuizContent(title="Q", questions=(Numeric(prompt="?", correct=7),)),
    "texts": QuizContent(title="Q", questions=(Text(prompt="?", accepted=("a",)),)),
}


def body(answer: Any, question: int = 0) -> bytes:
    return msgspec.json.encode({"question": question, "answer": answer})


def test_the_same_bytes_say_the_same_and_are_read_once() -> None:
    asked = []

    def quiz_at_hand(game_id: str) -> QuizContent:
        asked.append(game_id)
        return QUIZZES[game_id]

    readings = Readings(quiz_at_hand)
    first = readings.of("choices", JSON, body(1))
    assert (first.question, first.answer, first.unfit) == (0, b"1", "")
    assert readings.of("choices", JSON, body(1)) is first
    assert asked == ["choices"]
    assert readings.of("choices", JSON, body(0)).answer == b"0"
    packed = msgspec.msgpack.encode({"question": 0, "answer": 1})
    assert readings.of("choices", MSGPACK, packed) == first


def test_what_it_says_hangs_on_the_game() -> None:
    readings = Readings(QUIZZES.get)
    for _ in range(2):
        assert readings.of("numbers", JSON, body(7)).answer == b"7.0"
        assert readings.of("texts", JSON, body("7")).answer == b'"7"'
        unfit = readings.of("choices", JSON, body(7))
        assert (unfit.answer, unfit.unfit) == (b"", "the answer is a number from 0 to 1")


@pytest.mark.parametrize(
    ("content_type", "sent", "mistake"),
    [
        (JSON, b"{", MalformedBody),
        (JSON, body([[]]), InvalidInput),
        (JSON, body(1, question=1), QuestionNotOpen),
        (MSGPACK, body(1), InvalidInput),
        ("text/html", body(1), UnsupportedMedia),
    ],
)
def test_a_mistake_is_told_each_time(content_type: str, sent: bytes, mistake: type[QuizcastError]) -> None:
    readings = Readings(QUIZZES.get)
    readings.of("choices", JSON, body(1))
    for _ in range(2):
        with pytest.raises(mistake):
            readings.of("choices", content_type, sent)


def test_a_quiz_that_was_not_at_hand_is_asked_for_again() -> None:
    at_hand: dict[str, QuizContent] = {}
    readings = Readings(at_hand.get)
    for _ in range(2):
        with pytest.raises(GameUnknown):
            readings.of("choices", JSON, body(1))
        with pytest.raises(MalformedBody):  # which it is whatever the game
            readings.of("choices", JSON, b"{")
    at_hand.update(QUIZZES)
    assert readings.of("choices", JSON, body(1)).answer == b"1"


def test_so_many_are_kept_and_none_that_is_long() -> None:
    readings = Readings(QUIZZES.get)
    for number in range(READINGS_KEPT + 10):
        readings.of("texts", JSON, body(f"{number}"))
    kept = readings.of("texts", JSON, body("a"))
    for sent in (body("a").ljust(4000), body("b" * KEPT_BYTES)):
        assert readings.of("texts", JSON, sent) is not readings.of("texts", JSON, sent)
    charset = f"{JSON}; x=" + "a" * 60_000
    assert readings.of("texts", charset, body("a")) == kept
    assert readings.of("texts", JSON, body("a")) is kept
    info = readings._kept.cache_info()
    assert (info.currsize, info.misses) == (READINGS_KEPT, READINGS_KEPT + 11)
