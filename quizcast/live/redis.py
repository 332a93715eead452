"""The Redis client, the scripts, and every key with its type, content and life; floor 5.

Everything of a game lies in one slot: its keys carry the hash tag of its shard, so that a script may touch them
together on a cluster as well. What a script of `PROMISES` has done is told to somebody: with `redis_wait_replicas` only
once so many replicas have it too, so that a failover cannot take it back.
"""

import asyncio
import functools
import hashlib
import logging
import math
import time
import zlib
from collections.abc import Awaitable, Sequence
from importlib import resources
from typing import Any, TypeVar, cast

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quizcast.errors import RedisUnavailable
from quizcast.live.cluster import Cluster
from quizcast.live.servers import Server, master_of, server_at
from quizcast.metrics import CLOCK_STEPS, REDIS_ERRORS, REDIS_MEMORY, REDIS_MEMORY_MAX, REDIS_SECONDS
from quizcast.redisurl import Kind, RedisUrl
from quizcast.settings import Settings

RETRY_AFTER_S = 1.0
CHECK_LIFE_S = 60
CLOCK_STEP_MS = 10_000.0  # more than a reading can be late: that is what a clock was set by
SCRIPTS = ("advance", "answers", "joins", "look", "pin", "presence", "put_aside", "put_back", "remove", "seal")
PRELUDE = "whole"  # what stands ahead of each of them
BESIDE = "beside"  # and not of this one, which begins with its flags
PROMISES = frozenset({"advance", "answers", "joins", "remove", "seal"})
REPLICAS_WITHIN_MS = 1000  # a replica that is so far behind will not be there sooner for the next either

# What looks to the client like a dead line, and is not.
TOLD = {AuthenticationError: "it refuses the password, or wants one", MasterNotFoundError: "no Sentinel names a master"}

T = TypeVar("T")

log = logging.getLogger(__name__)


class Keys:
    """Builds every key. `{s3}` is the shard's hash tag; `G` stands for a game's id."""

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix = prefix
        self.shards = shards

    @functools.lru_cache(maxsize=10_000)  # noqa: B019 - a process has one of these for good
    def shard_of(self, game_id: str) -> int:
        """The shard a game lives on, for good: from 0 up to the number of shards."""
        return zlib.crc32(game_id.encode()) % self.shards

    def check(self, shard: int) -> str:
        """String: written to see whether the server takes writes."""
        return f"{self.prefix}{{s{shard}}}:check"

    def beside(self, key: str) -> str:
        """String: written after a script, in the slot of its keys, to see how far the replicas are."""
        return f"{self.prefix}{key[key.index('{') : key.index('}') + 1]}:beside"

    def pin(self, pin: str) -> str:
        """String: the id of the game that has this PIN now. Lives as long as the game takes joins."""
        return f"{self.prefix}pin:{pin}"

    def game(self, game_id: str) -> str:
        """Hash: `state` (MessagePack Game), `revision`, `epoch`, `offset`, and what the scripts check.

        Those are `phase`, `question`, `opens_at`, `until`, `sealed`, `sealed_for`, `shut`, `max`, `joins`, `scored`
        (index of the question scored last), and `event:*`, the data of the latest event of each kind for snapshots.
        """
        return self._of(game_id, "game")

    def quiz(self, game_id: str) -> str:
        """String: the quiz as it was when the game was created, JSON."""
        return self._of(game_id, "quiz")

    def log(self, game_id: str) -> str:
        """Stream: the kept events; ids are positions `epoch-offset`, one field, event name → data."""
        return self._of(game_id, "log")

    def people(self, game_id: str) -> str:
        """Hash: participant → `number:joined_at:nickname`."""
        return self._of(game_id, "people")

    def names(self, game_id: str) -> str:
        """Hash: skeleton of a nickname → participant."""
        return self._of(game_id, "names")

    def bans(self, game_id: str) -> str:
        """Set: banned participants, `name:` + skeletons of banned nicknames, and `gone:` + who was only kicked."""
        return self._of(game_id, "bans")

    def answers(self, game_id: str, question: int) -> str:
        """Hash: participant → `received_at:answer as JSON`."""
        return self._of(game_id, f"answers:{question}")

    def outcomes(self, game_id: str, question: int) -> str:
        """Hash: participant → MessagePack Standing after this question. Written once it is sealed."""
        return self._of(game_id, f"outcomes:{question}")

    def here(self, game_id: str) -> str:
        """Sorted set: participant → ms until which they count as connected."""
        return self._of(game_id, "here")

    def waiting(self, game_id: str) -> str:
        """Set: connected participants who have not answered the open question."""
        return self._of(game_id, "waiting")

    def done(self, game_id: str) -> str:
        """Set: participants who have answered the open question."""
        return self._of(game_id, "done")

    def reached(self, game_id: str) -> str:
        """Hash: process → `told_at:ms` from an event's stamp to the last of its streams, if that is long."""
        return self._of(game_id, "reached")

    def behind(self, game_id: str) -> str:
        """Hash: process → `told_at:count` of its streams that are behind with reading."""
        return self._of(game_id, "behind")

    def channel(self, game_id: str) -> str:
        """Sharded pub/sub channel: the game's messages, as in `wire.events.Message`."""
        return self._of(game_id, "channel")

    def due(self, shard: int) -> str:
        """Sorted set: games with an open question → ms at which it is to be closed."""
        return f"{self.prefix}{{s{shard}}}:due"

    def rows(self, shard: int) -> str:
        """Stream: rows on their way to Postgres (`wire.rows`). Entries go when they are committed, never before."""
        return f"{self.prefix}{{s{shard}}}:rows"

    def dead(self, shard: int) -> str:
        """Stream: rows that Postgres refused, with `reason`. They stay until somebody decides."""
        return f"{self.prefix}{{s{shard}}}:dead"

    def rung(self, shard: int) -> str:
        """String: a flush of this shard has been asked for; a short life, so that no lost job can silence it."""
        return f"{self.prefix}{{s{shard}}}:rung"

    def _of(self, game_id: str, what: str) -> str:
        return f"{self.prefix}{{s{self.shard_of(game_id)}}}:{game_id}:{what}"


