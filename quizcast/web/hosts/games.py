"""Games: the lobby, the commands, the people, the results; one of the rooms of `hosts`."""

import asyncio
import random
from typing import Any, Literal

from quizcast import formats
from quizcast.auth import Kind
from quizcast.domain.game import Close, CloseReason, Command, Extend, Finish, Game, Lock, Open, ShowLeaderboard
from quizcast.domain.quiz import QuizContent, listed
from quizcast.errors import (
    AnswersDropped,
    CursorInvalid,
    GameOver,
    GameUnknown,
    NoMoreQuestions,
    OutOfPhase,
    ParticipantUnknown,
    PostgresUnavailable,
    QuestionPlayed,
    QuizcastError,
    QuizEmpty,
    QuizUnknown,
    RedisUnavailable,
)
from quizcast.formats import sheet
from quizcast.ids import new_id
from quizcast.store import library, results
from quizcast.web.hosts.parts import file_reply, host_route, one_of
from quizcast.web.http import PAGED, Call, Endpoint, Handler, Query
from quizcast.wire.api import (
    Connections,
    CreateGame,
    ExtendRequest,
    GameView,
    LeaderboardRequest,
    LockRequest,
    OpenQuestion,
    Page,
    ParticipantView,
    Results,
    ScreenToken,
)

YES = {"false": False, "true": True, "no": False, "yes": True, "0": False, "1": True, "": False}
STORED_MS = 20_000  # after the end of a game its last rows are in Postgres
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


async def create_game(call: Call) -> Any:
    """A lobby for a quiz. The game gets its own copy of the quiz: later edits do not reach it."""
    wish: CreateGame = call.body
    services = call.services
    async with services.db.write() as conn:
        quiz = await library.get_quiz(conn, call.host_id, wish.quiz_id)
    if not quiz.questions:
        raise QuizEmpty()
    content = QuizContent(**{name: getattr(quiz, name) for name in QuizContent.__struct_fields__})
    game_id = new_id()
    game = Game(
        id=game_id,
        pin=await services.games.claim_pin(game_id),
        host_id=call.host_id,
        quiz_id=quiz.id,
        question_count=len(quiz.questions),
        created_at=services.live.now(),
        title=quiz.title,
        options=wish.options,
    )
    try:
        # Live first: a game that is in Postgres can be played, whatever died in between.
        await services.games.create(game, content)
        async with services.db.write() as conn:
            stored = await results.create_game(conn, game, content, call.idempotency_key)
    except QuizcastError:
        await services.games.discard(game)
        raise
    if stored.id != game_id:  # a retry: the first try has made the game
        await services.games.discard(game)
        return await _view(call, stored.id)
    return _game_view(call, game, 0)


async def list_games(call: Call) -> Any:
    """The host's games, newest first."""
    limit, cursor = call.page()
    async with call.services.db.write() as conn:
        page = await results.list_games(conn, call.host_id, limit, cursor)
    live = await call.services.games.load_many([one.game.id for one in page.items])
    views = [_game_view(call, *live.get(one.game.id, (one.game, one.participants))) for one in page.items]
    return Page(items=views, next_cursor=page.next_cursor)


async def get_game(call: Call) -> Any:
    """One game."""
    return await _view(call, call.param("game_id"))


async def open_question(call: Call) -> Any:
    """Ask the next question, or the one that is named. It takes answers `lead_ms` later."""
    wish: OpenQuestion = call.body or OpenQuestion()
    chance = random.SystemRandom().random()  # not to be foreseen: it shuffles the items to be put in order
    return await _command(call, Open(question=wish.question, time_limit_ms=wish.time_limit_ms, chance=chance))


async def close_question(call: Call) -> Any:
    """Take no more answers, and say what was right."""
    return await _command(call, Close(reason=CloseReason.HOST))


async def extend_question(call: Call) -> Any:
    """Let the open question close later."""
    return await _command(call, Extend(closes_at=call.body.closes_at))


