"""Whatever is sent, the answer is a problem document with a stable code: never a 500, never a traceback in the log."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from quizcast.errors import QuizcastError
from quizcast.web.app import BASE, ENDPOINTS
from quizcast.web.http import Endpoint, status_of
from tests.client import PASSWORD, QUIZ, problem, refused
from tests.hostile.world import World

MSGPACK = "application/msgpack"
DEEP = b"[" * 100_000 + b"]" * 100_000


def codes_of(kind: type[QuizcastError]) -> set[str]:
    """Every code that there is."""
    return {kind.code}.union(*map(codes_of, kind.__subclasses__()))


def a_question(**more: Any) -> dict[str, Any]:
    """A quiz whose only question has these fields."""
    return {"title": "T", "questions": [{**QUIZ["questions"][0], **more}]}


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────────────────

# Every route that reads a body, with what its path needs.
WITH_BODY = [
    "/auth/register",
    "/auth/login",
    "/auth/refresh",
    "/auth/logout",
    "/quizzes",
    "/games",
    "/games/{game}/open",
    "/games/{game}/leaderboard",
    "/games/{game}/lock",
    "/join",
    "/games/{game}/answers",
]
# A field that each of these routes reads, so that it has to look at what is in it.
READ = ("email", "refresh_token", "title", "quiz_id", "question", "limit", "locked", "pin", "answer")


def in_every_field(value: bytes) -> bytes:
    """An object with this value wherever a route could look."""
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name in READ)


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing but a brace": (b"{", "malformed"),
    "a list": (b"[]", "invalid"),
    "a number": (b"1", "invalid"),
    "null": (b"null", "invalid"),
    "a text": (b'"x"', "invalid"),
    "not JSON": (b"hello", "malformed"),
    "two documents": (b"{}{}", ""),
    "a comment": (b"{/* */}", "malformed"),
    "a single quote": (b"{'a': 1}", "malformed"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "malformed"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "malformed"),
    "NUL bytes": (b"\x00\x00\x00", "malformed"),
    "broken UTF-8": (in_every_field(b'"\xff\xfe"'), ""),
    "NaN": (in_every_field(b"NaN"), "malformed"),
    "Infinity": (in_every_field(b"-Infinity"), "malformed"),
    "deep nesting": (in_every_field(b"[" * 200 + b"]" * 200), "invalid"),
    "a lone surrogate": (in_every_field(b'"\\ud800"'), ""),
    "an object": (in_every_field(b"{}"), "invalid"),
    "a number without end": (in_every_field(b"-" + b"9" * 400), ""),
    "a fraction without end": (in_every_field(b"1e400"), ""),
}


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize("what", BROKEN)
def test_a_body_that_makes_no_sense_is_refused(world: World, path: str, what: str) -> None:
    body, code = BROKEN[what]
    token = world.player if path.endswith("answers") else world.host
    reply = world.send("POST", path.format(game=world.game), token, content=body)
    number = (409, "question_not_open") if what == "a number without end" else ()  # it is none that there is
    assert refused(reply) in ((400, "malformed"), (422, "invalid"), number)
    # What is found first depends on the field: that it is no JSON, or that it is not the type.
    assert not code or problem(reply) == code


@pytest.mark.parametrize(
    "path", ["/auth/login", "/quizzes", "/games", "/games/{game}/lock", "/join", "/games/{game}/answers"]
)
def test_an_empty_body_is_refused_where_one_is_needed(world: World, path: str) -> None:
    token = world.player if path.endswith("answers") else world.host
    assert refused(world.send("POST", path.format(game=world.game), token)) == (400, "malformed")


def test_a_body_as_deep_as_it_may_be_long_is_refused(world: World) -> None:
    for content in (DEEP, b'{"questions":' + DEEP + b"}", b'{"title":' * 100_000):
        reply = world.send("POST", "/quizzes", world.host, content=content)
        assert refused(reply)[0] in (400, 422)
    reply = world.send("POST", "/quizzes/import", world.host, content=DEEP[:90_000])
    assert refused(reply) == (422, "file_invalid")
    packed = world.send(
        "POST",
        f"/games/{world.game}/answers",
        world.player,
        content=b"\x81\xa6answer" + b"\x91" * 4000,
        headers={"Content-Type": MSGPACK},
    )
    assert refused(packed)[0] in (400, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x82\xa8question\x00",
        b"\x82\xa8question\x00\xa6answer\xc4\x01x",
        b"\x82\xa8question\x00\xa6answer\xa1\xff",
        b"\x82\xa8question\x00\xa6answer\xd6\xff\x00\x00\x00\x00",
        b"\x82\xa8question\x00\xa6answer\xc7\xff\x01",
        b"\x82\xa8question\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa6answer\x01",
        b"\x82\xa8question\x00\xa6answer\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\x82\xa8question\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa6answer\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\x82\xa8question\x00\xa6answer\xdd\xff\xff\xff\xff",
        b"\x82\x01\x02\x03\x04",
    ],
)
def test_messagepack_that_makes_no_sense_is_refused(world: World, body: bytes) -> None:
    path = f"/games/{world.game}/answers"
    reply = world.send("POST", path, world.player, content=body, headers={"Content-Type": MSGPACK})
    assert refused(reply)[0] in (400, 409, 422)


@pytest.mark.parametrize(
    "media",
    ["text/plain", "text/html", "application/xml", "multipart/form-data; boundary=x", "x", "/", "application/msgpack"],
)
def test_other_content_types_are_refused(world: World, media: str) -> None:
    reply = world.send("POST", "/quizzes", world.host, content=json.dumps(QUIZ), headers={"Content-Type": media})
    assert refused(reply) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json", ""])
def test_json_by_any_of_its_names_is_taken(world: World, media: str) -> None:
    content = json.dumps({"limit": 0})
    path = f"/games/{world.game}/leaderboard"
    reply = world.send("POST", path, world.host, content=content, headers={"Content-Type": media})
    assert refused(reply) == (422, "invalid")


def test_a_body_over_four_kib_is_too_large_to_answer_or_to_join(world: World) -> None:
    long = "x" * 4096
    assert refused(world.answer(long)) == (413, "body_too_large")
    assert refused(world.join(long)) == (413, "body_too_large")
    chunks: Callable[[], Iterator[bytes]] = lambda: (b"x" * 1000 for _ in range(100))  # noqa: E731
    for path, token in ((f"/games/{world.game}/answers", world.player), ("/join", "")):
        assert refused(world.send("POST", path, token, content=chunks())) == (413, "body_too_large")


def test_a_file_over_the_limit_is_too_large(world: World) -> None:
    most = world.site.settings.import_bytes_max
    assert refused(world.send("POST", "/quizzes/import", world.host, content=b" " * most)) == (422, "file_invalid")
    reply = world.send("POST", "/quizzes/import", world.host, content=b" " * (most + 1))
    assert refused(reply) == (413, "body_too_large")


def test_a_quiz_over_four_mib_is_too_large(world: World) -> None:
    reply = world.send("POST", "/quizzes", world.host, content=b" " * (4 * 1024 * 1024 + 1))
    assert refused(reply) == (413, "body_too_large")


def test_a_client_that_leaves_in_the_middle_of_a_file_leaves_nothing_behind(world: World) -> None:
    head = f"POST {BASE}/quizzes/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.host}\r\n"
    body = "#Q Two and two?\n^ four\nA four\nB five\n"

    def sent(length: int) -> int:
        """Send the file as if it had this many bytes; how many quizzes there are afterwards."""
        with socket.create_connection(("127.0.0.1", world.site.port), 5) as line:
            line.sendall(f"{head}Content-Length: {length}\r\n\r\n{body}".encode())
            time.sleep(0.2)
        time.sleep(0.2)
        return len(world.ok("GET", "/quizzes?limit=100", world.host)["items"])

    whole = sent(len(body))
    assert sent(len(body) + 1000) == whole
    assert sent(len(body)) == whole + 1


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────

NUL, LONG = "\x00", "x" * 3000


@pytest.mark.parametrize(
    "change",
    [
        {"email": "nobody"},
        {"email": "a b@example.org"},
        {"email": "a@b@c"},
        {"email": f"a{NUL}@example.org"},
        {"email": "a@example.org\n"},
        {"email": "x" * 250 + "@example.org"},
        {"email": 1},
        {"email": None},
        {"password": "short"},
        {"password": "x" * 201},
        {"password": ["a", "b"]},
        {"name": ""},
        {"name": NUL},
        {"name": "Ada\n"},
        {"name": LONG},
        {"name": {"a": 1}},
    ],
    ids=str,
)
def test_an_account_needs_sensible_values(world: World, change: dict[str, Any]) -> None:
    account = {"email": f"v{time.time_ns()}@example.org", "password": PASSWORD, "name": "V"}
    reply = world.send("POST", "/auth/register", json=account | change)
    assert refused(reply) == (422, "invalid")
    assert reply.json()["errors"][0]["path"] == next(iter(change))


@pytest.mark.parametrize("email", ["", NUL, "a\x00@example.org", "'; DROP TABLE hosts; --", "x" * 254])
def test_a_login_with_nonsense_is_just_wrong(world: World, email: str) -> None:
    reply = world.send("POST", "/auth/login", json={"email": email, "password": NUL})
    assert refused(reply) in ((401, "credentials_wrong"), (422, "invalid"))


@pytest.mark.parametrize(
    "token", ["", ".", "x", NUL, "a.b", "0" * 25 + ".", "0" * 25 + "." + "x" * 400, "ü" * 25 + ".x"]
)
def test_a_refresh_token_that_is_none_is_refused(world: World, token: str) -> None:
    for path in ("/auth/refresh", "/auth/logout"):
        reply = world.send("POST", path, json={"refresh_token": token})
        assert reply.status_code == 204 or refused(reply) == (401, "refresh_invalid")


@pytest.mark.parametrize(
    "quiz",
    [
        {},
        {"title": ""},
        {"title": " "},
        {"title": NUL},
        {"title": "x" * 201},
        {"title": 1},
        {"title": "T", "language": "\x00\x00"},
        {"title": "T", "language": "x" * 99},
        {"title": "T", "description": NUL},
        {"title": "T", "questions": None},
        {"title": "T", "questions": [None]},
        {"title": "T", "questions": [{}]},
        {"title": "T", "questions": [{"kind": "unheard of"}]},
        {"title": "T", "questions": [{"kind": 1}]},
        {"title": "T", "questions": [{"kind": "poll", "prompt": "?", "choices": []}]},
        {"title": "T", "questions": [{"kind": "numeric", "prompt": "?", "correct": 1e999}]},
        {"title": "T", "questions": [{"kind": "numeric", "prompt": "?", "correct": 1, "min": 2}]},
        {"title": "T", "questions": [{"kind": "numeric", "prompt": "?", "correct": 1, "tolerance": -1}]},
        {"title": "T", "questions": [{"kind": "order", "prompt": "?", "items": ["a", "a"]}]},
        {"title": "T", "questions": [{"kind": "text", "prompt": "?", "accepted": []}]},
        {"title": "T", "questions": [{"kind": "text", "prompt": "?", "accepted": [NUL]}]},
        {"title": "T", "questions": [{"kind": "word_cloud", "prompt": "?"}] * 501},
        a_question(prompt=""),
        a_question(prompt="a\x07b"),
        a_question(time_limit_ms=999),
        a_question(time_limit_ms=10**30),
        a_question(time_limit_ms=1.5),
        a_question(time_limit_ms="20000"),
        a_question(time_limit_ms=True),
        a_question(points=-1),
        a_question(points=10**9),
        a_question(media_url="javascript:alert(1)"),
        a_question(explanation=LONG),
        a_question(choices=[{"text": "a", "correct": True}]),
        a_question(choices=[{"text": "a", "correct": True}] * 9),
        a_question(choices=[{"text": "a"}, {"text": "b"}]),
        a_question(choices=[{"text": "a", "correct": True}, {"text": "b", "correct": True}]),
        a_question(choices=[{"text": "a", "correct": 1}, {"text": "b"}]),
        a_question(choices="ab"),
    ],
    ids=lambda quiz: str(quiz)[:80],
)
def test_a_quiz_that_no_game_could_bear_is_refused(world: World, quiz: dict[str, Any]) -> None:
    content = json.dumps(quiz).replace("Infinity", "1e999")
    for method, path in (("POST", "/quizzes"), ("PUT", f"/quizzes/{world.quiz}")):
        reply = world.send(method, path, world.host, content=content)
        assert refused(reply) in ((422, "invalid"), (400, "malformed"))
        if reply.status_code == 422:
            assert reply.json()["errors"][0]["path"]


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"quiz_id": None},
        {"quiz_id": 1},
        {"options": {}},
        {"options": None},
        {"options": {"max_participants": 0}},
        {"options": {"max_participants": 10**7}},
        {"options": {"lead_ms": -1}},
        {"options": {"grace_ms": 10**6}},
        {"options": {"late_join": "yes"}},
        {"options": []},
    ],
    ids=str,
)
def test_a_game_needs_sensible_options(world: World, wish: dict[str, Any]) -> None:
    body = wish if not wish.get("options") else {"quiz_id": world.quiz} | wish
    assert refused(world.send("POST", "/games", world.host, json=body)) == (422, "invalid")


@pytest.mark.parametrize("quiz_id", ["", "x", NUL, "'", "../x", "0" * 25, LONG, "ü", "\U0010ffff"], ids=repr)
def test_a_game_of_a_quiz_that_is_not_there_is_refused(world: World, quiz_id: str) -> None:
    reply = world.send("POST", "/games", world.host, json={"quiz_id": quiz_id})
    assert refused(reply) in ((404, "quiz_unknown"), (422, "invalid"))


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("open", {"question": -1}),
        ("open", {"question": "0"}),
        ("open", {"question": 1.5}),
        ("open", {"question": True}),
        ("open", {"time_limit_ms": 0}),
        ("open", {"time_limit_ms": 10**12}),
        ("leaderboard", {"limit": 0}),
        ("leaderboard", {"limit": 10**6}),
        ("leaderboard", {"limit": None}),
        ("lock", {}),
        ("lock", {"locked": None}),
        ("lock", {"locked": 1}),
        ("lock", {"locked": "true"}),
    ],
)
def test_a_command_needs_sensible_values(world: World, action: str, body: dict[str, Any]) -> None:
    reply = world.send("POST", f"/games/{world.game}/{action}", world.host, json=body)
    assert refused(reply) == (422, "invalid")
    assert reply.json()["errors"]


def test_a_question_number_beyond_all_bounds_is_out_of_phase_like_any_other(world: World) -> None:
    for question in (10**6, 2**63, 10**40):
        reply = world.send("POST", f"/games/{world.game}/open", world.host, json={"question": question})
        assert refused(reply) in ((409, "out_of_phase"), (422, "invalid"), (400, "malformed"))


# ── nicknames ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "nickname",
    [
        "",
        " ",
        "\u200b",
        "\u2800",
        "x" * 25,
        "x" * 200,
        "a\x00b",
        "a\nb",
        "a\tb",
        "\x7f",
        "\u202eevil",
        "\u2066evil",
        "\ufeff",
        "\ufdfa" * 20,
        "a" + "\u0301" * 40,
        "\u2028",
        "\ue000",
        "\U000e0041",
    ],
    ids=ascii,
)
def test_a_nickname_nobody_could_read_is_refused(world: World, nickname: str) -> None:
    assert refused(world.join(nickname)) == (422, "nickname_invalid")


@pytest.mark.parametrize("nickname", [None, 1, ["a"], "x" * 201, {"a": "b"}], ids=ascii)
def test_a_nickname_that_is_no_text_of_bearable_length_is_invalid(world: World, nickname: Any) -> None:
    assert refused(world.join(nickname)) == (422, "invalid")


@pytest.mark.parametrize(
    "pin", ["", "000000", "12345", "1234567", "abcdef", NUL, "١٢٣٤٥٦", "12 34\n56", "-1", "*", "{s0}"]
)
def test_a_pin_that_no_game_has_is_unknown(world: World, pin: str) -> None:
    reply = world.send("POST", "/join", json={"pin": pin, "nickname": "A"})
    assert refused(reply) == (404, "pin_unknown")


@pytest.mark.parametrize("pin", [None, 123456, ["1"], "1" * 21])
def test_a_pin_that_is_no_text_is_invalid(world: World, pin: Any) -> None:
    assert refused(world.send("POST", "/join", json={"pin": pin, "nickname": "A"})) == (422, "invalid")


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", [2, -1, True, None, "1", [], [1], 0.5, 10**30], ids=str)
def test_an_answer_of_the_wrong_kind_or_out_of_range_is_refused(world: World, answer: Any) -> None:
    reply = world.answer(answer)
    assert refused(reply) in ((422, "answer_invalid"), (422, "invalid"))


@pytest.mark.parametrize("answer", [{"a": 1}, [[1]], ["a"], [None], [1.5]], ids=str)
def test_an_answer_of_no_kind_at_all_is_invalid(world: World, answer: Any) -> None:
    assert refused(world.answer(answer)) == (422, "invalid")


@pytest.mark.parametrize("text", ["", " ", NUL, "x" * 201, "a\x07", "\u200b", "\U000f0000"], ids=ascii)
def test_a_text_that_is_none_is_no_answer(world: World, text: str) -> None:
    body = {"question": 2, "answer": text}
    reply = world.send("POST", f"/games/{world.writing}/answers", world.player_elsewhere, json=body)
    assert refused(reply) == (422, "answer_invalid")


@pytest.mark.parametrize("question", [None, "0", 0.5, True, [0]], ids=str)
def test_a_question_is_named_by_a_number(world: World, question: Any) -> None:
    assert refused(world.answer(1, question=question)) == (422, "invalid")


@pytest.mark.parametrize("question", [1, 3, -1, 2**31, 2**63, 10**30], ids=str)
def test_an_answer_to_a_question_that_is_not_open_is_refused(world: World, question: int) -> None:
    answer = True if question == 1 else 0
    assert refused(world.answer(answer, question=question)) in (
        (409, "question_not_open"),
        (400, "malformed"),
        (422, "invalid"),
    )


# ── the route table ────────────────────────────────────────────────────────────────────────

ROUTES = [pytest.param(one, id=f"{one.method} {one.path}") for one in ENDPOINTS]


@pytest.mark.parametrize("endpoint", ROUTES)
def test_no_route_stumbles_over_ids_of_any_shape(world: World, endpoint: Endpoint) -> None:
    if "{" not in endpoint.path:
        return
    for junk in (
        "x",
        "%00",
        "%ff%fe",
        "%0a%0d",
        "%F0%9F%8E%89",
        "..%5c..",
        "'%20OR%201=1",
        "%25s",
        "a" * 2000,
        "{s0}",
        "*",
    ):
        path = endpoint.path
        for name in ("game_id", "quiz_id", "participant_id", "media_id"):
            path = path.replace(f"{{{name}}}", junk)
        body = QUIZ if "quizzes" in path else {"question": 0, "answer": 1, "locked": True}
        more = {"json": body} if endpoint.body is not None else {}
        for token in (world.host, world.player):
            reply = world.send(endpoint.method, path, token, **more)
            status, code = refused(reply)
            assert status in (401, 403, 404, 422)
            assert code in codes_of(QuizcastError)


# ── addresses, methods, query strings ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/quizzes/",
        "/quizzes/a/b/c",
        "/games//open",
        "/games/",
        "/games//",
        "//games",
        "/games/x/unheard-of",
        "/games/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/games/%2e%2e/results",
        "/..%2f..%2fetc%2fpasswd",
        "/me/",
        "/me%00",
        "/ME",
        "/openapi.json/",
        "/games/x/events/",
        "/games/x%2fevents/y",
    ],
)
def test_an_address_where_nothing_is_says_so(world: World, path: str) -> None:
    request = f"GET {BASE}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.host}\r\nConnection: close\r\n\r\n"
    head, _, body = world.raw(request.encode()).partition(b"\r\n\r\n")
    assert b" 404 " in head.splitlines()[0], head
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] in ("not_found", "game_unknown")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/quizzes", "GET, HEAD, POST"),
        ("PATCH", "/quizzes/x", "DELETE, GET, HEAD, PUT"),
        ("GET", "/join", "POST"),
        ("HEAD", "/join", "POST"),
        ("OPTIONS", "/me", "GET, HEAD"),
        ("PUT", "/games/x/answers", "POST"),
        ("GET", "/games/x/answers", "POST"),
        ("POST", "/games/x/events", "GET, HEAD"),
        ("TRACE", "/me", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_there_are(world: World, method: str, path: str, allow: str) -> None:
    reply = world.send(method, path, world.host)
    assert reply.status_code == 405
    assert reply.headers["allow"] == allow
    if method == "HEAD":
        assert reply.content == b""
    else:
        assert problem(reply) == "method_not_allowed"


def test_head_is_get_without_a_body(world: World) -> None:
    reply = world.send("HEAD", "/me", world.host)
    assert (reply.status_code, reply.content) == (200, b"")
    stream = world.send("HEAD", f"/games/{world.game}/events", world.host)
    assert stream.status_code == 405


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1.5", "x", "1e2", "٣", "", "9" * 5000, "\x00"])
def test_a_limit_that_is_none_is_refused(world: World, limit: str) -> None:
    for path in ("/quizzes", "/games", f"/games/{world.game}/participants"):
        assert refused(world.send("GET", path, world.host, params={"limit": limit})) == (422, "invalid")


@pytest.mark.parametrize(
    "cursor", ["x", "o", "o-1", "o" + "9" * 30, "AAAA", "====", "\x00", "ü", "é" * 500, "MDAw", "o٣"]
)
def test_a_cursor_that_no_list_gave_is_refused(world: World, cursor: str) -> None:
    for path in ("/quizzes", "/games", f"/games/{world.game}/participants"):
        assert refused(world.send("GET", path, world.host, params={"cursor": cursor})) == (422, "cursor_invalid")


@pytest.mark.parametrize(
    "query",
    ["?%ff", "?&&&===", "?limit", "?limit=1&limit=x", "?%00=%00", "?a" * 2000, "?\xff\xfe", "?token=", "?x=%zz"],
)
def test_a_query_string_of_junk_harms_nobody(world: World, query: str) -> None:
    for method, path, token in (
        ("GET", "/quizzes", world.host),
        ("GET", f"/games/{world.game}", world.host),
        ("GET", f"/games/{world.game}/state", world.player),
        ("POST", f"/games/{world.game}/screen", world.host),
    ):
        request = f"{method} {BASE}{path}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        heard = world.raw(f"{request}Content-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1"))
        assert heard.split(b" ", 2)[1] in (b"200", b"201", b"422", b"400"), heard


@pytest.mark.parametrize(
    "host", ["", "[", "[::1", "a b", "evil.example:x", "x" * 5000, "\xff", "a/b", "a@b", "<script>"]
)
def test_a_host_header_of_junk_harms_nobody(world: World, host: str) -> None:
    request = f"GET {BASE}/games/{world.game} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {world.host}\r\n"
    heard = world.raw(f"{request}Connection: close\r\n\r\n".encode("latin-1"))
    assert heard.split(b" ", 2)[1] in (b"200", b"400"), heard


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "junk, more junk"},
        {"X-Forwarded-Proto": "javascript"},
        {"Accept": "\xff" * 100},
        {"Accept": "application/msgpack;q=x"},
        {"If-Match": '"' * 100},
        {"Origin": "http://[::"},
        {"Last-Event-ID": "\xff-\xfe"},
        {"Content-Length": "0"},
        {"Range": "bytes=0-1"},
        {"Idempotency-Key": "\xff" * 200},
        {"X-Request-Id": "\xff"},
        {"Sec-Fetch-Site": "\xff"},
    ],
    ids=str,
)
def test_headers_of_junk_harm_nobody(world: World, headers: dict[str, str]) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    assert world.send("GET", "/me", world.host, headers=sent).status_code == 200
    assert (
        world.send("POST", "/quizzes", world.host, headers=sent | {"Content-Length": "2"}, content=b"{}").status_code
        == 422
    )


def test_an_absurd_idempotency_key_is_refused(world: World) -> None:
    key = {"Idempotency-Key": "x" * 201}
    assert refused(world.send("POST", "/quizzes", world.host, json=QUIZ, headers=key)) == (422, "invalid")
    joining = world.send("POST", "/join", json={"pin": world.pin, "nickname": "K"}, headers=key)
    assert refused(joining) == (422, "invalid")


@pytest.mark.parametrize("kind", ["", "pdf", "JSON", "\x00", "x" * 1000])
def test_a_format_that_is_none_is_refused(world: World, kind: str) -> None:
    for path in (f"/games/{world.game}/results", f"/quizzes/{world.quiz}/export"):
        assert refused(world.send("GET", path, world.host, params={"format": kind})) == (422, "invalid")
    if kind:
        reply = world.send("POST", "/quizzes/import", world.host, params={"format": kind}, content=b"{}")
        assert refused(reply) == (422, "file_invalid")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 1000,
        b"\xff\xfe",
        b"{",
        b"[]",
        b"{}",
        b"PK\x03\x04",
        b"a,b\n" * 100,
        b"#Q \x00\n^ x\nA x",
        b"\xef\xbb\xbf",
    ],
)
@pytest.mark.parametrize("kind", ["", "json", "csv", "opentrivia"])
def test_a_file_that_is_no_quiz_is_refused(world: World, data: bytes, kind: str) -> None:
    params = {"format": kind} if kind else {}
    reply = world.send("POST", "/quizzes/import", world.host, params=params, content=data)
    assert refused(reply) == (422, "file_invalid")


def test_a_file_name_of_any_shape_is_only_a_title(world: World) -> None:
    data = b"#Q Two and two?\n^ four\nA four\nB five\n"
    for name in ("../../etc/passwd", "\x00", "x" * 5000, "\u202e", "'"):
        reply = world.send(
            "POST", "/quizzes/import", world.host, params={"format": "opentrivia", "name": name}, content=data
        )
        assert reply.status_code == 201 or refused(reply) == (422, "file_invalid")


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", b"GET /"])
def test_a_head_without_end_is_cut_off(world: World, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", world.site.port), 5) as line:
        line.sendall(start)
        sent = 0
        try:
            while sent < 20_000_000:
                sent += line.send(b"x" * 10_000)
        except OSError:
            pass
        assert sent < 20_000_000


def test_a_head_may_come_in_pieces_and_be_rather_long(world: World) -> None:
    head = f"GET {BASE}/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.host}\r\nX: {'x' * 60_000}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.site.port), 5) as line:
        for _ in range(2):  # the second on the same line
            for first in range(0, len(head), 5000):
                line.sendall(head[first : first + 5000].encode())
            heard = b""
            while not heard.endswith(b"}"):
                heard += line.recv(65536)
            assert heard.startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_gets_no_more_than_a_400(world: World) -> None:
    for request in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        heard = world.raw(request)
        assert not heard or heard.split(b" ", 2)[1] in (b"400", b"404", b"505"), heard


def test_answers_are_taken_after_all_of_this(world: World) -> None:
    assert world.answer(1).status_code == 202
    assert status_of(QuizcastError()) == 500
    assert msgspec.json.decode(world.send("GET", f"/games/{world.game}/state", world.player).content)["me"]["answered"]
