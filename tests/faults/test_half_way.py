"""Phones whose line breaks half-way: the answer has arrived, its receipt has not."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.client import Api, refused
from tests.faults.proxy import Proxy
from tests.faults.stage import USERS, Play, Stage
from tests.fix_tree import wait_until
from tests.fix_web import start_part, stop_parts

MUTE_S = 0.3


async def test_an_answer_whose_receipt_was_lost_is_given_to_another_process_and_counts_once(
    stage: Stage, tmp_path: Path
) -> None:
    door = tmp_path / "web.sock"
    env = stage.env | {"QUIZCAST_DATA_DIR": str(stage.tree.data_dir)}  # where the keys of the tokens are
    web = start_part(tmp_path / "web.log", env, "web", "--uds", str(door))
    try:
        wait_until(door.exists)
        with Proxy(str(door)) as line:
            async with Api(stage.tree.url) as api, Api(f"http://127.0.0.1:{line.port}") as phone:
                game = await (await api.host()).game()
                ada = await game.join("Ada")
                async with game.stream() as stream:
                    await game.open()
                    line.mute = True
                    body = {"question": 0, "answer": 1}
                    sending = asyncio.create_task(phone.call("POST", f"/games/{game.id}/answers", ada.token, json=body))
                    await stream.get("progress", lambda seen: seen["answered"] == 1)
                line.cut()
                with pytest.raises(httpx.TransportError):
                    await sending
                receipt = await ada.answered(0, 1)
                assert receipt["duplicate"] is True
                assert refused(await ada.answer(0, 0)) == (409, "already_answered")
                await game.close()
                (row,) = (await game.results_with(1))["ranking"]
    finally:
        stop_parts([web])
    assert [one["received_at"] for one in row["answers"] if one] == [receipt["received_at"]]


def test_every_line_breaks_in_the_burst_of_answers_and_each_answer_counts_once(stage: Stage) -> None:
    with Proxy(("127.0.0.1", stage.tree.port)) as line:
        play = Play(f"http://127.0.0.1:{line.port}")
        for index in range(2):
            play.until_mid_question(index)
            line.mute = True
            time.sleep(MUTE_S)  # a third of the answers arrive, and nobody learns of it
            line.mute = False
            line.cut()
        report = play.report()
    print(f"all lines cut half-way, twice: back after {report.resume_ms}, answers sent again {report.retries}")
    assert report.ok, report.text()
    assert report.retries["receipt lost"] > USERS // 10
