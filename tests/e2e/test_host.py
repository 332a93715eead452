"""A host's accounts, quizzes, files and results over real HTTP, against the contract."""

import asyncio
import csv
import io
import re
import time
from typing import Any

import openpyxl

from quizcast.web.readiness import FRESH_S
from tests.client import PASSWORD, QUIZ, Api, good, refused
from tests.e2e.test_game import EVERY_KIND, play
from tests.fix_web import WEB

SESSION = {"access_token", "refresh_token", "token_type", "expires_in", "host"}


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_host_registers_logs_in_and_is_known(api: Api) -> None:
    host = await api.register("Ada Lovelace")
    assert host.session.keys() == SESSION
    assert host.session["token_type"] == "Bearer"
    assert host.session["expires_in"] == 900
    me = good(await host.call("GET", "/me"), 200)
    assert me == host.session["host"] == {"id": me["id"], "email": host.email, "name": "Ada Lovelace"}
    for email in (host.email, host.email.upper()):
        again = await api.call("POST", "/auth/login", json={"email": email, "password": PASSWORD})
        assert good(again, 200)["host"] == me
    wrong = [
        await api.call("POST", "/auth/login", json={"email": host.email, "password": "wrong password"}),
        await api.call("POST", "/auth/login", json={"email": "nobody@example.org", "password": PASSWORD}),
    ]
    assert [refused(one) for one in wrong] == [(401, "credentials_wrong")] * 2
    assert wrong[0].json() == wrong[1].json()
    twice = {"email": host.email.upper(), "password": PASSWORD, "name": "Eve"}
    assert refused(await api.call("POST", "/auth/register", json=twice)) == (409, "email_taken")


async def test_a_refresh_token_is_good_once_and_a_spent_one_ends_the_family(api: Api) -> None:
    first = (await api.register()).session["refresh_token"]
    renewed = good(await api.call("POST", "/auth/refresh", json={"refresh_token": first}), 200)
    assert renewed.keys() == SESSION
    second = renewed["refresh_token"]
    assert second != first
    assert good(await api.call("GET", "/me", renewed["access_token"]), 200)["id"] == renewed["host"]["id"]
    for token in (first, second):
        reply = await api.call("POST", "/auth/refresh", json={"refresh_token": token})
        assert refused(reply) == (401, "refresh_invalid")


async def test_of_two_refreshes_at_once_at_most_one_succeeds(api: Api) -> None:
    token = (await api.register()).session["refresh_token"]
    replies = await asyncio.gather(
        *(api.call("POST", "/auth/refresh", json={"refresh_token": token}) for _ in range(4))
    )
    assert sorted(reply.status_code for reply in replies) == [200, 401, 401, 401]


async def test_a_logout_ends_the_session_and_takes_the_cookie_back(api: Api) -> None:
    token = {"refresh_token": (await api.register()).session["refresh_token"]}
    gone = await api.call("POST", "/auth/logout", json=token)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert refused(await api.call("POST", "/auth/refresh", json=token)) == (401, "refresh_invalid")
    assert (await api.call("POST", "/auth/logout", json=token)).status_code == 204


async def test_the_hosts_cookie_is_a_credential_for_the_same_site_alone(api: Api) -> None:
    wish = {"email": f"c{time.time_ns()}@example.org", "password": PASSWORD, "name": "C"}
    made = await api.call("POST", "/auth/register", json=wish)
    assert "HttpOnly" in made.headers["set-cookie"]
    cookie = {"Cookie": made.headers["set-cookie"].partition(";")[0]}
    assert good(await api.call("GET", "/me", headers=cookie), 200)["name"] == "C"
    own = [{}, {"Origin": api.url}, {"Sec-Fetch-Site": "same-origin"}]
    foreign = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": api.url},
    ]
    for headers in own:
        assert good(await api.call("POST", "/quizzes", json=QUIZ, headers=cookie | headers), 201)
    for headers in foreign:
        reply = await api.call("POST", "/quizzes", json=QUIZ, headers=cookie | headers)
        assert refused(reply) == (403, "origin_refused"), headers


