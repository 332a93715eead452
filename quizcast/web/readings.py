"""What answers say, read once for all who say the same; inside `web`.

A hall sends one of four bodies a thousand times within a second, and reading one takes ten times as long as finding it
here. Invariant: what a body says hangs on its bytes, their type and the game's quiz alone, which never changes.
"""

from collections.abc import Callable
from functools import lru_cache

from quizcast import conductor
from quizcast.domain.quiz import QuizContent
from quizcast.errors import GameUnknown
from quizcast.live.submissions import Reading
from quizcast.web.bodies import decode
from quizcast.wire.api import AnswerRequest

READINGS_KEPT = 1000  # of choices, there are a handful in a game; of texts nearly everybody's, which soon make way
KEPT_BYTES = 256  # of a body and its type; few are longer, and many of those would fill the memory


class Readings:
    """Reads answers; `quiz_at_hand` gives a game's quiz, if this process has it."""

    def __init__(self, quiz_at_hand: Callable[[str], QuizContent | None]) -> None:
        self._quiz_at_hand = quiz_at_hand
        self._kept = lru_cache(maxsize=READINGS_KEPT)(self._read)

    def of(self, game_id: str, content_type: str, body: bytes) -> Reading:
        """What the body says. Raises as `decode` does, `QuestionNotOpen` when the quiz has no such question, and
        `GameUnknown` when it is not at hand."""
        if len(content_type) + len(body) > KEPT_BYTES:
            return self._read(game_id, content_type, body)
        return self._kept(game_id, content_type, body)

    def _read(self, game_id: str, content_type: str, body: bytes) -> Reading:  # what raises is read anew each time
        wish: AnswerRequest = decode(body, AnswerRequest, content_type, packed=True)
        quiz = self._quiz_at_hand(game_id)
        if quiz is None:
            raise GameUnknown()
        return conductor.reading(quiz, wish.question, wish.answer)