async def show_leaderboard(call: Call) -> Any:
    """Push the leaderboard to everybody."""
    wish: LeaderboardRequest = call.body or LeaderboardRequest()
    return await _command(call, ShowLeaderboard(limit=wish.limit))


async def finish_game(call: Call) -> Any:
    """End the game and show the podium."""
    return await _command(call, Finish())


async def lock_game(call: Call) -> Any:
    """Let nobody new in, or let them in again."""
    return await _command(call, Lock(locked=call.body.locked))


async def list_participants(call: Call) -> Any:
    """Everybody who takes part, best first."""
    game_id, (limit, cursor) = call.param("game_id"), call.page()
    await call.services.owned(game_id, call.host_id)
    ranked = await call.services.conductor.ranked(game_id)
    connected = await call.services.games.connected(game_id)
    first = _offset(cursor)
    items = [
        ParticipantView(
            participant_id=one.participant_id,
            nickname=one.person.nickname,
            connected=one.participant_id in connected,
            score=one.score,
            rank=one.rank,
        )
        for one in ranked[first : first + limit]
    ]
    after = first + limit
    return Page(items=items, next_cursor=f"o{after}" if after < len(ranked) else None)


async def get_connections(call: Call) -> Any:
    """How the participants' streams are, over all processes."""
    game_id = call.param("game_id")
    await call.services.owned(game_id, call.host_id)
    people, here, slow = await call.services.reach.connections(game_id)
    slow = min(slow, here)  # somebody may have two streams
    return Connections(healthy=here - slow, slow=slow, gone=people - here)


async def remove_participant(call: Call) -> Any:
    """Kick somebody; with `?ban=true`, for good."""
    game_id = call.param("game_id")
    await call.services.owned(game_id, call.host_id)
    ban = YES[one_of(call, "ban", tuple(YES))]
    await call.services.conductor.remove(game_id, call.param("participant_id"), ban=ban)
    return None


async def make_screen(call: Call) -> Any:
    """A token that can watch this game and do nothing else."""
    game_id = call.param("game_id")
    await call.services.owned(game_id, call.host_id)
    token = call.services.tokens.mint(Kind.SCREEN, game_id, game_id)
    return ScreenToken(token=token, url=f"{call.base_url}/screen/{game_id}?token={token}")


async def get_results(call: Call) -> Any:
    """The whole ranking and every answer that is in Postgres."""
    kind = one_of(call, "format", ("json", "csv", "xlsx"))
    game_id = call.param("game_id")
    services = call.services
    seen = await services.game(game_id, call.host_id)
    view = _game_view(call, *seen)
    finished_at = seen.game.finished_at
    settled_ms = STORED_MS + services.settings.replica_lag_max_s * 1000
    settled = finished_at is not None and services.live.now() - finished_at > settled_ms
    # A host looks at once, and what was answered a moment ago should be there: only later will a replica do.
    async with services.db.read() if settled else services.db.write() as conn:
        record = await results.load_results(conn, game_id)
    made = await asyncio.to_thread(results.results, record, view)
    if kind == "json":
        return made
    shuffles = {opening.question: opening.shuffle for opening in record.openings}
    offered = [listed(question, shuffles.get(index, ())) for index, question in enumerate(record.quiz.questions)]
    write = sheet.results_csv if kind == "csv" else sheet.results_xlsx
    data = await asyncio.to_thread(write, made, offered)
    return file_reply(formats.Dumped(data, MEDIA_TYPES[kind], f"results-{view.pin}.{kind}"))


async def _command(call: Call, command: Command) -> GameView:
    game_id = call.param("game_id")
    await call.services.owned(game_id, call.host_id)
    game = await call.services.conductor.command(game_id, command, call.idempotency_key)
    return _game_view(call, game, await call.services.games.count(game_id))


