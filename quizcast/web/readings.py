"""What answers say, read once for all who say the same; inside `web`.

A hall sends one of four bodies a thousand times within a second, and reading one takes ten times as long as finding it
here. Invariant: what a body says hangs on its bytes, their type and the game's quiz alone, which never changes.
"""

from collections.abc import Callable
from functools import lru_cache

from quizcast import conductor
from quizcast.domain.quiz import QuizContent
from quizcast.live.submissions import Reading
from quizcast.web.bodies import decode
from quizcast.wire.api import AnswerRequest

READINGS_KEPT = 1000  # of choices, there are a handful in a game; of texts everybody's, which come and go


class QuizNotAtHand(Exception):
    """The game's quiz has to be fetched first."""


class Readings:
    """Reads answers; `quiz_at_hand` gives a game's quiz, if this process has it."""

    def __init__(self, quiz_at_hand: Callable[[str], QuizContent | None]) -> None:
        self._quiz_at_hand = quiz_at_hand
        self.of: Callable[[str, str, bytes], Reading] = lru_cache(maxsize=READINGS_KEPT)(self._read)

    def _read(self, game_id: str, content_type: str, body: bytes) -> Reading:
        """`of` a game, a content type and a body. What raises is read anew each time.

        Raises as `decode` does, `QuestionNotOpen` when the quiz has no such question, `QuizNotAtHand`.
        """
        quiz = self._quiz_at_hand(game_id)
        if quiz is None:
            raise QuizNotAtHand()
        wish: AnswerRequest = decode(body, AnswerRequest, content_type, packed=True)
        return conductor.reading(quiz, wish.question, wish.answer)
