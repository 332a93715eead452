"""What it costs that an answer waits for a replica: `python -m bench.wait`.

A master and its replica, both of which sync every write; groups of answers to the same game go with and without waiting
in turn, so that whatever else the machine does hits both. Printed are medians and the ratio of both, of each round.
"""

import argparse
import asyncio
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from bench.backstage import Hall
from quizcast.auth import Key, Keyring, Tokens
from quizcast.embedded import DataDir, find_redis, start_redis
from quizcast.live.redis import Live
from quizcast.live.submissions import AnswerTry, Reading, Submissions, Taken
from quizcast.settings import Settings

SIZES = (1, 16, 64)  # answers in a group: one by one, and as they come from a hall
GROUPS = 150  # of each kind in a round


async def costs(settings: Settings, game_id: str, people: Iterator[str], size: int, groups: int) -> list[float]:
    """Median ms of a group without waiting, and with."""
    took: tuple[list[float], list[float]] = ([], [])
    lives = [Live(msgspec.structs.replace(settings, redis_wait_replicas=replicas)) for replicas in (0, 1)]
    for number in range(2 * groups):
        live = lives[number % 2]
        tries = [AnswerTry(game_id, one, Reading(0, b"7")) for one in islice(people, size)]
        began = time.perf_counter()
        verdicts, _ = await Submissions(live).take_answers(live.keys.shard_of(game_id), tries)
        took[number % 2].append((time.perf_counter() - began) * 1000)
        if not all(isinstance(verdict, Taken) for verdict in verdicts):
            raise RuntimeError(f"not taken: {verdicts}")
    for live in lives:
        await live.close()
    return [statistics.median(some) for some in took]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wait", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--groups", type=int, default=GROUPS, help="of each kind in a round [%(default)s]")
    chosen = parser.parse_args()
    secret = "x" * 32
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        held.close()
        places = [DataDir(Path(folder) / name) for name in ("master", "replica")]
        options = ({"port": str(port)}, {"replicaof": f"127.0.0.1 {port}", "repl-diskless-sync-delay": "0"})
        servers = [start_redis(find_redis(), place, options=more) for place, more in zip(places, options, strict=True)]
        try:
            for server in servers:
                server.wait_ready()
            settings = Settings(redis_url=servers[0].url, redis_wait_replicas=0)
            hall = Hall(settings, Tokens(Keyring([Key("bench", secret)]), settings))
            while not hall.run(hall.live.client.wait(1, 1000)):
                pass
            for size in SIZES:
                rounds = []
                for _ in range(chosen.rounds):
                    hall.fill(2 * chosen.groups * size)
                    hall.open(0)
                    rounds.append(asyncio.run(costs(settings, hall.game_id, iter(hall.people), size, chosen.groups)))
                alone, waited = (statistics.median(column) for column in zip(*rounds, strict=True))
                ratios = sorted(after / before for before, after in rounds)
                spread = f"{statistics.median(ratios):.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                print(f"groups of {size:2}: {alone:.2f} ms, with a replica {waited:.2f} ms, {spread}")
            hall.close()
        finally:
            for server, place in zip(servers, places, strict=True):
                server.stop()
                place.release()


if __name__ == "__main__":
    main()
