"""Every process replaced in turn, as an update does it, while a crowd plays and others ask without pause."""

import asyncio
import itertools
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.client import Api, Game
from tests.faults.stage import Play, Stage
from tests.fix_nginx import Fronted
from tests.fix_tree import wait_until
from tests.fix_web import WEB, part_environment, start_part, stop_parts

GAP_MAX_S = 3.0  # without any answered request: as long as a stream may take to be back
ASKING = 16
TIMEOUT_S = 30.0
TIME_LIMIT_MS = 120_000
PLACES = 100_000  # in the game; its usual 10,000 are taken before the end where a machine is fast


class Availability:
    """What somebody saw who asked all the while: attempts that failed, by status or error, and the longest gap in s."""

    def __init__(self) -> None:
        self.asked = 0
        self.failed: Counter[str] = Counter()
        self.gap_s = 0.0
        self._at = 0.0

    def answered(self) -> None:
        """A request has succeeded."""
        now = time.monotonic()
        self.gap_s = max(self.gap_s, now - (self._at or now))
        self._at = now

    def __str__(self) -> str:
        failed = dict(self.failed) or "none"
        return f"{self.asked} answers and joins, {failed} failed, longest gap {self.gap_s * 1000:.0f} ms"


@contextmanager
def asking(url: str) -> Iterator[Availability]:
    """People who answer and join without pause, over connections that are kept; each time they have to succeed.

    An answer may be sent again by a proxy, a join may not.
    """
    seen, done = Availability(), threading.Event()

    async def ask(http: httpx.AsyncClient, path: str, body: dict[str, object], status: int) -> None:
        seen.asked += 1
        try:
            reply = await http.post(f"/api/v1{path}", json=body)
            why = "" if reply.status_code == status else f"{reply.status_code} {reply.text}"
        except httpx.TransportError as error:
            why = type(error).__name__
        if why:
            seen.failed[why] += 1
        else:
            seen.answered()

    async def person(game: Game, number: int) -> None:
        player = await game.join(f"P{number}")
        headers = {"Authorization": f"Bearer {player.token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:
            for turn in itertools.count():
                await ask(http, f"/games/{game.id}/answers", {"question": 0, "answer": 1}, 202)
                await ask(http, "/join", {"pin": game.pin, "nickname": f"P{number}x{turn}"}, 201)
                if done.is_set():
                    break

    async def everybody() -> None:
        async with Api(url) as api:
            game = await (await api.host()).game(max_participants=PLACES)
            await game.open(time_limit_ms=TIME_LIMIT_MS)
            await asyncio.gather(*(person(game, number) for number in range(ASKING)))

    thread = threading.Thread(target=asyncio.run, args=(everybody(),))
    thread.start()
    try:
        wait_until(lambda: seen.asked)
        yield seen
    finally:
        done.set()
        thread.join()


def test_an_installation_is_restarted_process_by_process_behind_nginx_and_nobody_notices(fronted: Fronted) -> None:
    logged = len(fronted.proxy.said())
    with asking(fronted.url) as seen:
        play = Play(fronted.url, questions=6)
        play.until_mid_question(0)
        for turn in range(4):
            fronted.stop(turn % WEB)
            fronted.start(turn % WEB)
        stop_parts([fronted.worker])
        fronted.worker = start_part(
            fronted.settings.data_dir / "worker.log", part_environment(fronted.settings), "worker"
        )
        report = play.report()
    statuses = Counter(re.findall(r'"status":(\d{3})', fronted.proxy.said()[logged:]))
    print(f"rolling restart behind nginx: {seen}; streams back after {report.resume_ms}; {dict(statuses)} in its log")
    assert report.ok, report.text()
    assert not report.retries
    assert not seen.failed, [line for line in fronted.proxy.said()[logged:].splitlines() if "while reading" in line]
    assert seen.gap_s < GAP_MAX_S
    assert statuses["200"] > 0
    assert not [status for status in statuses if status >= "500"]


def test_sighup_replaces_the_web_processes_under_load_and_nobody_notices(stage: Stage) -> None:
    titles = ("quizcast: web 0", "quizcast: web 1")
    before = {stage.tree.pid(title) for title in titles}
    with asking(stage.tree.url) as seen:
        play = Play(stage.tree.url, questions=4)
        play.until_mid_question(0)
        stage.tree.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(now := stage.tree.pids("quizcast: web")) == 2 and not before & set(now), 60)
        report = play.report()
    print(f"SIGHUP to serve: {seen}; streams back after {report.resume_ms}, answers sent again {report.retries}")
    assert report.ok, report.text()
    assert seen.gap_s < GAP_MAX_S
    # Without a proxy a connection that was being closed may take a request with it: sent again, it is one answer.
    assert seen.failed.keys() <= {"RemoteProtocolError", "ReadError", "WriteError"}
    assert seen.failed.total() <= 2
