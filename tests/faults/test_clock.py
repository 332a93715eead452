"""Clocks that are set by an hour in the middle of a question: Redis's, which counts, and the web processes' own."""

import asyncio
import time
from typing import Any

import pytest

from tests.client import Api, Player, good, problem
from tests.faults.stage import USERS, Play, metric, ready
from tests.faults.world import World

HOUR_S = 3600.0
ENDS_S = 3.0  # how long a question may outlive the step that ended it
QUESTION = {"kind": "true_false", "prompt": "Is water wet?", "correct": True, "time_limit_ms": 20_000}


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
async def test_a_step_of_redis_s_clock_ends_the_question_and_the_next_is_as_usual(world: World, by_s: float) -> None:
    tree = world.tree
    before = metric(tree, "quizcast_clock_steps_total")
    async with Api(tree.url) as api:
        game = await (await api.host()).game({"title": "Steps", "questions": [QUESTION] * 2}, lead_ms=100)
        people = [await game.join(f"Ada {number}") for number in range(USERS)]
        async with people[0].stream() as stream:
            await game.open()
            await asyncio.sleep(0.2)
            half = USERS // 2
            acked = [await said(player, 0) for player in people[:half]]
            world.redis.step_clock(by_s)
            began = time.monotonic()
            closed = await stream.get("closed")
            ended_s = time.monotonic() - began
            late = await people[-1].answer(0, True)
            assert problem(late) in ("question_closed", "question_not_open")
            status, told = ready(tree)
            await game.open()
            await asyncio.sleep(0.2)
            acked += [await said(player, 1) for player in people]
            asked = await stream.get("question", lambda data: data["index"] == 1)
            await game.close()
            result = await stream.get("result", lambda data: data["index"] == 1)
        await game.command("finish")
        results = await game.results_with(len(acked))
    steps = metric(tree, "quizcast_clock_steps_total") - before
    print(f"Redis's clock {by_s:+g} s: the question ended {ended_s:.2f} s later; /readyz {status} {told['checks']}")
    assert closed["reason"] == "time"
    assert ended_s < ENDS_S
    assert (status, told["checks"]["clock"]) == (200, "skewed")
    assert steps > 0
    assert asked["closes_at"] - asked["opens_at"] == QUESTION["time_limit_ms"]
    assert result["points"] > 900  # as fast as it was
    assert all(row["answers"][0]["points"] > 900 for row in results["ranking"] if row["answers"][0])
    assert stored(results) == {(receipt["question"], receipt["received_at"]) for receipt in acked}


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_a_step_of_our_own_clock_is_not_felt_by_those_who_play(world: World, by_s: float) -> None:
    """The host's access token has expired when the hour has passed: that is renewed."""
    play = Play(world.tree.url, questions=2)
    play.until_mid_question(0)
    world.ours.step_clock(by_s)
    report = play.report()
    status, told = ready(world.tree)
    print(f"our clock {by_s:+g} s: retries {report.retries}, ack {report.ack_ms}; /readyz {status} {told['checks']}")
    assert report.ok, report.text()
    assert not report.refusals
    assert (status, told["checks"]["clock"]) == (200, "skewed")


async def said(player: Player, question: int) -> dict[str, Any]:
    """The receipt of a right answer."""
    return good(await player.answer(question, True), 202)


def stored(results: dict[str, Any]) -> set[tuple[int, int]]:
    """Question and time of every answer in the results."""
    return {
        (answer["question"], answer["received_at"])
        for row in results["ranking"]
        for answer in row["answers"]
        if answer is not None
    }
