"""What a host does: accounts, quizzes, games. Beside the other routes; every handler is a few lines over its floor."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any, Literal

from quizcast import formats
from quizcast.auth import Kind, mint_refresh, read_refresh
from quizcast.domain.game import Close, CloseReason, Command, Finish, Game, Lock, Open, ShowLeaderboard
from quizcast.domain.quiz import Quiz, QuizContent, listed, problems
from quizcast.errors import (
    CredentialsWrong,
    CursorInvalid,
    EmailTaken,
    FileInvalid,
    GameOver,
    GameUnknown,
    InvalidInput,
    NoMoreQuestions,
    OutOfPhase,
    ParticipantUnknown,
    PostgresUnavailable,
    QuestionPlayed,
    QuizcastError,
    QuizEmpty,
    QuizUnknown,
    RedisUnavailable,
    RefreshInvalid,
    Stale,
    TokenInvalid,
    TooMany,
)
from quizcast.formats import sheet
from quizcast.ids import new_id
from quizcast.store import accounts, library, results
from quizcast.web.guard import HOST_COOKIE
from quizcast.web.http import PAGED, Call, Endpoint, Handler, Query, Reply, Who, cookie
from quizcast.wire.api import (
    CreateGame,
    FieldProblem,
    GameView,
    HostView,
    Imported,
    LeaderboardRequest,
    LockRequest,
    Login,
    OpenQuestion,
    Page,
    ParticipantView,
    QuizSummary,
    RefreshRequest,
    Register,
    Results,
    ScreenToken,
    Session,
)

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────────────────


async def register(call: Call) -> Any:
    """A new account, logged in."""
    wish: Register = call.body
    services = call.services
    await services.throttle.register(call.peer)
    digest = await services.passwords.hash(wish.password)
    async with services.db.write() as conn:
        host = await accounts.create_host(conn, email=wish.email, name=wish.name, password_hash=digest)
    return await _logged_in(call, host)


async def login(call: Call) -> Any:
    """A session for an address and its password; the same words and the same time whichever of them is wrong."""
    wish: Login = call.body
    services = call.services
    await services.throttle.login(wish.email, call.peer)
    async with services.db.write() as conn:  # not a replica: the account may be seconds old
        found = await accounts.host_by_email(conn, wish.email)
    fits = await services.passwords.verify(wish.password, found.password_hash if found else None)
    if found is None or not fits:
        raise CredentialsWrong()
    if services.passwords.is_dated(found.password_hash):
        digest = await services.passwords.hash(wish.password)
        async with services.db.write() as conn:
            await accounts.update_password(conn, found.id, digest)
    return await _logged_in(call, found)


async def refresh(call: Call) -> Any:
    """A new session for a refresh token, which is spent by that; shown again, it ends the whole family."""
    services = call.services
    spent = read_refresh(call.body.refresh_token)
    text, fresh = mint_refresh(spent.family)
    life_s = services.settings.refresh_ttl_s
    host = await accounts.rotate_login(services.db, spent.family, spent.digest, fresh.digest, life_s)
    return _session(call, host, text)


async def logout(call: Call) -> Any:
    """End a session. The access token lives on for its few minutes; it is short for that reason."""
    async with call.services.db.write() as conn:
        await accounts.end_login(conn, read_refresh(call.body.refresh_token).family)
    return Reply(headers={"set-cookie": cookie(HOST_COOKIE, "", 0, call)})


async def me(call: Call) -> Any:
    """The calling host."""
    async with call.services.db.read() as conn:
        host = await accounts.host_by_id(conn, call.host_id)
    if host is None:
        async with call.services.db.write() as conn:  # an account may be younger than what a replica knows
            host = await accounts.host_by_id(conn, call.host_id)
    if host is None:
        raise TokenInvalid("the account is gone")
    return _host_view(host)


async def _logged_in(call: Call, host: accounts.Host) -> Reply:
    text, fresh = mint_refresh()
    services = call.services
    async with services.db.write() as conn:
        await accounts.start_login(conn, host.id, fresh.family, fresh.digest, services.settings.refresh_ttl_s)
    return _session(call, host, text)


def _session(call: Call, host: accounts.Host, refresh_token: str) -> Reply:
    services = call.services
    token = services.tokens.mint(Kind.HOST, host.id)
    life_s = services.settings.access_ttl_s
    body = Session(access_token=token, refresh_token=refresh_token, expires_in=life_s, host=_host_view(host))
    return Reply(body=body, headers={"set-cookie": cookie(HOST_COOKIE, token, life_s, call)})


def _host_view(host: accounts.Host) -> HostView:
    return HostView(id=host.id, email=host.email, name=host.name)


# ── quizzes ───────────────────────────────────────────────────────────────────────────────────────────────────


async def list_quizzes(call: Call) -> Any:
    """The host's quizzes, newest first."""
    limit, cursor = call.page()
    async with call.services.db.write() as conn:  # hosts look for what they have just saved
        return await library.list_quizzes(conn, call.host_id, limit, cursor)


