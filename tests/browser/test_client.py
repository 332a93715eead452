"""`quizcast.js` in a real browser: what it promises, on the good days."""

import random
from typing import Any

import pytest

from tests.client import Api
from tests.fix_browser import Phone

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What a fresh client would see, beside what this one has come to. Who was listening knows a little more.
AS_FRESH = """async () => {
  const state = await call(game.server, "GET", `/games/${game.gameId}/state`, { token: game.token });
  const known = { ...game.view, progress: null, joined: [] };
  const fresh = { ...fold(EMPTY, "snapshot", state), progress: null };
  const sorted = (view) => JSON.stringify(view, (_, part) => part && typeof part === "object" && !Array.isArray(part)
    ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1))) : part);
  return [sorted(known), sorted(fresh)];
}"""


async def same_as_fresh(phone: Phone) -> None:
    known = fresh = ""
    for _ in range(50):
        known, fresh = await phone.page.evaluate(AS_FRESH)
        if known == fresh:
            return
        await phone.page.wait_for_timeout(100)
    assert known == fresh


async def test_a_page_of_another_site_plays_a_whole_game(phone: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    assert await phone.get("game.view.me.nickname") == "Ada"
    assert await phone.get("game.connection.state") == "live"
    await game.open()
    await phone.until("game.view.phase === 'question'")
    entry = await phone.get("outbox.answer(0, 1)")
    assert (entry["state"], entry["receivedAt"]) == ("sending", None)
    await phone.until("outbox.get(0).state === 'received'")
    assert await phone.get("game.view.me.answered")
    await game.close()
    await phone.until("game.view.result !== null")
    assert await phone.get("[game.view.result.correct, game.view.result.answer]") == [True, 1]
    await game.command("leaderboard")
    await phone.until("game.view.leaderboard !== null")
    await game.command("finish")
    await phone.until("game.connection.state === 'over'")
    assert await phone.get("game.view.finished.top[0].nickname") == "Ada"


async def test_the_page_in_the_guide_plays_a_game_and_keeps_the_participant_over_a_reload(
    phone: Phone, hall_api: Api
) -> None:
    game = await (await hall_api.host()).game()
    page = phone.page
    await page.goto(f"{phone.site}/player.html?server={phone.server}&pin={game.pin}&name=Ada")
    await page.get_by_text("Get ready").wait_for()
    await page.reload()
    await game.open()
    await page.get_by_role("button", name="four").click()
    await page.get_by_text("Received").wait_for()
    assert await page.get_by_role("button", name="three").is_disabled()
    await game.close()
    await page.get_by_text("points, place 1").wait_for()
    await game.command("finish")
    await page.get_by_text("Ada has won").wait_for()
    assert (await game.call("GET", "")).json()["participants"] == 1


@pytest.mark.parametrize("seed", range(3))
async def test_the_snapshot_with_all_events_folded_onto_it_is_the_state_read_fresh(
    phone: Phone, hall_api: Api, seed: int
) -> None:
    chance = random.Random(seed)
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await same_as_fresh(phone)
    for index in range(2):
        if chance.random() < 0.7:
            await game.join(f"Guest {index}")
        await game.open()
        await phone.until(f"game.view.index === {index}")
        await same_as_fresh(phone)
        if chance.random() < 0.7:
            await phone.page.evaluate(f"outbox.answer({index}, {['1', 'true'][index]})")
            await phone.until(f"outbox.get({index}).state === 'received'")
            await same_as_fresh(phone)
        await game.close()
        await phone.until("game.view.result !== null")
        await same_as_fresh(phone)
        if chance.random() < 0.7:
            await game.command("leaderboard")
            await same_as_fresh(phone)
    await game.command("finish")
    await phone.until("game.view.phase === 'finished'")
    await same_as_fresh(phone)
    assert await phone.get("named('snapshot').length") == 1


async def test_the_first_answer_stands_while_it_is_under_way(phone: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await game.open()
    await phone.until("game.view.phase === 'question'")
    assert await phone.get("[outbox.answer(0, 1).value, outbox.answer(0, 0).value]") == [1, 1]
    await phone.until("outbox.get(0).state === 'received'")
    assert await phone.get("outbox.answer(0, 0).value") == 1
    found = await game.results_with(1)
    assert [row["answers"][0]["answer"] for row in found["ranking"]] == [1]


async def test_an_answer_that_does_not_fit_is_refused_and_can_be_given_anew(phone: Phone, hall_api: Api) -> None:
    phone.faulty = True
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await game.open()
    await phone.until("game.view.phase === 'question'")
    await phone.get("outbox.answer(0, 'nonsense')")
    await phone.until("outbox.get(0).state === 'refused'")
    assert await phone.get("outbox.get(0).code") == "answer_invalid"
    await phone.get("outbox.answer(0, 1)")
    await phone.until("outbox.get(0).state === 'received'")


async def test_an_answer_given_too_early_is_taken_when_the_question_opens(phone: Phone, hall_api: Api) -> None:
    phone.faulty = True
    game = await (await hall_api.host()).game(lead_ms=1500)
    await phone.join(game, "Ada")
    await phone.play()
    await phone.get("outbox.answer(0, 1)")  # not even pushed yet: refused as such, and sent again
    await phone.page.wait_for_timeout(500)
    assert await phone.get("outbox.get(0).state") == "sending"
    await game.open()
    await phone.until("outbox.get(0).state === 'received'")
    assert await phone.get("outbox.get(0).receivedAt >= game.view.question.opens_at")


async def test_no_clock_of_the_phone_matters(phone: Phone, hall_api: Api) -> None:
    wrong = """
      const right = Date.now;
      window.wrongBy = -86_400_000;
      Date.now = () => right() + window.wrongBy;
      window.truly = right;
    """
    await phone.page.add_init_script(wrong)
    await phone.open()
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    assert abs(await phone.get("game.now() - truly()")) < 250
    before = await phone.get("game.now()")
    await phone.get("window.wrongBy = 3_600_000")
    assert 0 <= await phone.get("game.now()") - before < 5000
    await game.open()
    await phone.until("game.view.phase === 'question' && game.now() >= game.view.question.opens_at")
    assert abs(await phone.get("game.now() - truly()")) < 250


async def test_the_clock_never_goes_back(phone: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    watched = """new Promise((resolve) => {
      let last = -Infinity, back = 0;
      const timer = setInterval(() => { const now = game.now(); back += now < last; last = now; }, 1);
      setTimeout(() => { clearInterval(timer); resolve(back); }, 2500);
    })"""
    assert await phone.get(watched) == 0


async def test_two_tabs_of_one_participant_are_one_participant(open_phone: Any, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    one, other = await open_phone(), await open_phone()
    one.faulty = other.faulty = True
    await one.join(game, "Ada")
    other.options = one.options
    await one.play()
    await other.play()
    await game.open()
    await one.until("game.view.phase === 'question'")
    await other.until("game.view.phase === 'question'")
    await one.get("outbox.answer(0, 1)")
    await other.get("outbox.answer(0, 0)")
    await one.until("outbox.get(0).state !== 'sending'")
    await other.until("outbox.get(0).state !== 'sending'")
    found = await game.results_with(1)
    (answer,) = [row["answers"][0]["answer"] for row in found["ranking"]]
    for phone in (one, other):
        await phone.until(f"game.view.me.answer === {answer} && outbox.get(0).value === {answer}")


async def test_two_phones_that_answer_differently_are_told_which_answer_counts(phone: Phone, hall_api: Api) -> None:
    phone.faulty = True
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await game.open()
    await phone.until("game.view.phase === 'question'")
    body = {"question": 0, "answer": 0}
    taken = await hall_api.call("POST", f"/games/{game.id}/answers", phone.options["token"], json=body)
    assert taken.status_code == 202
    await phone.get("outbox.answer(0, 1)")
    await phone.until("outbox.get(0).state === 'refused'")
    assert await phone.get("[outbox.get(0).code, outbox.get(0).value, game.view.me.answer]") == [
        "already_answered",
        0,
        0,
    ]


async def test_a_kicked_participant_is_told_and_asks_no_more(phone: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await game.call("DELETE", f"/participants/{phone.options['participantId']}")
    await phone.until("game.connection.state === 'refused'")
    assert await phone.get("[game.connection.code, game.view.kicked.reason]") == ["kicked", "kicked"]
    asked: list[str] = []
    phone.page.on("request", lambda request: asked.append(request.url))
    await phone.page.wait_for_timeout(2000)
    assert asked == []


async def test_a_token_that_is_not_taken_ends_it_unless_it_can_be_renewed(phone: Phone, hall_api: Api) -> None:
    phone.faulty = True
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    token, phone.options["token"] = phone.options["token"], "nonsense"
    await phone.page.evaluate("(options) => play(options)", phone.options)
    await phone.until("game.connection.state === 'refused'")
    assert await phone.get("game.connection.code") == "token_invalid"
    renewing = "([options, token]) => play({ ...options, renew: async () => token })"
    await phone.page.evaluate(renewing, [phone.options, token])
    await phone.until("game.connection.state === 'live'")
    assert await phone.get("game.token") == token


async def test_a_game_that_nobody_knows_ends_it(phone: Phone, hall_api: Api) -> None:
    phone.faulty = True
    host = await hall_api.register()
    await phone.page.evaluate(
        "(options) => play(options)", {"server": phone.server, "gameId": "x", "token": host.token}
    )
    await phone.until("game.connection.state === 'refused'")
    assert await phone.get("game.connection.code") == "game_unknown"


async def test_who_opens_a_game_that_is_over_sees_its_end(phone: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await game.open()
    await game.close()
    await game.command("finish")
    await phone.page.wait_for_timeout(1500)
    await phone.play()
    await phone.until("game.connection.state === 'over'")
    assert await phone.get("game.view.finished.top[0].nickname") == "Ada"


async def test_stopped_and_started_it_goes_on_with_one_stream(phone: Phone, hall_api: Api) -> None:
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await game.open()
    await phone.until("game.view.phase === 'question'")
    await phone.get("(game.stop(), game.start(), game.stop(), game.start())")
    await game.close()
    await phone.until("game.view.result !== null")
    await phone.page.wait_for_timeout(500)
    assert await phone.get("[named('closed').length, named('snapshot').length]") == [1, 1]


async def test_a_browser_that_forbids_storage_plays_all_the_same(phone: Phone, hall_api: Api) -> None:
    forbid = (
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    await phone.page.add_init_script(forbid)
    await phone.open()
    game = await (await hall_api.host()).game()
    await phone.join(game, "Ada")
    await phone.play()
    await game.open()
    await phone.until("game.view.phase === 'question'")
    await phone.get("outbox.answer(0, 1)")
    await phone.until("outbox.get(0).state === 'received'")


async def test_a_host_leads_a_game_by_commands_that_act_once(phone: Phone, hall_api: Api) -> None:
    phone.faulty = True
    game = await (await hall_api.host()).game()
    who = {"server": phone.server, "gameId": game.id, "token": game.host.token}
    lead = """async ({ server, gameId, token }) => {
      const key = newKey();
      const first = await command(server, gameId, "open", undefined, { token, key });
      await command(server, gameId, "close", undefined, { token });
      const again = await command(server, gameId, "open", undefined, { token, key });
      const wrong = await command(server, gameId, "open", { question: 99 }, { token }).catch((error) => error);
      return [first.phase, again.phase, wrong instanceof ApiError, wrong.status, wrong.code, wrong.temporary];
    }"""
    assert await phone.page.evaluate(lead, who) == ["question", "closed", True, 409, "no_more_questions", False]


async def test_a_call_can_be_called_off(phone: Phone) -> None:
    off = """async (server) => {
      const stopper = new AbortController();
      const asked = call(server, "GET", "/openapi.json", { signal: stopper.signal }).catch((error) => error.name);
      stopper.abort();
      return asked;
    }"""
    assert await phone.page.evaluate(off, phone.server) == "AbortError"
