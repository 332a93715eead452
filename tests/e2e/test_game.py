"""Whole games over real HTTP and SSE, against the contract."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from tests.client import PATIENT, QUIZ, Api, Event, Game, Host, Player, good, refused

CHOICES = [{"text": "red"}, {"text": "green", "correct": True}, {"text": "blue", "correct": True}]
EVERY_KIND: dict[str, Any] = {
    "title": "One of each",
    "questions": [
        {**QUIZ["questions"][0], "media_url": "https://example.org/four.png"},
        {"kind": "multiple", "prompt": "Cold colours?", "choices": CHOICES},
        {"kind": "true_false", "prompt": "Is fire cold?", "correct": False, "points": 0},
        {"kind": "numeric", "prompt": "Bones?", "correct": 206, "tolerance": 10, "min": 0, "max": 1000},
        {"kind": "text", "prompt": "Capital of France?", "accepted": ["Paris"]},
        {"kind": "order", "prompt": "Smallest first", "items": ["ant", "cat", "cow"]},
        {"kind": "poll", "prompt": "Tea or coffee?", "choices": [{"text": "tea"}, {"text": "coffee"}]},
        {"kind": "word_cloud", "prompt": "How was it?"},
    ],
}
RIGHT: list[Any] = [1, [1, 2], False, 206, " PARIS ", None, 0, "good"]  # of `order` it depends on the shuffle
WRONG: list[Any] = [0, [0], True, 300, "Lyon", None, 1, "bad"]

# What the contract names: fields that are always there, and fields that may be.
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "snapshot": (
        {"phase", "question_index", "question_count", "participants", "server_now_at"},
        {"question", "progress", "closed", "result", "leaderboard", "me", "pin", "title", "question_on"},
    ),
    "question": (
        {"index", "count", "kind", "prompt", "points", "opens_at", "closes_at", "server_now_at"},
        {"choices", "media_url", "min", "max"},
    ),
    "extended": ({"index", "closes_at", "server_now_at"}, set()),
    "closed": ({"index", "reason", "correct", "counts", "server_now_at"}, {"explanation"}),
    "result": ({"index", "correct", "points", "score", "rank", "streak", "answer"}, set()),
    "leaderboard": ({"top", "participants", "server_now_at"}, set()),
    "finished": ({"top", "participants", "questions", "server_now_at"}, set()),
    "lobby": ({"participants", "joined"}, set()),
    "progress": ({"index", "answered", "eligible"}, set()),
    "heartbeat": ({"server_now_at", "last_id"}, set()),
    "kicked": ({"reason"}, set()),
    "reset": ({"reason"}, set()),
    "drain": ({"retry_ms"}, set()),
}
KEPT = {"question", "extended", "closed", "leaderboard", "finished"}
PLACE = {"rank", "participant_id", "nickname", "score", "gained"}


def hold_to_the_contract(events: list[Event]) -> None:
    """Every event has the contract's fields and no others that are not known; ids are on kept events alone."""
    for event in events:
        always, sometimes = FIELDS[event.name]
        assert always <= event.data.keys() <= always | sometimes, event
        assert bool(event.id) == (event.name in KEPT), event
        for place in event.data.get("top", ()):
            assert place.keys() == PLACE
        if event.name == "question":
            assert not {"correct", "accepted", "tolerance", "items", "explanation"} & event.data.keys()
            assert all(choice.keys() == {"text"} for choice in event.data.get("choices", ()))


async def play(game: Game, *answers: tuple[Player, Any]) -> None:
    """Play the next question: open, answer, close."""
    index = (await game.open())["question_index"]
    for player, answer in answers:
        await player.answered(index, answer)
    await game.close()


# ── a game from end to end ────────────────────────────────────────────────────────────────────────────────────