# ── quizzes ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_quiz_is_written_read_changed_and_deleted(api: Api) -> None:
    host = await api.register()
    made = await host.call("POST", "/quizzes", json=EVERY_KIND)
    quiz = good(made, 201)
    assert quiz.keys() == {"id", "title", "description", "language", "version", "questions"}
    assert quiz["version"] == 1
    for question in quiz["questions"]:
        assert {"kind", "prompt", "time_limit_ms", "points", "explanation", "media_url"} <= question.keys()
        assert question["time_limit_ms"] == 20000
    path = f"/quizzes/{quiz['id']}"
    read = await host.call("GET", path)
    assert good(read, 200) == quiz
    assert read.headers["etag"] == made.headers["etag"]
    changed = await host.call("PUT", path, json=QUIZ, headers={"If-Match": read.headers["etag"]})
    assert good(changed, 200)["version"] == 2
    assert changed.headers["etag"] != read.headers["etag"]
    for stale in (read.headers["etag"], '"999"', "junk", '"' + "9" * 30 + '"'):
        reply = await host.call("PUT", path, json=QUIZ, headers={"If-Match": stale})
        assert refused(reply) == (412, "version_stale"), stale
        assert refused(await host.call("DELETE", path, headers={"If-Match": stale})) == (412, "version_stale")
    assert good(await host.call("PUT", path, json=QUIZ), 200)["version"] == 3
    gone = await host.call("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert refused(await host.call(method, path)) == (404, "quiz_unknown")


async def test_of_two_authors_who_write_at_once_one_is_told(api: Api) -> None:
    host = await api.register()
    quiz = await host.quiz()
    writes = (host.call("PUT", f"/quizzes/{quiz['id']}", json=QUIZ, headers={"If-Match": '"1"'}) for _ in range(4))
    assert sorted(reply.status_code for reply in await asyncio.gather(*writes)) == [200, 412, 412, 412]


async def test_a_quiz_made_twice_with_one_key_is_one_quiz(api: Api) -> None:
    host = await api.register()
    key = {"Idempotency-Key": "once"}
    made = await asyncio.gather(*(host.call("POST", "/quizzes", json=QUIZ, headers=key) for _ in range(4)))
    assert len({good(reply, 201)["id"] for reply in made}) == 1
    stranger = await api.register()  # a key is its host's
    assert good(await stranger.call("POST", "/quizzes", json=QUIZ, headers=key), 201)["id"] != made[0].json()["id"]


async def test_lists_page_to_the_end_newest_first(api: Api) -> None:
    host = await api.register()
    quizzes = [(await host.quiz({**QUIZ, "title": f"Quiz {number}"}))["id"] for number in range(5)]
    games = [good(await host.call("POST", "/games", json={"quiz_id": quiz_id}), 201)["id"] for quiz_id in quizzes]
    for path, expected in (("/quizzes", quizzes), ("/games", games)):
        seen: list[dict[str, Any]] = []
        params = {"limit": "2"}
        while True:
            page = good(await host.call("GET", path, params=params), 200)
            assert page.keys() == {"items", "next_cursor"}
            seen += page["items"]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert [one["id"] for one in seen] == expected[::-1]


async def test_a_game_keeps_its_copy_of_a_quiz_that_changes_or_goes(api: Api) -> None:
    host = await api.register()
    game = await host.game()
    path = f"/quizzes/{game.view['quiz_id']}"
    good(await host.call("PUT", path, json={"title": "Empty now", "questions": []}), 200)
    empty = await host.call("POST", "/games", json={"quiz_id": game.view["quiz_id"]})
    assert refused(empty) == (409, "quiz_empty")
    await host.call("DELETE", path)
    async with game.stream() as stream:
        await game.open()
        assert (await stream.get("question"))["prompt"] == QUIZ["questions"][0]["prompt"]


async def test_what_is_exported_can_be_imported(api: Api) -> None:
    host = await api.register()
    quiz = await host.quiz(EVERY_KIND)
    for kind, media in (("json", "application/json"), ("csv", "text/csv")):
        file = await host.call("GET", f"/quizzes/{quiz['id']}/export", params={"format": kind})
        assert file.status_code == 200
        assert file.headers["content-type"].startswith(media)
        assert f"one-of-each.{kind}" in file.headers["content-disposition"]
        made = await host.call(
            "POST", "/quizzes/import", params={"format": kind, "name": f"one.{kind}"}, content=file.content
        )
        report = good(made, 201)
        assert report["found"] == 8
        back = good(await host.call("GET", f"/quizzes/{report['quizzes'][0]['id']}"), 200)
        assert back["questions"] == quiz["questions"]


async def test_a_file_imported_twice_with_one_key_is_imported_once(api: Api) -> None:
    host = await api.register()
    quiz = await host.quiz()
    file = await host.call("GET", f"/quizzes/{quiz['id']}/export")
    key = {"Idempotency-Key": "the file"}
    made = [await host.call("POST", "/quizzes/import", content=file.content, headers=key) for _ in range(2)]
    assert len({good(one, 201)["quizzes"][0]["id"] for one in made}) == 1


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_results_are_there_from_the_lobby_on(api: Api) -> None:
    game = await (await api.host()).game()
    empty = await game.results()
    assert empty["ranking"] == []
    assert [question["counts"] for question in empty["questions"]] == [[0, 0], {"true": 0, "false": 0}]
    ada = await game.join("Ada")
    await game.open()
    await ada.answered(0, 1)
    results = await game.results_with(1)
    assert results["game"]["phase"] == "question"
    assert results["ranking"][0]["answers"][1] is None


async def test_no_nickname_and_no_answer_becomes_a_formula(api: Api) -> None:
    content = {"title": "Say a word", "questions": [{"kind": "word_cloud", "prompt": "How?"}]}
    game = await (await api.host()).game(content)
    evil, word = "=HYPERLINK(1)", "@SUM(1+1)*cmd|' /C calc'!A0"
    player = await game.join(evil)
    await play(game, (player, word))
    await game.results_with(1)
    as_csv = await game.call("GET", "/results", params={"format": "csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(as_csv.content.decode("utf-8-sig"))))
    cells = [cell for row in rows for cell in row]
    assert any(evil in cell for cell in cells)
    assert not any(cell.startswith(("=", "@", "+", "-", "\t", "\r")) for cell in cells)
    as_xlsx = await game.call("GET", "/results", params={"format": "xlsx"})
    assert "spreadsheetml" in as_xlsx.headers["content-type"]
    assert game.pin in as_xlsx.headers["content-disposition"]
    book = openpyxl.load_workbook(io.BytesIO(as_xlsx.content))
    found = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {evil, word} <= {cell.value for cell in found}
    assert not any(cell.data_type == "f" for cell in found)
    book.close()


# ── operations ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_process_tells_how_it_is(api: Api) -> None:
    alive = await api.http.get("/livez")
    assert (alive.status_code, alive.headers["cache-control"]) == (200, "no-store")
    ready = await api.http.get("/readyz")
    assert ready.status_code == 200
    told = ready.json()
    assert {told["checks"].pop("disk"), *told["checks"].values()} <= {"ok", "low", "slow"}  # of the machine, not of us
    assert set(told["checks"]) == {"redis", "postgres", "clock", "files", "draining"}
    assert (set(told["took_ms"]), told["reasons"]) == ({"redis", "postgres"}, {})
    metrics = await api.http.get("/metrics")
    assert metrics.status_code == 200
    assert "quizcast_http_seconds_count" in metrics.text


async def test_who_asks_how_a_process_is_costs_redis_a_write_a_second_at_most(api: Api) -> None:
    async def looks() -> float:
        told = (await api.http.get("/metrics")).text
        counts = re.findall(r'^quizcast_redis_seconds_count\{.*call="check".*\} (\S+)', told, re.MULTILINE)
        return sum(map(float, counts))

    began, before = time.monotonic(), await looks()
    for _ in range(50):
        replies = await asyncio.gather(*(api.http.get("/readyz") for _ in range(4)))
        assert {reply.status_code for reply in replies} == {200}
    took_s = time.monotonic() - began
    assert await looks() - before <= WEB * (took_s / FRESH_S + 1)


async def test_every_response_can_be_found_in_the_logs_by_its_id(api: Api) -> None:
    own = await api.call("GET", "/me", headers={"X-Request-Id": "abc-123"})
    assert own.headers["x-request-id"] == "abc-123"
    for junk in ("a b", "ü", "x" * 65, "<script>"):
        given = await api.call("GET", "/me", headers={"X-Request-Id": junk.encode()})
        assert given.headers["x-request-id"].isalnum()