async def create_quiz(call: Call) -> Any:
    """A new quiz."""
    content = _sound(call.body)
    async with call.services.db.write() as conn:
        return _tagged(await library.create_quiz(conn, call.host_id, content, call.idempotency_key))


async def get_quiz(call: Call) -> Any:
    """One quiz, with the key."""
    async with call.services.db.write() as conn:
        return _tagged(await library.get_quiz(conn, call.host_id, call.param("quiz_id")))


async def put_quiz(call: Call) -> Any:
    """Write a quiz anew; with `If-Match`, only over the version that the author has seen."""
    content, expected = _sound(call.body), _if_match(call)
    async with call.services.db.write() as conn:
        return _tagged(await library.update_quiz(conn, call.host_id, call.param("quiz_id"), content, expected))


async def delete_quiz(call: Call) -> Any:
    """Delete a quiz. Games that were played keep their own copy."""
    async with call.services.db.write() as conn:
        quiz_id, expected = call.param("quiz_id"), _if_match(call)
        if expected is not None and (await library.get_quiz(conn, call.host_id, quiz_id)).version != expected:
            raise Stale()
        await library.delete_quiz(conn, call.host_id, quiz_id)
    return None


async def import_quizzes(call: Call) -> Any:
    """Quizzes from a file. A large collection becomes several; what could not be used is said in `warnings`."""
    data: bytes = call.body
    parsed = await asyncio.to_thread(formats.parse, data, call.query("format") or None, call.query("name"))
    key = call.idempotency_key
    async with call.services.db.write() as conn:
        quizzes = [
            await library.create_quiz(conn, call.host_id, content, f"{key}#{place}" if key else "")
            for place, content in enumerate(parsed.quizzes)
        ]
    warnings = [FieldProblem(path=one.path, message=one.message) for one in parsed.warnings]
    return Imported(quizzes=[_summary(quiz) for quiz in quizzes], found=parsed.found, warnings=warnings)


async def export_quiz(call: Call) -> Any:
    """A quiz as a file."""
    kind = _one_of(call, "format", formats.EXPORT_FORMATS)
    async with call.services.db.write() as conn:  # what was saved a moment ago is what is wanted
        quiz = await library.get_quiz(conn, call.host_id, call.param("quiz_id"))
    return _file(formats.dump(quiz, kind))


def _sound(content: QuizContent) -> QuizContent:
    if found := problems(content):
        raise InvalidInput(f"{found[0].path}: {found[0].message}", problems=found)
    return content


def _tagged(quiz: Quiz) -> Reply:
    return Reply(body=quiz, headers={"etag": f'"{quiz.version}"'})


def _if_match(call: Call) -> int | None:
    given = call.request.headers.get("if-match", "").strip()
    if given in ("", "*"):
        return None
    text = given.removeprefix("W/").strip('"')
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1  # -1: no version is that


