"""The event log on Redis: history from a stream, news from one pub/sub connection per process; floor 5.

Pub/sub is only the doorbell: it may lose messages, and a broken subscription can look like a quiet evening. So the
connection is pinged, is replaced whole when a ping goes unanswered, and after every replacement `on_restored` tells
the hub to look into the log for what it missed. On a cluster each shard has such a line, to the server that has it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from quizcast.errors import GameUnknown, RedisUnavailable
from quizcast.live.cluster import Cluster
from quizcast.live.redis import Live, new_client
from quizcast.live.servers import Server
from quizcast.wire.events import Gap, History, Message, Position, parse_message, parse_position

PING_EVERY_S = 0.25
LOOK_S = PING_EVERY_S / 2
# So many looks in a row, 0.6 s, and two pings unanswered: the line is dead, however open it looks. Looks are counted
# and not seconds: when this process itself stood still for a while, the answers lie there.
QUIET_LOOKS_MAX = 5
RECONNECT_S = 0.1
FIRST_ANSWER_S = 1.5  # of a new line, which may lead to a server that is slow
SEND_MAX_S = 0.75  # for a few bytes to be taken by the kernel
SUBSCRIBE_TIMEOUT_S = 3.0

log = logging.getLogger(__name__)


class RedisLog:
    """The hub's `EventLog`. `start`, then `listen` per game; `stop` at the end."""

    def __init__(self, live: Live) -> None:
        self._live = live
        # Of its own: a subscriber must not wait for the pool. No retries: redis-py would renew the subscriptions
        # on the quiet, and nobody would look for what was missed in between.
        self._client = new_client(live.settings, retries=0)
        self._lines: dict[int, _Line] = {}
        self._on_message: Callable[[str, Message], None] = lambda _game_id, _message: None
        self._on_restored: Callable[[], None] = lambda: None

    async def start(self, on_message: Callable[[str, Message], None], on_restored: Callable[[], None]) -> None:
        """Begin to deliver: `on_message(game_id, message)` in order per game, `on_restored()` after every gap."""
        self._on_message, self._on_restored = on_message, on_restored

    async def stop(self) -> None:
        """Stop delivering and give the connections back."""
        await asyncio.gather(*(line.stop() for line in self._lines.values()))
        await self._client.aclose()

    async def listen(self, game_id: str) -> None:
        """Return once every later message of the game will be delivered. Raises `RedisUnavailable`."""
        await self._line(game_id).listen(self._live.keys.channel(game_id).encode(), game_id)

    async def unlisten(self, game_id: str) -> None:
        """Hear no more of the game."""
        await self._line(game_id).unlisten(self._live.keys.channel(game_id).encode())

    def _line(self, game_id: str) -> "_Line":
        shard = self._live.keys.shard_of(game_id)
        number = self._client.line_of(shard)
        if number not in self._lines:
            key = self._live.keys.rung(shard)  # any: all of a shard are in one place
            self._lines[number] = _Line(self._client, key, self._on_message, self._on_restored)
        return self._lines[number]

    async def since(self, game_id: str, after: Position) -> History | Gap:
        """Every kept event after a position, or a `Gap` when some of them are gone. Raises `GameUnknown`."""
        head = await self._head(game_id)
        if after.epoch != head.epoch or after.offset > head.offset:
            return Gap(reason="history_lost")
        first = f"{after.epoch}-{after.offset + 1}"
        found = await self._live.do("log_since", self._live.client.xrange(self._live.keys.log(game_id), first, "+"))
        messages = [_message(entry) for entry in found]
        if messages:
            whole = messages[0].position == Position(after.epoch, after.offset + 1)
            return History(messages, messages[-1].position or head) if whole else Gap(reason="too_old")
        return History([], head) if after.offset == head.offset else Gap(reason="too_old")

    async def recent(self, game_id: str, most: int) -> History:
        """The latest kept events, up to `most`. Raises `GameUnknown`."""
        head = await self._head(game_id)
        found = await self._live.do("log_recent", self._live.client.xrevrange(self._live.keys.log(game_id), count=most))
        messages = [_message(entry) for entry in reversed(found)]
        return History(messages, (messages[-1].position if messages else None) or head)

    async def _head(self, game_id: str) -> Position:
        names = ("epoch", "offset")
        _, epoch, offset = await self._live.script("look", [self._live.keys.game(game_id)], names)
        if epoch is None:
            raise GameUnknown()
        return Position(int(epoch), int(offset))