class Live:
    """One process's door to Redis. Build it once; `close()` at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.key_prefix, settings.shards)
        self.client = new_client(settings)
        self._replicas = settings.replicas_waited_for
        self._sources = {name: _source(PRELUDE, name) for name in SCRIPTS}
        self._digests = {name: hashlib.sha1(source.encode()).hexdigest() for name, source in self._sources.items()}
        self._beside = _source(BESIDE)
        # Reckoned from this machine's uptime, so that a step of its clock changes nothing.
        self._ahead_ms = time.time() * 1000 - _uptime_ms()
        self._clock_known = False
        self.clock_steps = 0  # of the server's clock, that were noticed

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script by name. Raises `RedisUnavailable`; the scripts are safe to run again after that."""
        return await self.do(name, self._run(name, keys, args))

    async def _run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if self._replicas and name in PROMISES:
            return await self._promised(name, keys, args)
        try:
            return await self.client.evalsha(self._digests[name], len(keys), *keys, *args)
        except NoScriptError:  # the server was restarted or failed over
            return await self.client.eval(self._sources[name], len(keys), *keys, *args)

    async def _promised(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script, and wait until enough replicas have what it has done."""
        for command, what in (("EVALSHA", self._digests[name]), ("EVAL", self._sources[name])):
            # On one connection: WAIT speaks of what that has written. And it has to have written: a script that finds
            # its work done writes nothing, and those who have not been told of it may not be told too soon either.
            async with self.client.pipeline(transaction=False) as pipe:
                pipe.execute_command(command, what, len(keys), *keys, *args)
                reply, *written = await self._confirmed(pipe, keys[0])
            if not isinstance(reply, NoScriptError):
                break
        for one in (reply, *written):
            if isinstance(one, Exception):
                raise one
        self._enough(name, written[-1])
        return reply

    async def vouched(self, stream: str, entry_id: str) -> bool:
        """Return once replicas have a stream up to an entry that was read, as many as for a promise.

        False where the entry is gone: another worker has seen to it, or a failover took it back. Raises
        `RedisUnavailable`.
        """
        return not self._replicas or bool(await self.do("vouched", self._vouched(stream, entry_id)))

    async def _vouched(self, stream: str, entry_id: str) -> bool:
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.xrange(stream, entry_id, entry_id)  # of the server that the WAIT is for: it may be another by now
            there, *written = await self._confirmed(pipe, stream)
        for one in (there, *written):
            if isinstance(one, Exception):
                raise one
        self._enough("vouched", written[-1])
        return bool(there)

    async def _confirmed(self, pipe: Any, key: str) -> list[Any]:
        """What the commands of a pipeline give, and in the end how many replicas have what was written in that slot."""
        pipe.eval(self._beside, 1, self.keys.beside(key), CHECK_LIFE_S)
        pipe.wait(self._replicas, REPLICAS_WITHIN_MS)
        return list(await pipe.execute(raise_on_error=False))

    def _enough(self, name: str, replicas: int) -> None:
        if replicas < self._replicas:
            REDIS_ERRORS.labels("replicas").inc()
            log.warning("%s: %d of %d replicas have it in time", name, replicas, self._replicas)
            raise RedisUnavailable("too few replicas have it; send it again", retry_after_s=RETRY_AFTER_S)

    async def scripts(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run a script once for each (keys, args), all in one round trip; None for those whose server is away.

        Raises as `script` does when all of them are.
        """
        return list(await self.do(name, self._run_all(name, calls)))

    async def _run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> Any:
        digest = self._digests[name]
        async with self.client.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                pipe.evalsha(digest, len(keys), *keys, *args)
            replies = await pipe.execute(raise_on_error=False)
        for number, (keys, args) in enumerate(calls):
            if isinstance(replies[number], NoScriptError):
                replies[number] = await self._run(name, keys, args)
        return some(replies)

    async def do(self, name: str, command: Awaitable[Any] | Any) -> Any:
        """Await one command or pipeline, timed under `name`. Raises `RedisUnavailable`."""
        return await guarded(name, cast("Awaitable[Any]", command), self.settings.redis_timeout_s)

    def now(self) -> int:
        """The server's clock, that is Redis's, in ms since the epoch; as of the last `set_clock`."""
        return int(_uptime_ms() + self._ahead_ms)

    def set_clock(self, server_now_ms: float) -> float:
        """Take over a fresh reading of Redis's clock; the step, in ms, that it has made since the last: mostly 0."""
        before, self._ahead_ms = self._ahead_ms, server_now_ms - _uptime_ms()
        step_ms = self._ahead_ms - before if self._clock_known else 0.0
        self._clock_known = True
        if abs(step_ms) <= CLOCK_STEP_MS:
            return 0.0
        self.clock_steps += 1
        CLOCK_STEPS.inc()
        log.warning("the clock of Redis has made a step of %+.1f s", step_ms / 1000)
        return step_ms

    async def clock(self) -> int:
        """Redis's clock, in ms since the epoch. Raises `RedisUnavailable`."""
        seconds, micros = await self.do("time", self.client.time())
        return int(seconds * 1000 + micros // 1000)

    async def check(self) -> None:
        """Raises `RedisUnavailable` unless a server takes writes: one that is full still answers a ping.

        Of a cluster any: a part that is away is so for every process, and the games of the others go on.
        """
        await self.do("check", self._check())

    async def _check(self) -> None:
        async with self.client.pipeline(transaction=False) as pipe:
            for shard in range(self.keys.shards):
                pipe.set(self.keys.check(shard), "1", ex=CHECK_LIFE_S)
            some(await pipe.execute(raise_on_error=False))

    async def look(self) -> None:
        """Tell the metrics how much memory the server uses, of how much. Raises `RedisUnavailable`."""
        info = await self.do("info", self.client.info("memory"))
        REDIS_MEMORY.set(info.get("used_memory", 0))
        # Without a bound of its own it has the machine's.
        REDIS_MEMORY_MAX.set(info.get("maxmemory") or info.get("total_system_memory") or math.inf)

    async def close(self) -> None:
        """Give the connections back."""
        await self.client.aclose()


async def guarded(name: str, command: Awaitable[T], timeout_s: float) -> T:
    """Await a Redis call with its time bounded and measured, and its failures in quizcast's words."""
    with REDIS_SECONDS.labels(name).time():
        try:
            async with asyncio.timeout(timeout_s):
                return await command
        except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError) as error:
            REDIS_ERRORS.labels(type(error).__name__).inc()
            why = next((words for kind, words in TOLD.items() if isinstance(error, kind)), "")
            raise RedisUnavailable(why, retry_after_s=RETRY_AFTER_S) from error
        except RedisError as error:
            REDIS_ERRORS.labels(type(error).__name__).inc()
            log.warning("redis refused %s: %s", name, error)
            # Loading, failing over, out of memory, read-only: all of them pass, and nothing was done.
            raise RedisUnavailable(str(error).split(":", 1)[0], retry_after_s=RETRY_AFTER_S) from error


def some(replies: Sequence[Any]) -> list[Any]:
    """The replies of a pipeline, with None for errors; when there is nothing else, the first of those is raised."""
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    if errors and len(errors) == len(replies):
        raise errors[0]
    return [None if isinstance(reply, Exception) else reply for reply in replies]


def new_client(settings: Settings, *, retries: int = 1) -> Server | Cluster:
    """A client on `QUIZCAST_REDIS_URL`. A dropped connection is tried once more: every call here may be repeated."""
    url = RedisUrl.parse(settings.redis_url)
    if url.kind is Kind.CLUSTER:
        return Cluster(url, settings, retries)
    return master_of(url, settings, retries) if url.kind is Kind.SENTINEL else server_at(url.url, settings, retries)


def _uptime_ms() -> float:
    return time.monotonic() * 1000


def _source(*parts: str) -> str:
    folder = resources.files("quizcast.live").joinpath("lua")
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in parts)
