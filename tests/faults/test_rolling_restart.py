"""Every process replaced in turn, as an update does it, while a crowd plays and somebody answers without pause."""

import asyncio
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.client import Api
from tests.faults.stage import Play, Stage
from tests.fix_nginx import Fronted
from tests.fix_tree import wait_until
from tests.fix_web import WEB, part_environment, start_part, stop_parts

GAP_MAX_S = 1.0  # without any answered request: what a person does not notice
PACE_S = 0.005


class Availability:
    """What somebody saw who asked all the while: attempts that failed, by status or error, and the longest gap in s."""

    def __init__(self) -> None:
        self.asked = 0
        self.failed: Counter[str] = Counter()
        self.gap_s = 0.0

    def __str__(self) -> str:
        return f"{self.asked} answers, {dict(self.failed) or 'none'} failed, longest gap {self.gap_s * 1000:.0f} ms"


@contextmanager
def answering(url: str) -> Iterator[Availability]:
    """Give one answer again and again, over a connection that is kept; each time it has to be acknowledged."""

    async def begin() -> tuple[str, str]:
        async with Api(url) as api:
            game = await (await api.register()).game()
            player = await game.join("Ada")
            await game.open()
            await player.answered(0, 1)
            return game.id, player.token

    game_id, token = asyncio.run(begin())
    seen, done = Availability(), threading.Event()

    def answer() -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http:
            at = time.monotonic()
            while not done.is_set():
                seen.asked += 1
                try:
                    reply = http.post(f"/api/v1/games/{game_id}/answers", json={"question": 0, "answer": 1})
                    why = "" if reply.status_code == 202 else str(reply.status_code)
                except httpx.TransportError as error:
                    why = type(error).__name__
                if why:
                    seen.failed[why] += 1
                else:
                    seen.gap_s, at = max(seen.gap_s, time.monotonic() - at), time.monotonic()
                time.sleep(PACE_S)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_an_installation_is_restarted_process_by_process_behind_nginx_and_nobody_notices(fronted: Fronted) -> None:
    logged = len(fronted.proxy.said())
    with answering(fronted.url) as seen:
        play = Play(fronted.url, questions=2 + WEB)
        for number in range(WEB):
            play.until_mid_question(number)
            fronted.stop(number)
            fronted.start(number)
        play.until_mid_question(WEB)
        stop_parts([fronted.worker])
        fronted.worker = start_part(
            fronted.settings.data_dir / "worker.log", part_environment(fronted.settings), "worker"
        )
        report = play.report()
    statuses = Counter(re.findall(r'HTTP/1\.1" (\d{3})', fronted.proxy.said()[logged:]))
    print(f"rolling restart behind nginx: {seen}; streams back after {report.resume_ms}; {dict(statuses)} in its log")
    assert report.ok, report.text()
    assert not report.retries
    assert not seen.failed
    assert seen.gap_s < GAP_MAX_S
    assert statuses["200"] > 0
    assert not [status for status in statuses if status >= "500"]


def test_sighup_replaces_the_web_processes_under_load_and_nobody_notices(stage: Stage) -> None:
    titles = ("quizcast: web 0", "quizcast: web 1")
    before = {stage.tree.pid(title) for title in titles}
    with answering(stage.tree.url) as seen:
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