async def test_a_game_of_every_kind_of_question_is_played_as_the_contract_says(api: Api) -> None:
    host = await api.register()
    game = await host.game(EVERY_KIND, speed_scoring=False)
    assert game.view.keys() == {
        *("id", "pin", "quiz_id", "join_url", "phase", "question_index", "question_count", "participants"),
        *("locked", "options", "created_at", "title"),
    }
    assert game.view["options"].keys() == {
        *("max_participants", "speed_scoring", "streak_bonus", "close_when_all_answered", "late_join"),
        *("lead_ms", "grace_ms", "question_on"),
    }
    assert len(game.pin) == 6
    assert game.pin.isdigit()
    assert game.view["phase"] == "lobby"
    ada, bob = await game.join("Ada"), await game.join("Bob")
    assert ada.joined.keys() == {"game_id", "participant_id", "nickname", "token", "events_url", "answers_url"}
    async with ada.stream() as to_ada, bob.stream() as to_bob, game.stream() as to_host:
        for stream in (to_ada, to_bob, to_host):
            first = await stream.get("snapshot")
            assert stream.events[0].name == "snapshot"
            assert first["phase"] == "lobby"
            assert first["participants"] == 2
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["connection"] == "close"  # the line ends with the stream: nothing more is sent on it
        for index, question in enumerate(EVERY_KIND["questions"]):
            opened = await game.open()
            assert (opened["phase"], opened["question_index"]) == ("question", index)
            asked = await to_ada.get("question")
            assert (asked["index"], asked["count"]) == (index, 8)
            assert (asked["kind"], asked["prompt"]) == (question["kind"], question["prompt"])
            right, wrong = RIGHT[index], WRONG[index]
            if asked["kind"] == "order":
                shown = [choice["text"] for choice in asked["choices"]]
                assert sorted(shown) == question["items"]
                right = [shown.index(item) for item in question["items"]]
                wrong = right[::-1]
            receipt = await ada.answered(index, right)
            assert receipt.keys() == {"question", "received_at", "duplicate"}
            await bob.answered(index, wrong)
            assert (await game.close())["phase"] == "closed"
            closed = await to_ada.get("closed")
            assert closed["reason"] == "host"
            good_for = question["kind"] not in ("poll", "word_cloud")
            result = await to_ada.get("result")
            assert result["index"] == index
            assert result["correct"] is (True if good_for else None)
            assert result["answer"] == (right if asked["kind"] != "text" else "PARIS")
            his = await to_bob.get("result")
            assert his["correct"] is (False if good_for else None)
            names = [event.name for event in to_ada.events if event.name in ("closed", "result")]
            assert names == ["closed", "result"] * (index + 1)
            shown_board = await game.command("leaderboard", limit=1)
            assert shown_board["phase"] == "closed"
            board = await to_host.get("leaderboard")
            assert len(board["top"]) == 1
            assert board["participants"] == 2
            assert board["top"][0]["participant_id"] == ada.id
        assert (await game.command("finish"))["phase"] == "finished"
        finished = await to_bob.get("finished")
        assert finished["questions"] == 8
        assert [place["nickname"] for place in finished["top"]] == ["Ada", "Bob"]
        for stream in (to_ada, to_bob, to_host):
            await stream.ended()
            hold_to_the_contract(stream.events)
            assert [name for _, name in stream.kept()] == ["question", "closed", "leaderboard"] * 8 + ["finished"]
        assert not to_host.named("result")
        stamped = [event for event in to_ada.events if "server_now_at" in event.data and event.name != "snapshot"]
        assert all(-5 <= event.came_at - event.data["server_now_at"] < 5000 for event in stamped)
    async with ada.stream() as again:
        assert again.status == 204
    results = await game.results_with(16)
    assert results.keys() == {"game", "questions", "ranking"}
    always = {"index", "kind", "prompt", "points", "correct", "counts", "opens_at", "closes_at"}
    assert all(always <= question.keys() <= always | {"choices"} for question in results["questions"])
    assert results["ranking"][0].keys() == {"rank", "participant_id", "nickname", "score", "answers"}
    assert results["ranking"][0]["score"] == finished["top"][0]["score"]
    for answer in results["ranking"][0]["answers"]:
        assert answer.keys() == {"question", "answer", "correct", "points", "received_at"}


async def test_counts_and_correct_are_told_when_a_question_closes_and_not_before(api: Api) -> None:
    game = await (await api.host()).game()
    ada, bob = await game.join("Ada"), await game.join("Bob")
    async with ada.stream() as stream:
        await play(game, (ada, 1), (bob, 0))
        closed = await stream.get("closed")
        assert closed["correct"] == 1
        assert closed["counts"] == [1, 1]
        assert closed["explanation"] == QUIZ["questions"][0]["explanation"]
        before = [event for event in stream.events[: stream.events.index(stream.named("closed")[0])]]
        assert not any("correct" in event.data or "counts" in event.data for event in before)


