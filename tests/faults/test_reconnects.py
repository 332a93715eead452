"""5,000 streams cut at once: all come back soon, are refused only on purpose, and others are served meanwhile."""

import asyncio
import gc
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

from tests.faults.hall import Hall, Line
from tests.faults.stage import Stage

STREAMS = 5000
FILES = STREAMS + 500
OPENING = 200  # connections at once, at first
CALM_S = 1.0  # for what 5,000 arrivals leave to be done
BACK_S = 30.0
# From the moment at which a request was due to the end of its reply: by the clock, so that one that waits does not keep
# the next ones from being sent, and from a process of its own, which does not wait for the crowd's turn.
OTHERS_P99_MS = 250.0
EVERY_S = 0.02

# From the first line of its input to the end of that, asks for the state of the game, on a new connection each time;
# prints that it is ready, then statuses and times.
OTHERS = """
import asyncio, json, sys, uvloop
port, path, every_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
seen = []

async def ask(due):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    reply = await reader.read()
    seen.append((int(reply.split(b" ", 2)[1]), (asyncio.get_running_loop().time() - due) * 1000))
    writer.close()

async def main():
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    sys.stdin.readline()
    done = loop.run_in_executor(None, sys.stdin.read)
    began, asked = loop.time(), []
    while not done.done():
        due = began + len(asked) * every_s
        await asyncio.sleep(due - loop.time())
        asked.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*asked)
    print(json.dumps(seen))

uvloop.run(main())
"""


def test_five_thousand_streams_that_were_cut_are_back_soon(stage: Stage) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= FILES, f"the limit to open files has to be {FILES} at least"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_as_a_crowd, stage).result()
    finally:
        gc.unfreeze()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _as_a_crowd(stage: Stage) -> None:
    """In a thread of its own, which is to give way to the servers."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_cut_and_come_back(stage))


async def _cut_and_come_back(stage: Stage) -> None:
    hall = Hall(stage)
    await hall.fill(STREAMS + 1)
    *tokens, another = hall.tokens
    await hall.tell()
    door = asyncio.Semaphore(OPENING)

    async def opened(token: str) -> Line:
        async with door:
            return await hall.stream(token, hall.before)

    hall.begin()
    lines = await asyncio.gather(*map(opened, tokens))
    assert {line.status for line in lines} == {200}

    words = [sys.executable, "-c", OTHERS, str(hall.port), f"/api/v1/games/{hall.game.id}/state?token={another}"]
    words.append(str(EVERY_S))
    others = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert others.stdin is not None
    assert others.stdout is not None
    assert await others.stdout.readline() == b"ready\n"
    refused: Counter[str] = Counter()
    pids = stage.tree.pids("web")
    await asyncio.sleep(CALM_S)
    gc.collect()
    gc.freeze()  # the crowd's own pauses are nobody's on the server
    # 5,000 phones do not run on the server's cores. Who asks meanwhile was started before, and waits for nobody here.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
    used_s = _cpu_s(pids)
    others.stdin.write(b"ask\n")
    for line in lines:
        line.hang_up()
    cut_at = time.monotonic()
    await hall.tell()  # while they are away
    again = await asyncio.gather(
        *(_back(hall, token, line, refused) for token, line in zip(tokens, lines, strict=True))
    )
    used_s = _cpu_s(pids) - used_s
    back_s = sorted(at - cut_at for _, at in again)
    told, _ = await others.communicate(b"")
    await hall.tell()
    for line, _ in again:
        await line.until(hall.told[-1])
        assert line.ids == hall.told
        line.hang_up()
    await hall.close()
    seen = json.loads(told)
    times = sorted(ms for _, ms in seen)
    statuses = Counter(status for status, _ in seen)
    p50_ms, p99_ms = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(
        f"{STREAMS} streams cut at once: half are back after {back_s[len(back_s) // 2]:.1f} s, all after "
        f"{back_s[-1]:.1f} s; {used_s / STREAMS * 1000:.2f} ms of CPU each; refused {dict(refused)}; "
        f"{len(seen)} other requests: p50 {p50_ms:.0f} ms, "
        f"p99 {p99_ms:.0f} ms, {dict(statuses)}"
    )
    assert back_s[-1] < BACK_S
    assert set(refused) <= {"503"}
    assert set(statuses) == {200}
    assert p99_ms < OTHERS_P99_MS


async def _back(hall: Hall, token: str, line: Line, refused: Counter[str]) -> tuple[Line, float]:
    """As an EventSource does it: after the pause that the server named, with the last id."""
    pause_s = line.retry_ms / 1000
    while True:
        await asyncio.sleep(pause_s)
        try:
            again = await hall.stream(token, hall.before)
        except OSError as error:
            again, name = None, type(error).__name__
        if again is not None and again.status == 200:
            return again, time.monotonic()
        refused[str(again.status) if again else name] += 1
        pause_s = random.uniform(1, 3)


def _cpu_s(pids: Iterable[int]) -> float:
    """What these processes have used so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")