def _summary(quiz: Quiz) -> QuizSummary:
    return QuizSummary(
        id=quiz.id,
        title=quiz.title,
        description=quiz.description,
        language=quiz.language,
        version=quiz.version,
        question_count=len(quiz.questions),
        updated_at=int(time.time() * 1000),
    )


def _one_of(call: Call, name: str, allowed: Sequence[str]) -> str:
    given = call.query(name, allowed[0])
    if given not in allowed:
        raise InvalidInput(f"{name} is one of {', '.join(allowed)}")
    return given


def _file(dumped: formats.Dumped) -> Reply:
    disposition = f'attachment; filename="{dumped.filename}"'
    return Reply(body=dumped.data, media_type=dumped.media_type, headers={"content-disposition": disposition})


# ── games ─────────────────────────────────────────────────────────────────────────────────────────────────────


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


async def remove_participant(call: Call) -> Any:
    """Kick somebody; with `?ban=true`, for good."""
    game_id = call.param("game_id")
    await call.services.owned(game_id, call.host_id)
    ban = call.query("ban").lower() in ("1", "true", "yes")
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
    kind = _one_of(call, "format", ("json", "csv", "xlsx"))
    game_id = call.param("game_id")
    view = await _view(call, game_id)
    # The primary: a host looks at once, and what was answered a moment ago should be there.
    async with call.services.db.write() as conn:
        record = await results.load_results(conn, game_id)
    made = await asyncio.to_thread(results.results, record, view)
    if kind == "json":
        return made
    shuffles = {opening.question: opening.shuffle for opening in record.openings}
    offered = [listed(question, shuffles.get(index, ())) for index, question in enumerate(record.quiz.questions)]
    write = sheet.results_csv if kind == "csv" else sheet.results_xlsx
    data = await asyncio.to_thread(write, made, offered)
    return _file(formats.Dumped(data, MEDIA_TYPES[kind], f"results-{view.pin}.{kind}"))


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


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────


def _host(method: str, path: str, handler: Handler, says: str, **more: Any) -> Endpoint:
    return Endpoint(method=method, path=path, handler=handler, who=Who.HOST, says=says, **more)