async def _view(call: Call, game_id: str) -> GameView:
    return _game_view(call, *await call.services.game(game_id, call.host_id))


def _game_view(call: Call, game: Game, participants: int) -> GameView:
    return GameView(
        id=game.id,
        pin=game.pin,
        quiz_id=game.quiz_id,
        title=game.title,
        join_url=f"{call.base_url}/join/{game.pin}",
        phase=game.phase,
        question_index=game.question_index,
        question_count=game.question_count,
        participants=participants,
        locked=game.locked,
        options=game.options,
        created_at=game.created_at,
    )


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    text = cursor.removeprefix("o")
    if not (cursor.startswith("o") and text.isascii() and text.isdigit() and len(text) < 10):
        raise CursorInvalid()
    return int(text)


def _game(action: str, handler: Handler, says: str, *, wish: Any = None, optional: bool = True) -> Endpoint:
    return host_route(
        "POST",
        f"/games/{{game_id}}/{action}",
        handler,
        says,
        body=wish,
        body_optional=optional,
        reply=GameView,
        idempotent=True,
        errors=(GameUnknown, GameOver, OutOfPhase, *((NoMoreQuestions, QuestionPlayed) if action == "open" else ())),
    )


ENDPOINTS = [
    host_route(
        "POST",
        "/games",
        create_game,
        "Open a lobby for a quiz.",
        status=201,
        body=CreateGame,
        reply=GameView,
        idempotent=True,
        errors=(QuizUnknown, QuizEmpty, PostgresUnavailable, RedisUnavailable),
    ),
    host_route(
        "GET",
        "/games",
        list_games,
        "The host's games, newest first.",
        reply=Page[GameView],
        query=PAGED,
        errors=(CursorInvalid, PostgresUnavailable, RedisUnavailable),
    ),
    host_route("GET", "/games/{game_id}", get_game, "One game.", reply=GameView, errors=(GameUnknown,)),
    _game("open", open_question, "Ask the next question, or the one that is named.", wish=OpenQuestion),
    _game("close", close_question, "Take no more answers, and say what was right."),
    _game("extend", extend_question, "Let the open question close later.", wish=ExtendRequest, optional=False),
    _game("leaderboard", show_leaderboard, "Push the leaderboard to everybody.", wish=LeaderboardRequest),
    _game("finish", finish_game, "End the game and show the podium."),
    _game("lock", lock_game, "Let nobody new in, or let them in again.", wish=LockRequest, optional=False),
    host_route(
        "GET",
        "/games/{game_id}/participants",
        list_participants,
        "Everybody who takes part, best first.",
        reply=Page[ParticipantView],
        query=PAGED,
        errors=(GameUnknown, CursorInvalid, RedisUnavailable),
    ),
    host_route(
        "GET",
        "/games/{game_id}/connections",
        get_connections,
        "How the participants' streams are.",
        reply=Connections,
        errors=(GameUnknown, RedisUnavailable),
    ),
    host_route(
        "DELETE",
        "/games/{game_id}/participants/{participant_id}",
        remove_participant,
        "Kick somebody, or kick and ban.",
        status=204,
        query=(Query(name="ban", type=Literal[tuple(YES)], says="whether they may not come back; no unless said"),),
        errors=(GameUnknown, ParticipantUnknown, RedisUnavailable),
    ),
    host_route(
        "POST",
        "/games/{game_id}/screen",
        make_screen,
        "A read-only token for the projector's page.",
        status=201,
        reply=ScreenToken,
        errors=(GameUnknown,),
    ),
    host_route(
        "GET",
        "/games/{game_id}/results",
        get_results,
        "The whole ranking, and every answer that is in Postgres.",
        reply=Results,
        media_types=("application/json", *MEDIA_TYPES.values()),
        query=(Query(name="format", type=Literal["json", "csv", "xlsx"], says="json unless said"),),
        errors=(GameUnknown, AnswersDropped, PostgresUnavailable),
    ),
]
