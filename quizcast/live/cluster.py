"""A Redis Cluster: each command goes to the server that has its key's slot now, and follows the slot; inside `live`.

What meets a slot on its way is done again until the slot has arrived, for as long as its caller waits: every call of
quizcast may be repeated. Commands of one slot in one pipeline ride on one connection and are repeated together.
"""

import asyncio
import bisect
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import redis.asyncio as aioredis
from redis.commands.core import AsyncCoreCommands
from redis.crc import key_slot
from redis.event import EventDispatcher
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from quizcast.live.servers import Server, server_at
from quizcast.redisurl import Place, RedisUrl
from quizcast.settings import Settings

ON_THE_MOVE = (MovedError, AskError, TryAgainError)
ELSEWHERE = (MovedError, ClusterDownError, RedisConnectionError, OSError, TimeoutError)
MOVING_S = 0.02  # between two looks at a slot on its way; its keys take a few ms
MAP_ANSWERS_S = 0.5  # of a server that is asked who has what; then the next
MAP_AGE_MIN_S = 0.05  # so that a server that is away has nobody read the map at each call
EVERYWHERE = frozenset({"SCRIPT LOAD", "SCRIPT FLUSH"})  # keyless commands for all who have slots
KEY_AT = {"EVAL": 3, "EVALSHA": 3}  # of all others it is the first argument; XREAD has it after a word
KEYLESS = frozenset({"TIME", "WAIT", "INFO", "CONFIG GET", *EVERYWHERE})


class _Command(NamedTuple):
    args: tuple[Any, ...]
    options: dict[str, Any]