async def test_an_answer_at_once_brings_all_points_and_a_streak_a_tenth_more(api: Api) -> None:
    game = await (await api.host()).game(speed_scoring=False)
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await play(game, (ada, 1))
        first = await stream.get("result")
        assert (first["points"], first["score"], first["streak"], first["rank"]) == (1000, 1000, 1, 1)
        await play(game, (ada, True))
        second = await stream.get("result")
        assert (second["points"], second["score"], second["streak"]) == (1100, 2100, 2)


async def test_speed_brings_between_half_and_all_of_the_points(api: Api) -> None:
    game = await (await api.host()).game()
    ada, bob = await game.join("Ada"), await game.join("Bob")
    async with ada.stream() as to_ada, bob.stream() as to_bob:
        asked_for = 1000
        await game.open(time_limit_ms=asked_for)
        asked = await to_ada.get("question")
        receipt = await ada.answered(0, 1)
        await asyncio.sleep(0.5)
        late = await bob.answered(0, 1)
        await game.close()
        for stream, taken in ((to_ada, receipt), (to_bob, late)):
            share = min(1.0, (taken["received_at"] - asked["opens_at"]) / asked_for)
            assert (await stream.get("result"))["points"] == int(1000 * (1 - share / 2) + 0.5)


async def test_who_did_not_answer_is_told_so(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await play(game)
        result = await stream.get("result")
        assert (result["answer"], result["correct"], result["points"]) == (None, False, 0)


async def test_a_result_reaches_nobody_else(api: Api) -> None:
    game = await (await api.host()).game()
    ada, bob = await game.join("Ada"), await game.join("Bob")
    async with ada.stream() as to_ada, bob.stream() as to_bob:
        await play(game, (ada, 1))
        assert (await to_ada.get("result"))["points"] > 0
        assert (await to_bob.get("result"))["points"] == 0
        await asyncio.sleep(0.1)
        assert len(to_ada.named("result")) == len(to_bob.named("result")) == 1


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_closes_by_itself_at_the_end_of_its_grace(api: Api) -> None:
    game = await (await api.host()).game(grace_ms=100)
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await game.open(time_limit_ms=1000)
        asked = await stream.get("question")
        assert asked["closes_at"] - asked["opens_at"] == 1000
        closed = await stream.get("closed")
        assert closed["reason"] == "time"
        late_ms = closed["server_now_at"] - asked["closes_at"] - 100
        assert 0 <= late_ms < 400  # it aims at 100; a busy machine gets some more
        assert refused(await ada.answer(0, 1)) == (409, "question_closed")


async def test_an_answer_within_the_grace_counts_as_the_slowest(api: Api) -> None:
    game = await (await api.host()).game(grace_ms=3000)
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await game.open(time_limit_ms=1000)
        asked = await stream.get("question")
        await asyncio.sleep(max(0.0, asked["closes_at"] / 1000 + 0.05 - time.time()))
        assert (await ada.answered(0, 1))["received_at"] > asked["closes_at"]
        await game.close()
        assert (await stream.get("result"))["points"] == 500


async def test_an_answer_before_the_question_opens_is_refused(api: Api) -> None:
    game = await (await api.host()).game(lead_ms=600)
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        assert refused(await ada.answer(0, 1)) == (409, "question_not_open")
        await game.open()
        asked = await stream.get("question")
        assert 400 < asked["opens_at"] - asked["server_now_at"] <= 600
        assert refused(await ada.answer(0, 1)) == (409, "question_not_open")
        assert refused(await ada.answer(1, True)) == (409, "question_not_open")
        await asyncio.sleep(max(0.0, asked["opens_at"] / 1000 + 0.01 - time.time()))
        await ada.answered(0, 1)


async def test_a_question_closes_when_all_who_are_there_have_answered(api: Api) -> None:
    game = await (await api.host()).game(close_when_all_answered=True)
    ada, bob = await game.join("Ada"), await game.join("Bob")
    async with ada.stream() as to_ada, bob.stream() as to_bob, game.stream() as to_host:
        await game.open()
        await ada.answered(0, 1)
        progress = await to_host.get("progress")
        assert progress == {"index": 0, "answered": 1, "eligible": 2}
        await bob.answered(0, 1)
        assert (await to_ada.get("closed"))["reason"] == "all_answered"
        assert (await to_bob.get("result"))["index"] == 0


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_answer_twice_is_acknowledged_twice_and_taken_once(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await game.open()
    first = await ada.answered(0, 1)
    assert first["duplicate"] is False
    again = await ada.answered(0, 1)
    assert again == {**first, "duplicate": True}
    assert refused(await ada.answer(0, 0)) == (409, "already_answered")
    await game.close()
    assert await ada.answered(0, 1) == again
    assert refused(await ada.answer(0, 0)) == (409, "question_closed")
    results = await game.results_with(1)
    assert results["questions"][0]["counts"] == [0, 1]


async def test_many_clicks_at_once_are_one_answer(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await game.open()
    replies = [good(reply, 202) for reply in await asyncio.gather(*(ada.answer(0, 1) for _ in range(10)))]
    assert [reply["duplicate"] for reply in replies].count(False) == 1
    assert len({reply["received_at"] for reply in replies}) == 1


async def test_an_answer_to_another_question_is_refused(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await play(game)
    await game.open()
    assert refused(await ada.answer(0, 1)) == (409, "question_not_open")
    assert refused(await ada.answer(2, 1)) == (409, "question_not_open")
    assert refused(await ada.answer(-1, 1)) == (409, "question_not_open")


async def test_answers_travel_as_messagepack_both_ways(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await game.open()
    path = f"/games/{game.id}/answers"
    packed = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    body = msgspec.msgpack.encode({"question": 0, "answer": 1})
    reply = await api.call("POST", path, ada.token, content=body, headers=packed)
    assert reply.status_code == 202
    assert reply.headers["content-type"] == "application/msgpack"
    receipt = msgspec.msgpack.decode(reply.content)
    assert receipt.keys() == {"question", "received_at", "duplicate"}
    # One way each: what is asked for in `Accept` does not hang on what was sent.
    assert await ada.answered(0, 1) == {**receipt, "duplicate": True}
    mixed = await ada.answer(0, 1, headers={"Accept": "application/msgpack"})
    assert msgspec.msgpack.decode(mixed.content) == {**receipt, "duplicate": True}
    other = await api.call("POST", path, ada.token, content=body, headers={"Content-Type": "application/msgpack"})
    assert good(other, 202) == {**receipt, "duplicate": True}


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by_query", [False, True])
async def test_a_stream_resumes_with_exactly_what_it_missed(api: Api, by_query: bool) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await game.open()
        await stream.get("question")
        seen = stream.last_id
    await ada.answered(0, 1)
    await game.close()
    await game.command("leaderboard")
    how: dict[str, Any] = {"last_event_id": seen} if by_query else {"headers": {"Last-Event-ID": seen}}
    async with ada.stream(**how) as back:
        await back.get("leaderboard")
        assert [event.name for event in back.events if event.name != "lobby"][:3] == ["closed", "result", "leaderboard"]
        await game.open()
        await back.get("question")
        assert [name for _, name in back.kept()] == ["closed", "leaderboard", "question"]
        assert len({at for at, _ in back.kept()} | {seen}) == 4
        assert not back.named("snapshot")


async def test_a_stream_that_missed_nothing_gets_nothing(api: Api) -> None:
    game = await (await api.host()).game()
    async with game.stream() as stream:
        await game.open()
        await stream.get("question")
        seen = stream.last_id
    async with game.stream(headers={"Last-Event-ID": seen}) as back:
        await game.close()
        await back.get("closed")
        assert back.kept()[0][1] == "closed"
        assert not back.named("snapshot")


@pytest.mark.parametrize("unknown", ["1-1", "99999999999999-3"])
async def test_a_position_that_is_gone_gives_a_reset_and_a_snapshot(api: Api, unknown: str) -> None:
    game = await (await api.host()).game()
    async with game.stream(last_event_id=unknown) as stream:
        await stream.get("snapshot")
        assert [event.name for event in stream.events[:2]] == ["reset", "snapshot"]
        hold_to_the_contract(stream.events)


@pytest.mark.parametrize("junk", ["junk", "-", "1-", "١-٢", "9" * 400 + "-1", "1-1-1"])
async def test_a_position_that_is_none_begins_anew(api: Api, junk: str) -> None:
    game = await (await api.host()).game()
    async with game.stream(last_event_id=junk) as stream:
        await stream.get("snapshot")


async def test_the_snapshot_tells_a_latecomer_everything(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await game.open()
    await ada.answered(0, 1)
    state = good(await ada.state(), 200)
    assert state["phase"] == "question"
    assert state["question"]["index"] == 0
    assert "correct" not in state["question"]
    assert state["me"]["answered"] is True
    assert not {"leaderboard", "result"} & state.keys()
    await game.close()
    await game.command("leaderboard")
    async with ada.stream() as stream:
        snapshot = await stream.get("snapshot")
        state = good(await ada.state(), 200)
        assert {**state, "server_now_at": 0} == {**snapshot, "server_now_at": 0}
        assert snapshot["leaderboard"]["top"][0]["participant_id"] == ada.id
        assert {"score", "rank", "answered"} <= snapshot["me"].keys()
        assert snapshot["me"]["rank"] == 1
        assert (snapshot["result"]["correct"], snapshot["result"]["answer"]) == (True, 1)


async def test_the_state_can_be_read_after_the_end(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await play(game, (ada, 1))
    await game.command("finish")
    for token in (ada.token, game.host.token, await game.screen()):
        state = good(await api.call("GET", f"/games/{game.id}/state", token), 200)
        assert state["phase"] == "finished"
        assert state["leaderboard"]["top"][0]["nickname"] == "Ada"


async def test_a_stream_beats_while_nothing_happens(api: Api) -> None:
    game = await (await api.host()).game()
    async with game.stream() as stream:
        beat = await stream.get("heartbeat")
        hold_to_the_contract(stream.events)
        assert abs(beat["server_now_at"] - time.time() * 1000) < 2000


async def test_what_was_missed_is_still_told_after_the_end_and_then_204(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await game.open()
        await stream.get("question")
        seen = stream.last_id
    await game.close()
    await game.command("finish")
    async with ada.stream(last_event_id=seen) as back:
        await back.get("finished")
        await back.ended()
        assert [name for _, name in back.kept()] == ["closed", "finished"]
        last = back.last_id
    async with ada.stream(last_event_id=last) as over:
        assert over.status == 204


async def test_a_screen_sees_everything_public_and_can_do_nothing(api: Api) -> None:
    game = await (await api.host()).game()
    made = good(await game.call("POST", "/screen"), 201)
    assert made.keys() == {"token", "url"}
    assert made["token"] in made["url"]
    ada = await game.join("Ada")
    async with api.stream(game.id, token=made["token"]) as stream:
        await stream.get("snapshot")
        await play(game, (ada, 1))
        await stream.get("closed")
        assert not stream.named("result")
        hold_to_the_contract(stream.events)
    for path, body in (("answers", {"question": 0, "answer": 1}), ("open", {}), ("finish", {})):
        reply = await api.call("POST", f"/games/{game.id}/{path}", made["token"], json=body)
        assert refused(reply) == (401, "token_invalid")
    other = await game.host.game()
    assert refused(await api.call("GET", f"/games/{other.id}/state", made["token"])) == (403, "not_in_game")


async def test_the_token_may_come_as_a_query_or_a_cookie(api: Api) -> None:
    game = await (await api.host()).game()
    joined = await api.join(game.pin, "Ada")
    cookie = joined.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    ada = Player(game, good(joined, 201))
    async with api.stream(game.id, token="", **{"last_event_id": ""}) as refused_stream:
        assert refused_stream.status == 401
    query = f"/games/{game.id}/events?token={ada.token}"
    async with api.http.stream("GET", f"/api/v1{query}") as reply:
        assert reply.status_code == 200
    async with api.stream(game.id, headers={"Cookie": cookie.partition(";")[0]}) as stream:
        assert (await stream.get("snapshot"))["me"]["nickname"] == "Ada"
        await game.open()
        reply = await api.call(
            "POST",
            f"/games/{game.id}/answers",
            json={"question": 0, "answer": 1},
            headers={"Cookie": cookie.partition(";")[0]},
        )
        assert good(reply, 202)["duplicate"] is False


async def test_a_host_who_plays_along_sees_what_players_see(api: Api) -> None:
    made = await api.call(
        "POST", "/auth/register", json={"email": f"p{time.time_ns()}@example.org", "password": "12345678", "name": "P"}
    )
    cookies = [made.headers["set-cookie"].partition(";")[0]]
    host = Host(api, "", good(made, 201))
    game, other = await host.game(), await host.game()
    joined = await api.join(game.pin, "Ada")
    cookies.append(joined.headers["set-cookie"].partition(";")[0])
    both = {"Cookie": "; ".join(cookies)}
    assert "me" in good(await api.call("GET", f"/games/{game.id}/state", headers=both), 200)
    # In another of their games they are the host.
    assert "me" not in good(await api.call("GET", f"/games/{other.id}/state", headers=both), 200)
    assert good(await api.call("GET", "/me", headers=both), 200)["name"] == "P"


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_lobby_fills_before_the_hosts_eyes(api: Api) -> None:
    game = await (await api.host()).game()
    async with game.stream() as stream:
        await stream.get("snapshot")
        await game.join("Ada")
        await game.join("Bob")
        await stream.get("lobby", lambda lobby: lobby["participants"] == 2)
        names = [name for event in stream.named("lobby") for name in event.data["joined"]]
        assert names == ["Ada", "Bob"]


async def test_late_join_can_be_allowed_or_not(api: Api) -> None:
    host = await api.register()
    open_door, shut_door = await host.game(), await host.game(late_join=False)
    for game in (open_door, shut_door):
        await game.open()
    late = await open_door.join("Late")
    await late.answered(0, 1)
    assert refused(await api.join(shut_door.pin, "Late")) == (409, "game_locked")


async def test_a_locked_game_takes_nobody_new_but_lets_its_people_back(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    assert (await game.command("lock", locked=True))["locked"] is True
    assert refused(await api.join(game.pin, "Bob")) == (409, "game_locked")
    back = good(await api.join(game.pin, "Ada", participant_token=ada.token), 201)
    assert back["participant_id"] == ada.id
    await game.command("lock", locked=False)
    await game.join("Bob")


async def test_a_full_game_takes_nobody_new(api: Api) -> None:
    game = await (await api.host()).game(max_participants=1)
    await game.join("Ada")
    assert refused(await api.join(game.pin, "Bob")) == (409, "game_full")


async def test_a_finished_game_takes_nobody(api: Api) -> None:
    game = await (await api.host()).game()
    await play(game)
    await game.command("finish")
    assert refused(await api.join(game.pin, "Late")) == (409, "game_over")
    assert refused(await game.call("POST", "/open")) == (409, "game_over")


@pytest.mark.parametrize("alike", ["Ada", "ADA", "A d a", "Аda", "Adа\u200d", "Ａda"])
async def test_a_nickname_that_reads_like_another_is_taken(api: Api, alike: str) -> None:
    game = await (await api.host()).game()
    await game.join("Ada")
    assert refused(await api.join(game.pin, alike)) == (409, "nickname_taken")


async def test_a_kicked_participant_is_told_so_and_is_out(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    await game.open()
    await ada.answered(0, 1)
    async with ada.stream() as stream:
        await stream.get("snapshot")
        kicked = await game.call("DELETE", f"/participants/{ada.id}")
        assert (kicked.status_code, kicked.content) == (204, b"")
        assert await stream.get("kicked") == {"reason": "kicked"}
        await stream.ended()
    for answer in (0, 1):
        assert refused(await ada.answer(0, answer)) == (403, "not_in_game")
    assert refused(await ada.state()) == (403, "not_in_game")
    async with ada.stream() as again:
        assert again.status == 403
    async with ada.stream(last_event_id="1-1") as again:
        assert again.status == 403
    assert refused(await game.call("DELETE", f"/participants/{ada.id}")) == (404, "participant_unknown")
    await game.join("Ada")  # the name is free again
    await game.results_without(ada.id)


async def test_a_banned_participant_comes_back_under_no_name(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    async with ada.stream() as stream:
        await stream.get("snapshot")
        await game.call("DELETE", f"/participants/{ada.id}", params={"ban": "true"})
        assert await stream.get("kicked") == {"reason": "banned"}
    for nickname, token in (("Ada", ada.token), ("Eve", ada.token), ("Ada", None), ("аda", None)):
        more = {"participant_token": token} if token else {}
        assert refused(await api.join(game.pin, nickname, **more)) == (403, "banned")


async def test_a_participant_comes_back_by_their_token(api: Api) -> None:
    game = await (await api.host()).game()
    ada = await game.join("Ada")
    back = good(await api.join(game.pin, "Somebody else", participant_token=ada.token), 201)
    assert (back["participant_id"], back["nickname"]) == (ada.id, "Ada")
    other = await game.host.game()
    fresh = good(await api.join(other.pin, "Ada", participant_token=ada.token), 201)
    assert fresh["participant_id"] != ada.id
    anew = good(await api.join(other.pin, "Bob", participant_token="what is this"), 201)
    assert anew["nickname"] == "Bob"


async def test_a_join_that_is_tried_again_with_its_key_is_one_join(api: Api) -> None:
    game = await (await api.host()).game()
    key = {"Idempotency-Key": f"join-{game.id}"}
    tries = await asyncio.gather(*(api.join(game.pin, "Ada", headers=key) for _ in range(5)))
    assert len({good(one, 201)["participant_id"] for one in tries}) == 1
    assert refused(await api.join(game.pin, "Ada")) == (409, "nickname_taken")
    assert good(await game.call("GET", ""), 200)["participants"] == 1


async def test_who_was_kicked_comes_back_as_somebody_new_with_the_same_key_too(api: Api) -> None:
    game = await (await api.host()).game()
    await game.open()
    key, token = {"Idempotency-Key": f"join-{game.id}"}, ""
    seen: list[str] = []
    for _ in range(3):
        tries = [await api.join(game.pin, "Ada", key, participant_token=token) for _ in range(2)]
        ada, retry = (Player(game, good(one, 201)) for one in tries)
        assert retry.id == ada.id
        assert ada.id not in seen
        assert (await ada.answered(0, 1))["duplicate"] is False
        seen.append(ada.id)
        token = ada.token
        await game.call("DELETE", f"/participants/{ada.id}")
    assert good(await api.join(game.pin, "Ada", key), 201)["participant_id"] not in seen
    await game.close()
    (ada_now,) = good(await game.call("GET", "/participants"), 200)["items"]
    assert ada_now["score"] == 0


async def test_participants_are_listed_best_first_page_by_page(api: Api) -> None:
    game = await (await api.host()).game()
    players = [await game.join(f"Player {number}") for number in range(5)]
    async with players[3].stream() as stream:
        await stream.get("snapshot")
        await play(game, (players[3], 1))
        await stream.get("result")
        seen: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = good(
                await game.call("GET", "/participants", params={"limit": "2"} | ({"cursor": cursor} if cursor else {})),
                200,
            )
            assert page.keys() == {"items", "next_cursor"}
            assert len(page["items"]) <= 2
            seen += page["items"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert all(one.keys() == {"participant_id", "nickname", "connected", "score", "rank"} for one in seen)
        assert len({one["participant_id"] for one in seen}) == 5
        assert seen[0]["participant_id"] == players[3].id
        assert seen[0]["connected"] is True
        assert [one["rank"] for one in seen] == [1, 2, 2, 2, 2]


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_out_of_phase_is_refused_and_changes_nothing(api: Api) -> None:
    game = await (await api.host()).game()
    for action in ("close", "leaderboard", "finish"):
        assert refused(await game.call("POST", f"/{action}")) == (409, "out_of_phase")
    await game.open()
    for action in ("leaderboard", "finish"):
        assert refused(await game.call("POST", f"/{action}")) == (409, "out_of_phase")
    assert refused(await game.call("POST", "/open", json={"question": 1})) == (409, "out_of_phase")
    assert good(await game.call("GET", ""), 200)["phase"] == "question"
    await game.close()
    await play(game)
    assert refused(await game.call("POST", "/open")) == (409, "no_more_questions")
    assert refused(await game.call("POST", "/open", json={"question": 9})) == (409, "no_more_questions")
    assert refused(await game.call("POST", "/open", json={"question": 0})) == (409, "question_played")


async def test_a_double_click_acts_once(api: Api) -> None:
    game = await (await api.host()).game()
    async with game.stream() as stream:
        await stream.get("snapshot")
        for action in ("open", "close", "leaderboard", "finish"):
            replies = await asyncio.gather(*(game.call("POST", f"/{action}") for _ in range(6)))
            assert [reply.status_code for reply in replies] == [200] * 6
        await stream.get("finished")
        assert [name for _, name in stream.kept()] == ["question", "closed", "leaderboard", "finished"]


async def test_a_late_retry_of_a_command_does_nothing(api: Api) -> None:
    game = await (await api.host()).game()
    key = {"Idempotency-Key": "open the first"}
    good(await game.call("POST", "/open", headers=key), 200)
    await game.close()
    again = good(await game.call("POST", "/open", headers=key), 200)
    assert (again["phase"], again["question_index"]) == ("closed", 0)


async def test_a_question_may_be_chosen_and_shortened(api: Api) -> None:
    game = await (await api.host()).game()
    async with game.stream() as stream:
        await game.open(question=1, time_limit_ms=5000)
        asked = await stream.get("question")
        assert (asked["index"], asked["closes_at"] - asked["opens_at"]) == (1, 5000)


async def test_two_games_at_once_never_mix(api: Api) -> None:
    host = await api.register()
    one, two = await asyncio.gather(host.game(), host.game())
    assert one.pin != two.pin
    ada, bob = await one.join("Ada"), await two.join("Ada")
    async with ada.stream() as to_ada, bob.stream() as to_bob:
        await play(one, (ada, 1))
        await to_ada.get("result")
        await two.open(question=1)
        assert (await to_bob.get("question"))["index"] == 1
        assert refused(
            await api.call("POST", f"/games/{two.id}/answers", ada.token, json={"question": 1, "answer": True})
        ) == (403, "not_in_game")
        assert refused(await api.call("GET", f"/games/{two.id}/state", ada.token)) == (403, "not_in_game")
        assert [name for _, name in to_bob.kept()] == ["question"]
        assert not to_bob.named("result")


async def test_nobody_sees_or_touches_what_is_anothers(api: Api) -> None:
    owner, stranger = await api.register(), await api.register("Eve")
    game = await owner.game()
    quiz_id = game.view["quiz_id"]
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/open", {}),
        ("POST", "/close", {}),
        ("POST", "/leaderboard", {}),
        ("POST", "/finish", {}),
        ("POST", "/lock", {"locked": True}),
        ("POST", "/screen", {}),
        ("GET", "/participants", None),
        ("DELETE", "/participants/x", None),
        ("GET", "/results", None),
        ("GET", "/state", None),
        ("GET", "/events", None),
    ):
        reply = await stranger.call(method, f"/games/{game.id}{path}", **({"json": body} if body is not None else {}))
        assert refused(reply) == (404, "game_unknown"), path
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/export")):
        more = {"json": QUIZ} if method == "PUT" else {}
        assert refused(await stranger.call(method, f"/quizzes/{quiz_id}{path}", **more)) == (404, "quiz_unknown")
    made = await stranger.call("POST", "/games", json={"quiz_id": quiz_id})
    assert refused(made) == (404, "quiz_unknown")
    assert good(await stranger.call("GET", "/games"), 200)["items"] == []
    assert good(await game.call("GET", ""), 200)["locked"] is False


async def test_more_time_is_told_to_everybody_and_the_connections_to_the_host(api: Api) -> None:
    host = await api.register()
    game = await host.game()
    ada = await game.join("Ada")
    await game.join("Ben")
    async with ada.stream() as stream:
        await game.open()
        asked = await stream.get("question")
        later = asked["closes_at"] + 10_000
        await game.command("extend", closes_at=later)
        told = await stream.get("extended")
        assert told["index"] == 0
        assert told["closes_at"] == later
        assert good(await ada.state(), 200)["question"]["closes_at"] == later
        seen = good(await game.call("GET", "/connections"), 200)
        assert seen.keys() == {"healthy", "slow", "gone"}
        assert sum(seen.values()) == 2
        hold_to_the_contract(stream.events)


async def test_a_game_made_twice_with_one_key_is_one_game(api: Api) -> None:
    host = await api.register()
    quiz = await host.quiz()
    wish = {"json": {"quiz_id": quiz["id"]}, "headers": {"Idempotency-Key": "once"}}
    made = [
        good(reply, 201) for reply in await asyncio.gather(*(host.call("POST", "/games", **wish) for _ in range(4)))
    ]
    assert len({game["id"] for game in made}) == len({game["pin"] for game in made}) == 1
    assert len(good(await host.call("GET", "/games"), 200)["items"]) == 1
    good(await host.call("POST", f"/games/{made[0]['id']}/open"), 200)


async def test_options_are_taken_over_and_default_to_the_contracts(api: Api) -> None:
    host = await api.register()
    quiz = await host.quiz()
    plain = good(await host.call("POST", "/games", json={"quiz_id": quiz["id"]}), 201)
    assert plain["options"] == {
        "max_participants": 10000,
        "speed_scoring": True,
        "streak_bonus": True,
        "close_when_all_answered": True,
        "late_join": True,
        "lead_ms": 300,
        "grace_ms": 500,
        "question_on": "both",
    }
    game = await host.game(max_participants=7)
    assert game.view["options"] == plain["options"] | PATIENT | {"max_participants": 7}
    assert good(await game.call("GET", ""), 200) == game.view
