"""The OpenAPI document, taken at its word by schemathesis: all its checks, good and bad data, alone and in sequences.

No 5xx, no status, header, type or body that the document does not know, no bad data that is taken, no route that
forgets to ask who calls. Streams do not end, so theirs are those of a game that is over.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from quizcast.web.app import BASE
from tests.client import Api
from tests.fix_web import Site
from tests.hostile.effort import EFFORT, SEARCHING

EXAMPLES = 5  # for each route in the random phases; with those that try each constraint it is some 2,400 requests
RUN_MAX_S = 400 * EFFORT  # it takes a minute on a quiet machine


async def test_the_server_does_what_its_document_says_and_nothing_else(site: Site, api: Api, tmp_path: Path) -> None:
    host = await api.register()
    game, over = await host.game(), await host.game()
    ada = await game.join("Ada")
    await over.open()
    await over.close()
    await over.command("finish")
    screen = await game.screen()
    await game.open()
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(host=host.token, player=ada.token, screen=screen, game=game.id, over=over.id))
    run = await asyncio.to_thread(
        subprocess.run,
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", config),
            *("run", f"{site.url}{BASE}/openapi.json", "--checks", "all", "--continue-on-failure"),
            *("--max-examples", str(EXAMPLES * EFFORT), "--workers", "1", "--request-timeout", "10"),
            *("--report", "json", "--report-json-path", tmp_path / "report.json"),
            *(() if SEARCHING else ("--seed", "1", "--generation-deterministic")),
        ],
        cwd=tmp_path,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_MAX_S,
        text=True,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout


CONFIG = """
headers = {{ Authorization = "Bearer {host}" }}

[checks.positive_data_acceptance]
# 422 too: that exactly one choice is right, or what makes a nickname, is more than a schema can say.
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422, 429]

[[operations]]
include-path = "/api/v1/games/{{game_id}}/answers"
headers = {{ Authorization = "Bearer {player}" }}
parameters = {{ game_id = "{game}" }}

[[operations]]
include-path = "/api/v1/games/{{game_id}}/state"
headers = {{ Authorization = "Bearer {screen}" }}
parameters = {{ game_id = "{game}" }}

[[operations]]
include-path = "/api/v1/games/{{game_id}}/events"
parameters = {{ game_id = "{over}" }}
"""
