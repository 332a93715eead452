"""The door for answers, without HTTP: what is counted as a try, whatever it says."""

from types import SimpleNamespace
from typing import Any

import pytest

from quizcast.auth import Key, Keyring, Kind, Tokens
from quizcast.domain.quiz import Numeric, QuizContent
from quizcast.settings import Settings
from quizcast.web import answers
from quizcast.web.http import RawReply
from quizcast.web.protocol import Headers
from quizcast.web.readings import Readings

QUIZ = QuizContent(title="Q", questions=(Numeric(prompt="?", correct=7),))
TOKENS = Tokens(Keyring([Key("k", "s" * 40)]), Settings(keys=("k:" + "s" * 40,)))


class Door:
    """Services that keep what comes."""

    def __init__(self, quiz: QuizContent | None) -> None:
        self.counted: list[str] = []
        self.submitted: list[Any] = []
        self.said: list[RawReply] = []
        self.tokens = TOKENS
        self.games = SimpleNamespace(quiz_at_hand=lambda _game_id: quiz)
        self.readings = Readings(self.games.quiz_at_hand)
        self.intake = SimpleNamespace(
            admit_answer=self.counted.append, submit=lambda one, _told: self.submitted.append(one)
        )

    def take(self, body: bytes, content_type: bytes = b"application/json") -> bool:
        token = TOKENS.mint(Kind.PARTICIPANT, "p", "g").encode()
        headers = Headers({b"authorization": b"Bearer " + token, b"content-type": content_type})
        request: Any = SimpleNamespace(headers=headers, body=body)
        services: Any = self
        return answers.submit(services, "g", request, self.said.append)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"question":0,"answer":7}', b"application/json", None),
        (b'{"question":0,"answer":[]}', b"application/json", None),  # is for the script to refuse
        (b'{"question":1,"answer":7}', b"application/json", 409),  # nor do they learn how many questions there are
        (b"{", b"application/json", 400),
        (b"{}", b"text/html", 415),
    ],
)
def test_each_try_of_a_participant_is_counted(body: bytes, content_type: bytes, status: int | None) -> None:
    door = Door(QUIZ)
    for tries in (1, 2):
        assert door.take(body, content_type)
        assert door.counted == ["p"] * tries
    assert [reply[0] for reply in door.said] == ([status] * 2 if status else [])
    assert len(door.submitted) == (0 if status else 2)


def test_one_whose_quiz_has_to_be_fetched_first_is_not_counted_yet() -> None:
    door = Door(None)
    assert not door.take(b'{"question":0,"answer":7}')
    assert (door.counted, door.said, door.submitted) == ([], [], [])