def _game(action: str, handler: Handler, says: str, *, wish: Any = None, optional: bool = True) -> Endpoint:
    return _host(
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


def _public(path: str, handler: Handler, says: str, **more: Any) -> Endpoint:
    return Endpoint(method="POST", path=path, handler=handler, who=Who.ANYONE, says=says, **more)


ENDPOINTS = [
    _public(
        "/auth/register",
        register,
        "A new host's account, logged in.",
        status=201,
        body=Register,
        reply=Session,
        errors=(EmailTaken, TooMany, PostgresUnavailable),
    ),
    _public(
        "/auth/login",
        login,
        "A session for an address and its password.",
        body=Login,
        reply=Session,
        errors=(CredentialsWrong, TooMany, PostgresUnavailable),
    ),
    _public(
        "/auth/refresh",
        refresh,
        "A new session; the refresh token is spent. A spent one shown again ends the whole family.",
        body=RefreshRequest,
        reply=Session,
        errors=(RefreshInvalid, PostgresUnavailable),
    ),
    _public(
        "/auth/logout",
        logout,
        "End a session.",
        status=204,
        body=RefreshRequest,
        errors=(RefreshInvalid, PostgresUnavailable),
    ),
    _host("GET", "/me", me, "The calling host.", reply=HostView, errors=(PostgresUnavailable,)),
    _host(
        "GET",
        "/quizzes",
        list_quizzes,
        "The host's quizzes, newest first.",
        reply=Page[QuizSummary],
        query=PAGED,
        errors=(CursorInvalid, PostgresUnavailable),
    ),
    _host(
        "POST",
        "/quizzes",
        create_quiz,
        "A new quiz.",
        status=201,
        body=QuizContent,
        reply=Quiz,
        idempotent=True,
        errors=(InvalidInput, PostgresUnavailable),
    ),
    _host(
        "POST",
        "/quizzes/import",
        import_quizzes,
        "Quizzes from a file: the body is the file as it is.",
        status=201,
        body=bytes,
        reply=Imported,
        idempotent=True,
        query=(
            Query(name="format", type=Literal[formats.IMPORT_FORMATS], says="told by the content unless said"),
            Query(name="name", type=str, says="the file's name, for formats that hold no title"),
        ),
        errors=(FileInvalid, PostgresUnavailable),
    ),
    _host(
        "GET",
        "/quizzes/{quiz_id}",
        get_quiz,
        "One quiz, with its version as ETag.",
        reply=Quiz,
        errors=(QuizUnknown, PostgresUnavailable),
    ),
    _host(
        "PUT",
        "/quizzes/{quiz_id}",
        put_quiz,
        "Write a quiz anew; with If-Match, only over the version that the author has seen.",
        body=QuizContent,
        reply=Quiz,
        errors=(QuizUnknown, Stale, InvalidInput, PostgresUnavailable),
    ),
    _host(
        "DELETE",
        "/quizzes/{quiz_id}",
        delete_quiz,
        "Delete a quiz. Games that were played keep their own copy.",
        status=204,
        errors=(QuizUnknown, Stale, PostgresUnavailable),
    ),
    _host(
        "GET",
        "/quizzes/{quiz_id}/export",
        export_quiz,
        "A quiz as a file.",
        reply=bytes,
        media_types=("application/json", "text/csv"),
        query=(Query(name="format", type=Literal[formats.EXPORT_FORMATS], says="json unless said"),),
        errors=(QuizUnknown, PostgresUnavailable),
    ),
    _host(
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
    _host(
        "GET",
        "/games",
        list_games,
        "The host's games, newest first.",
        reply=Page[GameView],
        query=PAGED,
        errors=(CursorInvalid, PostgresUnavailable, RedisUnavailable),
    ),
    _host("GET", "/games/{game_id}", get_game, "One game.", reply=GameView, errors=(GameUnknown,)),
    _game("open", open_question, "Ask the next question, or the one that is named.", wish=OpenQuestion),
    _game("close", close_question, "Take no more answers, and say what was right."),
    _game("leaderboard", show_leaderboard, "Push the leaderboard to everybody.", wish=LeaderboardRequest),
    _game("finish", finish_game, "End the game and show the podium."),
    _game("lock", lock_game, "Let nobody new in, or let them in again.", wish=LockRequest, optional=False),
    _host(
        "GET",
        "/games/{game_id}/participants",
        list_participants,
        "Everybody who takes part, best first.",
        reply=Page[ParticipantView],
        query=PAGED,
        errors=(GameUnknown, CursorInvalid, RedisUnavailable),
    ),
    _host(
        "DELETE",
        "/games/{game_id}/participants/{participant_id}",
        remove_participant,
        "Kick somebody, or kick and ban.",
        status=204,
        query=(Query(name="ban", type=bool, says="whether they may not come back"),),
        errors=(GameUnknown, ParticipantUnknown, RedisUnavailable),
    ),
    _host(
        "POST",
        "/games/{game_id}/screen",
        make_screen,
        "A read-only token for the projector's page.",
        status=201,
        reply=ScreenToken,
        errors=(GameUnknown,),
    ),
    _host(
        "GET",
        "/games/{game_id}/results",
        get_results,
        "The whole ranking, and every answer that is in Postgres.",
        reply=Results,
        media_types=("application/json", *MEDIA_TYPES.values()),
        query=(Query(name="format", type=Literal["json", "csv", "xlsx"], says="json unless said"),),
        errors=(GameUnknown, PostgresUnavailable),
    ),
]