class _Line:
    """A subscription to channels that one server has; it begins with the first of them."""

    def __init__(
        self,
        client: Server | Cluster,
        key: str,
        on_message: Callable[[str, Message], None],
        on_restored: Callable[[], None],
    ) -> None:
        self._client = client
        self._key = key
        self._on_message = on_message
        self._on_restored = on_restored
        self._pubsub: PubSub | None = None
        self._listening: dict[bytes, str] = {}  # channel → game
        self._leaving: list[bytes] = []  # channels that are to be confirmed as left
        self._confirmed: dict[bytes, asyncio.Future[None]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Stop delivering and give the connection back."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._drop()

    async def listen(self, channel: bytes, game_id: str) -> None:
        """As of the log."""
        self._listening[channel] = game_id
        confirmed = self._confirmed.get(channel)
        if confirmed is None:
            confirmed = self._confirmed[channel] = asyncio.get_running_loop().create_future()
            if self._pubsub is not None:
                with contextlib.suppress(RedisError, OSError):  # the reader will notice, and subscribe anew
                    await self._pubsub.ssubscribe(channel)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="log reader")
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await asyncio.shield(confirmed)
        except TimeoutError:
            raise RedisUnavailable(retry_after_s=1) from None

    async def unlisten(self, channel: bytes) -> None:
        """As of the log."""
        self._listening.pop(channel, None)
        self._confirmed.pop(channel, None)
        if self._pubsub is not None:
            self._leaving.append(channel)
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.sunsubscribe(channel)

    async def _read(self) -> None:
        away = False  # so that an outage is one line in the log, and not ten a second
        while True:
            try:
                await self._connect()
                if away:
                    log.info("the subscription is back")
                away = False
                await self._deliver()
            except (RedisError, OSError, TimeoutError) as error:
                if not away:
                    log.warning("the subscription broke and is being renewed: %s", type(error).__name__)
                away = True
                self._client.doubt()
            except Exception:  # a fault of ours: one message may be lost to it, but not all that follow
                log.exception("the subscription failed and is being renewed")
            await self._drop()
            await asyncio.sleep(RECONNECT_S)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        server = await self._client.at(self._key)
        pubsub, self._leaving = server.pubsub(), []
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                await pubsub.connect()  # type: ignore[no-untyped-call]
        finally:
            self._pubsub = pubsub  # before subscribing: a `listen` meanwhile subscribes for itself
        for channel in self._listening:
            if self._confirmed[channel].done():
                self._confirmed[channel] = loop.create_future()
        if self._listening:
            async with asyncio.timeout(SEND_MAX_S):
                await pubsub.ssubscribe(*self._listening)

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        restored = bool(self._listening)
        pubsub = self._pubsub
        if pubsub is None:
            return
        pinged_at = 0.0
        quiet, quiet_max = 0, int(FIRST_ANSWER_S / LOOK_S)  # after that the answers come one by one, as the pings went
        while True:
            if loop.time() - pinged_at >= PING_EVERY_S:
                async with asyncio.timeout(SEND_MAX_S):
                    await pubsub.ping()
                pinged_at = loop.time()
            raw = await pubsub.get_message(timeout=LOOK_S)
            if raw is None:
                quiet += 1
                if quiet >= quiet_max:
                    raise TimeoutError
                continue
            quiet, quiet_max = 0, QUIET_LOOKS_MAX
            self._dispatch(raw)
            if restored and all(future.done() for future in self._confirmed.values()):
                restored = False
                self._on_restored()

    def _dispatch(self, raw: dict[str, Any]) -> None:
        channel = raw.get("channel")
        if raw["type"] == "ssubscribe":
            confirmed = self._confirmed.get(channel)  # type: ignore[arg-type]
            if confirmed and confirmed.done():
                self._on_restored()  # confirmed twice: between the two it may have been deaf
            elif confirmed:
                confirmed.set_result(None)
        elif raw["type"] == "sunsubscribe":
            if channel in self._leaving:
                self._leaving.remove(channel)
            else:
                raise RedisConnectionError("the slot has moved")
        elif raw["type"] == "smessage":
            game_id = self._listening.get(channel)  # type: ignore[arg-type]
            message = parse_message(raw["data"])
            if game_id is not None and message is not None:
                self._on_message(game_id, message)

    async def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]


def _message(entry: tuple[bytes, dict[bytes, bytes]]) -> Message:
    entry_id, fields = entry
    ((name, data),) = fields.items()
    return Message(name.decode(), data, parse_position(entry_id.decode()))