class Cluster(AsyncCoreCommands):
    """All of its servers, as if they were one."""

    _is_async_client: Literal[True] = True  # by which redis-py's methods know their types
    _event_dispatcher = EventDispatcher()  # which they are to have; nothing listens

    def __init__(self, url: RedisUrl, settings: Settings, retries: int) -> None:
        self._url = url
        self._settings = settings
        self._retries = retries
        self._servers: dict[Place, Server] = {}
        self._starts: list[int] = []  # first slots of ranges, ascending …
        self._ranges: list[tuple[int, Place]] = []  # … and for each its last slot, and who has it
        self._looked_at = -MAP_AGE_MIN_S
        self._doubted = True
        self._first: Place | None = None  # who said to have a slot knows best who has what
        self._lock = asyncio.Lock()

    async def at(self, key: str) -> Server:
        """The server that has a key now. Raises `RedisError`."""
        return self._server(await self._place(key_slot(key.encode())))

    def line_of(self, shard: int) -> int:
        """Which of the lines for subscriptions a shard is on: it has its own, as its slot may move."""
        return shard

    def doubt(self) -> None:
        """Something says that keys are elsewhere now: look before the next call."""
        self._doubted = True

    async def masters(self) -> dict[str, Server]:
        """Every server that has slots, by its place. Raises `RedisError`."""
        await self._look()
        return {f"{host}:{port}": self._server((host, port)) for _, (host, port) in self._ranges}

    def pipeline(self, transaction: bool = False) -> "_Pipeline":
        """Commands for one round trip to each of the servers; a transaction has keys of one slot."""
        return _Pipeline(self, transaction)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command, as redis-py's methods make it."""
        if args[0] in EVERYWHERE:
            replies = [await server.execute_command(*args, **options) for server in (await self.masters()).values()]  # type: ignore[no-untyped-call]
            return replies[0]
        (reply,) = await self.run([_Command(args, options)], transaction=False)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run(self, commands: Sequence[_Command], *, transaction: bool) -> list[Any]:
        """The replies, or the errors in their places; a command without a key goes with the next that has one."""
        replies: list[Any] = [None] * len(commands)
        of_slot = _by_slot(commands)
        while of_slot:
            parts: defaultdict[Place, list[int]] = defaultdict(list)
            for slot, numbers in of_slot.items():
                try:
                    parts[await self._place(slot)] += numbers
                except ClusterDownError as error:  # nobody has this slot; others may be served all the same
                    for number in numbers:
                        replies[number] = error
            asked = [self._ask(place, [commands[one] for one in part], transaction) for place, part in parts.items()]
            for part, found in zip(parts.values(), await asyncio.gather(*asked), strict=True):
                for number, reply in zip(part, found, strict=True):
                    replies[number] = reply
            of_slot = {
                slot: numbers
                for slot, numbers in of_slot.items()
                if any(isinstance(replies[number], ON_THE_MOVE) for number in numbers)
            }
            if of_slot:
                await asyncio.sleep(MOVING_S)
        return replies

    async def aclose(self) -> None:
        """Give the connections back."""
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))

    def get_encoder(self) -> Any:
        """How redis-py's scripts become bytes."""
        return aioredis.ConnectionPool().get_encoder()  # type: ignore[no-untyped-call]

    async def _ask(self, place: Place, commands: Sequence[_Command], transaction: bool) -> list[Any]:
        pipe = self._server(place).pipeline(transaction=transaction)
        for args, options in commands:
            pipe.execute_command(*args, **options)
        replies: list[Any]
        try:
            # Less than the caller has: one server that is silent must not silence all.
            async with asyncio.timeout(self._settings.redis_timeout_s / 2), pipe:
                replies = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            replies = [error] * len(commands)
        except asyncio.CancelledError:
            self.doubt()
            raise
        for reply in replies:
            if isinstance(reply, ELSEWHERE):
                self.doubt()
                if isinstance(reply, MovedError):
                    self._first = (reply.host or place[0], int(reply.port))
        return replies

    async def _place(self, slot: int) -> Place:
        if self._doubted:
            await self._look()
        number = bisect.bisect_right(self._starts, slot) - 1
        if number < 0 or self._ranges[number][0] < slot:
            self.doubt()
            raise ClusterDownError("no server has this slot")
        return self._ranges[number][1]

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._lock:
            if not self._doubted or loop.time() - self._looked_at < MAP_AGE_MIN_S:
                return
            self._looked_at = loop.time()
            failed: Exception | None = None
            for place in self._whom_to_ask():
                try:
                    async with asyncio.timeout(MAP_ANSWERS_S):
                        found = await self._server(place).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
                except (RedisError, OSError, TimeoutError) as error:
                    failed = error
                    continue
                # First and last slot, then the master's host, port and more; no host stands for the one that was asked.
                ranges = sorted((first, last, who[0], who[1]) for first, last, who, *_replicas in found)
                self._starts = [first for first, *_ in ranges]
                self._ranges = [
                    (last, (host.decode() if host else place[0], int(port))) for _, last, host, port in ranges
                ]
                self._doubted, self._first = False, None
                return
            raise RedisConnectionError("no server of the cluster answers") from failed

    def _whom_to_ask(self) -> Iterable[Place]:
        known = list(dict.fromkeys([*self._servers, *self._url.places]))
        random.shuffle(known)  # one that is cut off from the others believes itself, and must not be believed for ever
        return dict.fromkeys([self._first, *known] if self._first else known)

    def _server(self, place: Place) -> Server:
        server = self._servers.get(place)
        if server is None:
            server = self._servers[place] = server_at(self._url.at(place), self._settings, self._retries)
        return server


class _Pipeline(AsyncCoreCommands):
    """Collects commands, as redis-py's own does."""

    _is_async_client: Literal[True] = True
    _event_dispatcher = EventDispatcher()

    def __init__(self, cluster: Cluster, transaction: bool) -> None:
        self._cluster = cluster
        self._transaction = transaction
        self._commands: list[_Command] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._commands = []

    def execute_command(self, *args: Any, **options: Any) -> Self:
        """Put a command in the pipeline."""
        self._commands.append(_Command(args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what was collected; the replies in order. Errors are raised, or stand in their places."""
        commands, self._commands = self._commands, []
        replies = await self._cluster.run(commands, transaction=self._transaction)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies


def _by_slot(commands: Sequence[_Command]) -> dict[int, list[int]]:
    """The places of commands in a pipeline, by slot."""
    of_slot: defaultdict[int, list[int]] = defaultdict(list)
    keyless: list[int] = []
    slot: int | None = None
    for number, (args, _) in enumerate(commands):
        if args[0] in KEYLESS:
            keyless.append(number)
            continue
        slot = key_slot(_key(args))
        of_slot[slot] += [*keyless, number]
        keyless = []
    if keyless:
        of_slot[0 if slot is None else slot] += keyless
    return of_slot


def _key(args: tuple[Any, ...]) -> bytes:
    key = args[args.index(b"STREAMS") + 1 if args[0] == "XREAD" else KEY_AT.get(args[0], 1)]
    return key if isinstance(key, bytes) else str(key).encode()
