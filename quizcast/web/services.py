"""Everything that a web process has, constructed once, in order, and closed in the opposite order; inside `web`."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

from quizcast.auth import Keyring, Passwords, Tokens
from quizcast.conductor import Conductor
from quizcast.domain.game import Game
from quizcast.errors import GameUnknown, QuizcastError
from quizcast.flush import Bell
from quizcast.hub import Hub
from quizcast.hub.ring import opened as opened_ring
from quizcast.intake import Intake
from quizcast.live.games import Games
from quizcast.live.log import RedisLog
from quizcast.live.pins import Pins
from quizcast.live.presence import Presence
from quizcast.live.reach import Reach
from quizcast.live.redis import Live
from quizcast.live.submissions import Submissions
from quizcast.live.throttle import Throttle
from quizcast.live.views import Views
from quizcast.metrics import LOOP_LATE_SECONDS, STREAMS_MAX, TASKS
from quizcast.settings import Settings
from quizcast.store import results
from quizcast.store.db import Database
from quizcast.vitals import Vitals
from quizcast.web.protocol import END, chunk
from quizcast.web.readings import Readings

OWNERS_KEPT = 5000
LOOK_EVERY_S = 1.0  # streams have no task of their own, so there are few to count

log = logging.getLogger(__name__)


class SeenGame(NamedTuple):
    """A game and how many take part."""

    game: Game
    participants: int


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """A web process's parts."""

    settings: Settings
    live: Live
    db: Database
    games: Games
    views: Views
    reach: Reach
    hub: Hub
    presence: Presence
    conductor: Conductor
    intake: Intake
    readings: Readings
    bell: Bell
    tokens: Tokens
    passwords: Passwords
    throttle: Throttle
    pins: Pins
    owners: dict[str, str]

    async def owned(self, game_id: str, host_id: str) -> None:
        """Raise `GameUnknown` unless the game is this host's: whose it is instead is nobody's business."""
        owner = self.owners.get(game_id)
        if owner is None:
            owner = (await self.game(game_id, host_id)).game.host_id
            if len(self.owners) >= OWNERS_KEPT:
                self.owners.clear()
            self.owners[game_id] = owner
        if owner != host_id:
            raise GameUnknown()

    async def game(self, game_id: str, host_id: str) -> SeenGame:
        """A host's game: from Redis while it lives there, from Postgres afterwards. Raises `GameUnknown`."""
        found = (await self.games.load_many([game_id])).get(game_id)
        if found is None:
            async with self.db.write() as conn:  # not a replica: the game may be a moment old
                stored = await results.get_game(conn, host_id, game_id)
            found = (stored.game, stored.participants)
        if found[0].host_id != host_id:
            raise GameUnknown()
        return SeenGame(*found)


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """A web process's parts, at work; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        live = Live(settings)
        stack.push_async_callback(live.close)
        db = Database(settings)
        await db.open()
        stack.push_async_callback(db.close)
        bell = Bell(settings, live)
        stack.push_async_callback(bell.close)
        throttle = Throttle(settings)
        stack.push_async_callback(throttle.close)
        games, views = Games(live), Views(live)
        reach = Reach(live)
        stack.push_async_callback(reach.stop)
        conductor = Conductor(games, reach, lambda game_id: bell.ring(live.keys.shard_of(game_id)))
        stack.push_async_callback(conductor.stop)
        event_log = RedisLog(live)
        hub = Hub(
            event_log,
            views,
            envelope=chunk,
            farewell=END,
            now=live.now,
            max_streams=settings.max_streams,
            buffer_max=settings.stream_buffer_bytes,
            heartbeat_s=settings.heartbeat_s,
            max_age_s=settings.stream_max_age_s,
            ring=opened_ring() if settings.io_uring == "auto" else None,
            reached=reach.reached,
            slow=reach.slow,
        )
        await event_log.start(hub.deliver, hub.restored)
        stack.push_async_callback(event_log.stop)
        stack.push_async_callback(hub.stop)
        presence = Presence(live, conductor.everybody_answered)
        _in_background(stack, "presence", presence.run)
        vitals = Vitals("web")
        _in_background(stack, "vitals", lambda: _watch_process(vitals))
        STREAMS_MAX.set(settings.max_streams)
        _in_background(stack, "deadlines", lambda: conductor.watch(presence))
        yield Services(
            settings=settings,
            live=live,
            db=db,
            games=games,
            views=views,
            reach=reach,
            hub=hub,
            presence=presence,
            conductor=conductor,
            intake=Intake(
                Submissions(live),
                shard_of=live.keys.shard_of,
                shards=settings.shards,
                pending_max=settings.intake_pending_max,
                wait_s=settings.intake_wait_s,
                group_max=settings.intake_group_max,
                joins_per_second=settings.joins_per_second,
                answers_per_second=settings.answers_per_second,
                ring=bell.ring,
                complete=conductor.everybody_answered,
            ),
            readings=Readings(games.quiz_at_hand),
            bell=bell,
            tokens=Tokens(Keyring.load(settings), settings),
            passwords=Passwords(),
            throttle=throttle,
            pins=Pins(live),
            owners={},
        )


async def _watch_process(vitals: Vitals) -> None:
    loop = asyncio.get_running_loop()
    while True:
        TASKS.set(len(asyncio.all_tasks()))
        vitals.look()
        due = loop.time() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        LOOP_LATE_SECONDS.observe(max(0.0, loop.time() - due))


def _in_background(stack: contextlib.AsyncExitStack, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def for_ever() -> None:
        while True:
            try:
                await work()
            except QuizcastError as error:
                log.warning("%s: %s", name, error.code)
            except Exception:  # a fault of ours must not end the watch over every game
                log.exception("%s failed and goes on", name)
            await asyncio.sleep(1)

    task = asyncio.create_task(for_ever(), name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
