"""What quizcast promises of a whole installation, on all cores, which servers and crowd share."""

import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bench.flush_lag import Lag, measure
from bench.tree import serve
from quizcast.embedded import Services
from quizcast.settings import Settings


def measured(rounds: int) -> dict[str, list[float]]:
    """Every figure by name, one value per round."""
    figures: dict[str, list[float]] = {}
    for number in range(rounds):
        print(f"promises, round {number + 1} of {rounds}", file=sys.stderr)
        for users in (1000, 2000):
            for name, value in demo(users).items():
                figures.setdefault(f"demo of {users:,}: {name}", []).append(value)
        for found in (memory(), flush()):
            for name, value in found.items():
                figures.setdefault(name, []).append(value)
        figures.setdefault("start of serve on existing data (s)", []).append(start())
    return figures


def demo(users: int) -> dict[str, float]:
    """One `quizcast demo --exit`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "quizcast", "demo", "--users", str(users), "--exit", "--json", str(report)]
        status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        found = json.loads(report.read_text())
    answers, events = found["answers"], found["events"]
    return {
        "push p99 (ms)": found["push_ms"]["p99"],
        "ack p99 (ms)": found["ack_ms"]["p99"],
        "events missed": events["missed"] + events["duplicated"] + events["out_of_order"],
        "answers lost": answers["accepted"] - answers["in_results"],
        "errors": answers["errors"] + answers["refused"],
        "exit status": status,
    }


def memory() -> dict[str, float]:
    """Memory of the whole tree with 1,000 participants, and what a further stream costs."""
    from quizcast.simulate import Address, Crowd, Host

    async def grow(url: str, look: list[tuple[int, float, float]]) -> None:
        address = await Address.resolve(url)
        host = await Host.register(address)
        question = {"kind": "true_false", "prompt": "Is it?", "correct": True}
        quiz_id = await host.create_quiz({"title": "Memory", "questions": [question]})
        game = await host.create_game(quiz_id, {})
        crowds = []
        for size in (1000, 2000):
            crowd = Crowd(address, size, quiz=host.quiz, nickname=f"{size} {{}}".format)
            await crowd.join(game.pin)
            await asyncio.sleep(2)
            crowds.append(crowd)
            look.append((sum(one.streams for one in crowds), tree.pss_mb(), tree.pss_mb("quizcast: web")))
        for crowd in crowds:
            await crowd.leave()
        await host.leave()

    seen: list[tuple[int, float, float]] = []
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "data") as tree:
        asyncio.run(grow(tree.url, seen))
    (few, whole, web), (many, _, more_web) = seen
    return {
        f"memory of the tree at {few:,} (MB)": whole,
        "memory of one further stream (KB)": (more_web - web) * 1024 / (many - few),
    }


def flush(per_second: int = 2000, seconds: int = 15) -> dict[str, float]:
    """Age of acknowledged answers when Postgres has them, at a steady rate."""
    with tempfile.TemporaryDirectory() as folder:
        keys = (f"bench:{secrets.token_urlsafe(32)}",)  # known to both: the crowd's tokens are made here
        settings = Settings(data_dir=Path(folder) / "data", keys=keys)
        with Services.start(settings) as services:
            urls = {"redis_url": services.redis_url, "database_url": services.database_url}
            settings = msgspec.structs.replace(settings, **urls)
            with serve(Path(folder) / "tree", env=settings.to_env()) as tree:
                lag: Lag = asyncio.run(measure(tree.url, settings, per_second=per_second, seconds=seconds))
    return {
        f"flush at {per_second:,}/s: p99 (ms)": lag.p99_ms,
        "flush: answers a second reached": lag.per_second,
        "flush: refused or not stored": lag.refused + lag.sent - lag.refused - lag.stored,
    }


def start() -> float:
    """Seconds from the command to `/readyz`, on a data directory that has been used."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with serve(data):
            time.sleep(0.5)
        with serve(data) as tree:
            return tree.ready_s
