"""From the 202 to the row: how old an acknowledged answer is when Postgres has it, at a steady rate.

A game of many participants, one open question; connections that stay open post one answer per participant at the given
rate. Meanwhile the rows are counted. The k-th answer to be acknowledged is taken for stored when k rows are: answers
travel in order, so that is what happens to within a batch.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import LiteralString

import msgspec
import psycopg

from bench.backstage import join
from quizcast.auth import Keyring, Kind, Tokens
from quizcast.live.redis import Live
from quizcast.settings import Settings
from quizcast.simulate import Address, Host
from quizcast.simulate.calls import Connection
from quizcast.simulate.client import with_body

POLL_S = 0.05
SETTLE_S = 20.0
COUNT_ANSWERS = "SELECT count(*) FROM answers WHERE game_id = %s"
COUNT_PARTICIPANTS = "SELECT count(*) FROM participants WHERE game_id = %s"


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Answers sent and refused, the rate that was reached (a second), and the ages in ms."""

    sent: int
    refused: int
    per_second: float
    stored: int
    p50_ms: float
    p99_ms: float
    max_ms: float


async def measure(url: str, settings: Settings, *, per_second: int, seconds: int, connections: int = 64) -> Lag:
    """Post answers for `seconds`. `settings` are those of the server: its keys, its Redis, its database."""
    address = await Address.resolve(url)
    host = await Host.register(address)
    people = per_second * seconds
    question = {"kind": "numeric", "prompt": "How many?", "correct": 7, "tolerance": 3, "time_limit_ms": 600_000}
    quiz_id = await host.create_quiz({"title": "Flush", "questions": [question]})
    options = {"max_participants": 100_000, "lead_ms": 0, "close_when_all_answered": False}
    game = await host.create_game(quiz_id, options)
    tokens = Tokens(Keyring.load(settings), settings)
    who = await _join(settings, game.id, people)
    await host.open(0)
    answers = [_request(address, game.id, tokens.mint(Kind.PARTICIPANT, one, game.id)) for one in who]
    acked: list[float] = []
    refused = 0

    async def post(line: Connection, mine: Sequence[tuple[float, bytes]], began: float) -> None:
        nonlocal refused
        for at, request in mine:
            if (ahead := began + at - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            reply = await line.ask(request)
            if reply is not None and reply.status == 202:
                acked.append(time.monotonic())
            else:
                refused += 1

    counted: list[tuple[float, int]] = []
    await asyncio.wait_for(_count(settings, COUNT_PARTICIPANTS, game.id, people, []), SETTLE_S)
    watching = asyncio.create_task(_count(settings, COUNT_ANSWERS, game.id, people, counted))
    began = time.monotonic() + 0.5
    plan = [(place / per_second, request) for place, request in enumerate(answers)]
    lines = [Connection(address) for _ in range(connections)]
    await asyncio.gather(*(post(line, plan[place::connections], began) for place, line in enumerate(lines)))
    took_s = time.monotonic() - began
    await asyncio.wait([watching], timeout=SETTLE_S)
    watching.cancel()
    for line in lines:
        line.close()
    await host.leave()
    ages = sorted(_ages(sorted(acked), counted))
    return Lag(
        sent=people,
        refused=refused,
        per_second=len(acked) / took_s,
        stored=counted[-1][1],
        p50_ms=ages[len(ages) // 2],
        p99_ms=ages[int(len(ages) * 0.99)],
        max_ms=ages[-1],
    )


async def _join(settings: Settings, game_id: str, people: int) -> list[str]:
    live = Live(settings)
    who = [f"p{number}" for number in range(people)]
    await join(live, game_id, who)
    await live.close()
    return who


def _request(address: Address, game_id: str, token: str) -> bytes:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    head = address.head("POST", f"/api/v1/games/{game_id}/answers", headers)
    return with_body(head, b'{"question":0,"answer":7}')


async def _count(
    settings: Settings, query: LiteralString, game_id: str, expected: int, counted: list[tuple[float, int]]
) -> None:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        while not counted or counted[-1][1] < expected:
            cursor = await conn.execute(query, (game_id,))
            row = await cursor.fetchone()
            counted.append((time.monotonic(), row[0] if row else 0))
            await asyncio.sleep(POLL_S)


def _ages(acked: Sequence[float], counted: Sequence[tuple[float, int]]) -> list[float]:
    ages, place = [], 0
    for at, count in counted:
        while place < min(count, len(acked)):
            ages.append(max(0.0, at - acked[place]) * 1000)
            place += 1
    return ages
