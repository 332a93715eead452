"""A live game on the embedded server, without HTTP: what the tests of `live` and of the conductor share."""

import asyncio
import itertools
from collections.abc import Callable

from quizcast.domain.game import Game, GameOptions
from quizcast.domain.nickname import skeleton
from quizcast.domain.quiz import Choice, Question, QuizContent, Single
from quizcast.live.games import Games
from quizcast.live.redis import Live
from quizcast.live.submissions import AnswerTry, JoinTry, Reading, Submissions, Taken, Welcome

OPTIONS = GameOptions(lead_ms=0, grace_ms=0)
FOUR = Single(
    prompt="?",
    time_limit_ms=20_000,
    choices=tuple(Choice(text=str(place), correct=place == 1) for place in range(4)),
)
_numbers = itertools.count(1)


async def new_game(
    live: Live, *questions: Question, options: GameOptions = OPTIONS, game_id: str | None = None
) -> Game:
    """A game in its lobby; three questions with four choices (1 is right) unless told otherwise."""
    games = Games(live)
    content = QuizContent(title="t", questions=questions or (FOUR, FOUR, FOUR))
    game_id = game_id or f"g{next(_numbers)}"
    game = Game(
        id=game_id,
        pin=await games.claim_pin(game_id),
        host_id="h",
        quiz_id="q",
        question_count=len(content.questions),
        created_at=await now(live),
        options=options,
    )
    await games.create(game, content)
    return game


async def now(live: Live) -> int:
    seconds, micros = await live.client.time()
    return int(seconds * 1000 + micros // 1000)


async def joined(live: Live, game: Game, *names: str) -> list[Welcome | Exception]:
    tries = [JoinTry(game.id, f"p-{name}", name, skeleton(name)) for name in names]
    return list(await Submissions(live).take_joins(live.keys.shard_of(game.id), tries))


async def answered(live: Live, game: Game, question: int, **answers: int) -> dict[str, Taken | Exception]:
    tries = [AnswerTry(game.id, f"p-{name}", Reading(question, b"%d" % answer)) for name, answer in answers.items()]
    verdicts, _ = await Submissions(live).take_answers(live.keys.shard_of(game.id), tries)
    return dict(zip(answers, verdicts, strict=True))


async def until(condition: Callable[[], bool], timeout_s: float = 3.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event to tell of it)
            await asyncio.sleep(0.005)
