"""The door for answers, without HTTP: what is counted as a try, whatever it says."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from quizcast.auth import Key, Keyring, Kind, Tokens
from quizcast.domain.quiz import Numeric, QuizContent
from quizcast.errors import GameUnknown, TooManyAnswers
from quizcast.settings import Settings
from quizcast.web import answers
from quizcast.web.hot import HotRoad
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
        self.hub = SimpleNamespace(draining=False)
        self.games = SimpleNamespace(quiz_at_hand=lambda _game_id: quiz)
        self.readings = Readings(self.games.quiz_at_hand)
        self.intake = SimpleNamespace(
            admit_answer=self.counted.append, submit=lambda one, _told: self.submitted.append(one)
        )

    def take(self, body: bytes, content_type: bytes = b"application/json") -> bool:
        services: Any = self
        return answers.submit(services, "g", asked(body, content_type), self.said.append)


def asked(body: bytes, content_type: bytes = b"application/json", **more: Any) -> Any:
    token = TOKENS.mint(Kind.PARTICIPANT, "p", "g").encode()
    headers = Headers({b"authorization": b"Bearer " + token, b"content-type": content_type})
    return SimpleNamespace(headers=headers, body=body, **more)


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


@pytest.mark.parametrize("there", [True, False])
async def test_one_whose_quiz_has_to_be_read_first_counts_once_even_if_its_game_is_gone(there: bool) -> None:
    door, read, said = Door(None), asyncio.Event(), list[int]()

    async def quiz(_game_id: str) -> None:
        await read.wait()
        if not there:
            raise GameUnknown()
        door.games.quiz_at_hand = lambda _game_id: QUIZ

    door.games.quiz, door.readings = quiz, Readings(lambda _game_id: QUIZ)
    services: Any = door
    handler = HotRoad(Settings(), lambda: services).handler(b"POST", b"/api/v1/games/g/answers")
    assert handler is not None
    handler(asked(b'{"question":0,"answer":7}', reply=lambda status, *_, close: said.append(status)))
    assert (door.counted, said) == (["p"], [])
    read.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (door.counted, len(door.submitted), said) == (["p"], int(there), [] if there else [404])


def test_for_one_that_is_one_too_many_no_quiz_is_read() -> None:
    def refuse(_participant_id: str) -> None:
        raise TooManyAnswers(retry_after_s=1)

    door = Door(None)
    door.intake.admit_answer = refuse
    assert door.take(b'{"question":0,"answer":7}')
    assert [reply[0] for reply in door.said] == [429]
