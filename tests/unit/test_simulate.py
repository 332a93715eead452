"""The simulator's own checks, against a small server in memory that can be told to break one promise."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from quizcast.errors import FilesLimited, ServerRefused, ServerUnreachable
from quizcast.simulate import Report, run, script
from quizcast.simulate.client import Clock, full_jitter
from quizcast.simulate.crowd import connections_to_hold
from quizcast.simulate.events import Question, Reader
from quizcast.simulate.report import Spread
from quizcast.simulate.script import Lines

LEAD_MS = 30
SHUFFLE = [2, 0, 3, 1]


def now_ms() -> int:
    return int(time.time() * 1000)


class Seat:
    """One participant of the small server."""

    def __init__(self, place: int, nickname: str) -> None:
        self.id = f"p{place}"
        self.nickname = nickname
        self.score = 0
        self.answers: dict[int, dict[str, Any]] = {}


class Listener:
    """One open stream of the small server."""

    def __init__(self, seat: Seat | None) -> None:
        self.seat = seat
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()


class SmallServer:
    """One game, one host, everything in memory; `fault` names the promise that it breaks."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.used = False  # faults happen once
        self.quiz: dict[str, Any] = {}
        self.index = -1
        self.phase = "lobby"
        self.opens_at = self.closes_at = 0
        self.seats: dict[str, Seat] = {}
        self.listeners: list[Listener] = []
        self.log: list[tuple[int, str, bytes]] = []
        self.joins: dict[str, Seat] = {}
        self.held = b""
        self.host_token = "host"
        api = "/api/v1"
        self.app = Starlette(
            routes=[
                Route(f"{api}/auth/register", self.register, methods=["POST"]),
                Route(f"{api}/auth/refresh", self.refresh, methods=["POST"]),
                Route(f"{api}/quizzes", self.create_quiz, methods=["POST"]),
                Route(f"{api}/games", self.create_game, methods=["POST"]),
                Route(f"{api}/games/g/results", self.results),
                Route(f"{api}/games/g/events", self.events),
                Route(f"{api}/games/g/answers", self.answer, methods=["POST"]),
                Route(f"{api}/games/g/{{command}}", self.command, methods=["POST"]),
                Route(f"{api}/join", self.join, methods=["POST"]),
            ]
        )

    def once(self, fault: str) -> bool:
        if self.fault != fault or self.used:
            return False
        self.used = True
        return True

    # ── the host's calls ──

    async def register(self, request: Request) -> Response:
        assert set(await request.json()) == {"email", "password", "name"}
        return JSONResponse({"access_token": "host", "refresh_token": "r", "expires_in": 900}, 201)

    async def refresh(self, request: Request) -> Response:
        assert await request.json() == {"refresh_token": "r"}
        self.host_token = "host, again"
        return JSONResponse({"access_token": self.host_token, "refresh_token": "r2", "expires_in": 900})

    async def create_quiz(self, request: Request) -> Response:
        self.quiz = await request.json()
        return JSONResponse({"id": "q"}, 201)

    def game(self) -> dict[str, Any]:
        return {
            "id": "g",
            "pin": "123456",
            "quiz_id": "q",
            "join_url": "/join",
            "phase": self.phase,
            "question_count": len(self.quiz["questions"]),
            "participants": len(self.seats),
        }

    async def create_game(self, request: Request) -> Response:
        if self.fault == "another server":
            return Response("<h1>It works!</h1>", media_type="text/html")
        if self.fault == "no games":
            return JSONResponse({"code": "quiz_unknown", "detail": "what quiz?"}, 404)
        return JSONResponse(self.game(), 201)

    async def command(self, request: Request) -> Response:
        body = await request.json()
        if self.once("expired"):
            self.host_token = "none yet"
        if bearer(request) != self.host_token:
            return JSONResponse({"code": "token_expired"}, 401)
        match request.path_params["command"]:
            case "open":
                self.open(body["question"])
            case "close":
                self.close("host")
            case "leaderboard":
                self.publish("leaderboard", {"top": [], "participants": len(self.seats)})
            case "finish":
                self.phase = "finished"
                self.publish("finished", {"top": [], "participants": len(self.seats), "questions": self.index + 1})
        return JSONResponse(self.game())

    def open(self, index: int) -> None:
        question = self.quiz["questions"][index]
        self.index, self.phase = index, "question"
        self.opens_at = now_ms() + LEAD_MS
        self.closes_at = self.opens_at + question["time_limit_ms"]
        shown = {"index": index, "kind": question["kind"], "opens_at": self.opens_at, "closes_at": self.closes_at}
        if "choices" in question:
            shown["choices"] = [{"text": choice["text"]} for choice in question["choices"]]
        if "items" in question:
            shown["choices"] = [{"text": question["items"][n]} for n in SHUFFLE]
        if self.fault == "leak":
            shown["correct"] = 1
        self.publish("question", shown)
        asyncio.get_running_loop().call_later(
            (self.closes_at - now_ms()) / 1000, lambda: index == self.index and self.close("time")
        )

    def close(self, reason: str) -> None:
        if self.phase != "question":
            return
        self.phase = "closed"
        self.publish("closed", {"index": self.index, "reason": reason, "correct": None, "counts": []})
        for listener in self.listeners:
            if listener.seat is not None:
                listener.queue.put_nowait(self.result(listener.seat, self.index))

    def result(self, seat: Seat, index: int) -> bytes:
        stored = seat.answers.get(index)
        seat.score = sum(answer["points"] for answer in seat.answers.values())
        told = seat.score + (5 if self.fault == "wrong score" and seat.id == "p0" else 0)
        body: dict[str, Any] = {"index": index, "score": told, "rank": 1, "streak": 0}
        for field, default in (("points", 0), ("correct", False), ("answer", None)):
            body[field] = default if stored is None else stored[field]
        return f"event: result\ndata: {json.dumps(body)}\n\n".encode()

    async def results(self, request: Request) -> Response:
        ranking = []
        for seat in self.seats.values():
            answers = [seat.answers.get(n) for n in range(self.index + 1)]
            if seat.id == "p0" and self.fault == "lost answer":
                answers[0] = None
            if seat.id == "p0" and self.fault == "answer twice":
                answers.append(answers[0])
            if seat.id == "p0" and self.fault == "changed answer":
                answers[0] = (answers[0] or {}) | {"answer": 3 if answers[0]["answer"] != 3 else 2}
            row = {"rank": 1, "participant_id": seat.id, "nickname": seat.nickname, "score": seat.score}
            ranking.append(row | {"answers": answers})
        return JSONResponse({"ranking": ranking})

    # ── the participants' calls ──

    async def join(self, request: Request) -> Response:
        body = await request.json()
        if self.once("busy"):
            return Response(status_code=503, headers={"Retry-After": "0"})
        key = request.headers["Idempotency-Key"]
        seat = self.joins.get(key)
        if seat is None:
            seat = self.joins[key] = Seat(len(self.seats), body["nickname"])
            self.seats[seat.id] = seat
            if self.once("lost join"):
                return broken()
        urls = {
            "events_url": "https://elsewhere.example/api/v1/games/g/events",
            "answers_url": "/api/v1/games/g/answers",
        }
        you = {"game_id": "g", "participant_id": seat.id, "nickname": seat.nickname, "token": seat.id}
        return JSONResponse(you | urls, 201)

    async def answer(self, request: Request) -> Response:
        seat = self.seats[bearer(request)]
        packed = request.headers["Content-Type"] == "application/msgpack"
        raw = await request.body()
        body = msgspec.msgpack.decode(raw) if packed else msgspec.json.decode(raw)
        index, value = body["question"], body["answer"]
        if self.once("busy answer"):
            return Response(status_code=429, headers={"Retry-After": "0"})
        if self.once("too early"):
            return JSONResponse({"code": "question_not_open"}, 409)
        duplicate = index in seat.answers
        if not duplicate and (index != self.index or self.phase != "question" or self.once("refuse")):
            return JSONResponse({"code": "question_closed"}, 409)
        if not duplicate:
            seat.answers[index] = self.marked(index, value)
        if self.once("lost ack"):
            return broken()
        if all(self.index in other.answers for other in self.seats.values()):
            asyncio.get_running_loop().call_soon(self.close, "all_answered")
        receipt = {"question": index, "received_at": seat.answers[index]["received_at"], "duplicate": duplicate}
        if packed:
            return Response(msgspec.msgpack.encode(receipt), 202, media_type="application/msgpack")
        return JSONResponse(receipt, 202)

    def marked(self, index: int, value: Any) -> dict[str, Any]:
        question = self.quiz["questions"][index]
        match question["kind"]:
            case "single":
                correct = question["choices"][value]["correct"]
            case "multiple":
                correct = value == [n for n, choice in enumerate(question["choices"]) if choice["correct"]]
            case "true_false":
                correct = value is question["correct"]
            case "numeric":
                correct = abs(value - question["correct"]) <= question["tolerance"]
            case "text":
                correct = value in question["accepted"]
            case "order":
                correct = [SHUFFLE[n] for n in value] == [0, 1, 2, 3]
            case _:
                correct = None
        if self.fault == "wrong mark" and correct is not None:
            correct = not correct
        points = 100 if correct else 0
        stored = {"question": index, "answer": value, "correct": correct, "points": points}
        return stored | {"received_at": now_ms()}

    # ── streams ──

    def publish(self, name: str, data: dict[str, Any]) -> None:
        offset = len(self.log) + 1
        body = json.dumps(data | {"server_now_at": now_ms()})
        frame = f"event: {name}\nid: e-{offset}\ndata: {body}\n\n".encode()
        self.log.append((offset, name, frame))
        for listener in list(self.listeners):
            sent = [frame]
            if listener.seat is not None and listener.seat.id == "p0":
                sent = self.spoiled(name, frame)
            for piece in sent:
                listener.queue.put_nowait(piece)
            if name == "leaderboard" and self.fault in ("drain", "cut", "reset") and offset < 5:
                if self.fault == "drain":
                    listener.queue.put_nowait(b'event: drain\ndata: {"retry_ms": 20}\n\n')
                listener.queue.put_nowait(None)

    def spoiled(self, name: str, frame: bytes) -> list[bytes]:
        if name == "leaderboard" and self.once("lose"):
            return []
        if name == "leaderboard" and self.once("duplicate"):
            return [frame, frame]
        if name == "leaderboard" and self.once("reorder"):
            self.held = frame
            return []
        if name == "question" and self.once("early result"):
            return [frame, self.result(self.seats["p0"], self.index)]
        if name == "question" and self.once("kick"):
            return [b'event: kicked\ndata: {"reason": "host"}\n\n', None]  # type: ignore[list-item]
        held, self.held = self.held, b""
        return [frame, held] if held else [frame]

    async def events(self, request: Request) -> Response:
        token = bearer(request)
        if self.once("busy stream"):
            return Response(status_code=503, headers={"Retry-After": "0"})
        listener = Listener(None if token.startswith("host") else self.seats[token])
        last = request.headers.get("Last-Event-ID", "")
        if last and self.fault == "reset" and listener.seat is not None:
            snapshot = json.dumps({"phase": self.phase, "server_now_at": now_ms()})
            listener.queue.put_nowait(b'event: reset\ndata: {"reason": "gone"}\n\n')
            listener.queue.put_nowait(f"event: snapshot\ndata: {snapshot}\n\n".encode())
        elif last:
            for _, name, frame in self.log[int(last.removeprefix("e-")) :]:
                listener.queue.put_nowait(frame)
                if name == "closed" and listener.seat is not None:
                    listener.queue.put_nowait(self.result(listener.seat, json.loads(data_of(frame))["index"]))
        else:
            snapshot = json.dumps({"phase": self.phase, "server_now_at": now_ms()})
            listener.queue.put_nowait(f": hello\n\nevent: snapshot\ndata: {snapshot}\n\n".encode())
        self.listeners.append(listener)
        return StreamingResponse(self.pump(listener), media_type="text/event-stream")

    async def pump(self, listener: Listener) -> AsyncIterator[bytes]:
        try:
            while (frame := await listener.queue.get()) is not None:
                if self.fault == "split frames":
                    frame = frame.replace(b"\n", b"\r\n")
                    for start in range(0, len(frame), 7):
                        yield frame[start : start + 7]
                elif frame:
                    yield frame
        finally:
            self.listeners.remove(listener)


def data_of(frame: bytes) -> bytes:
    return frame.partition(b"data: ")[2]


def bearer(request: Request) -> str:
    return request.headers["Authorization"].removeprefix("Bearer ")


def broken() -> Response:
    """A reply that breaks off, as from a process that died."""

    async def half() -> AsyncIterator[bytes]:
        yield b"{"
        raise ConnectionResetError

    return StreamingResponse(half(), 202)


class Stage:
    """A socket and a thread for the whole module, on which each test puts a small server of its own."""

    def __init__(self, listening: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.server = SmallServer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.server.app(scope, receive, send)

    def simulated(self, fault: str, **options: Any) -> Report:
        self.server = SmallServer(fault)
        options = {"users": 5, "questions": 2, "answer_window_ms": 40, "join_over_s": 0.05} | options
        return run(self.url, time_limit_ms=400, patience_s=0.15, settle_s=0.1, timeout_s=3.0, seed=1, **options)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stage = Stage(listening)
        server = uvicorn.Server(uvicorn.Config(stage, log_level=60, lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: server.run([listening]))
        thread.start()
        yield stage
        server.should_exit = True
        thread.join()


def broken_checks(report: Report) -> set[str]:
    return {name for name, held in report.checks.items() if not held}


@pytest.mark.parametrize("msgpack", [False, True])
def test_a_server_that_keeps_every_promise_passes_with_questions_of_every_kind(stage: Stage, msgpack: bool) -> None:
    told: list[Any] = []
    report = stage.simulated("", users=20, questions=8, msgpack=msgpack, progress=told.append)
    assert report.ok, report.text()
    assert report.answers.sent == report.answers.accepted == report.answers.in_results == 160
    # question, closed and leaderboard for each of 8 questions, and one finished
    assert report.events.expected == report.events.received == 20 * 25
    assert report.closed_by == {"all_answered": 8}
    assert report.push_ms.n == 20 * 25
    assert 0 <= report.push_ms.p50 < 500
    assert 0 < report.ack_ms.p50 <= report.ack_ms.max < 1500
    assert report.reveal_skew_ms.n == 8
    assert {"lobby", "question", "checking", "done"} <= {progress.stage for progress in told}
    assert told[-1].accepted == 160


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        ("lose", {"no_event_missed"}),
        ("duplicate", {"none_duplicated"}),
        ("reorder", {"in_order"}),
        ("leak", {"answer_key_hidden"}),
        ("early result", {"answer_key_hidden"}),
        ("lost answer", {"every_ack_in_results"}),
        ("changed answer", {"every_ack_in_results", "nothing_extra_in_results", "scores_agree"}),
        ("answer twice", {"no_answer_twice"}),
        ("wrong score", {"scores_agree"}),
        ("wrong mark", {"marks_agree"}),
        ("refuse", {"every_answer_accepted"}),
        ("kick", {"every_answer_accepted", "everybody_told_each_result", "no_errors"}),
    ],
)
def test_a_broken_promise_is_caught_by_its_check_alone(stage: Stage, fault: str, checks: set[str]) -> None:
    report = stage.simulated(fault)
    assert not report.ok
    assert broken_checks(report) == checks, report.text()


@pytest.mark.parametrize(
    "trouble", ["busy", "lost join", "busy answer", "lost ack", "too early", "busy stream", "split frames", "expired"]
)
def test_what_a_good_client_gets_over_is_no_failure(stage: Stage, trouble: str) -> None:
    report = stage.simulated(trouble)
    assert report.ok, report.text()
    assert report.answers.accepted == 10


@pytest.mark.parametrize("ending", ["drain", "cut"])
def test_streams_that_end_are_resumed_without_loss_or_repetition(stage: Stage, ending: str) -> None:
    report = stage.simulated(ending)
    assert report.ok, report.text()
    assert report.resume_ms
    assert report.resume_ms.n == 5
    assert json.loads(report.to_json())["resume_ms"]["max"] > 0


def test_history_that_is_gone_is_counted_as_resets(stage: Stage) -> None:
    report = stage.simulated("reset")
    assert report.resets == 5
    assert report.checks["all_streams_open"]
    assert report.checks["none_duplicated"]


def test_the_report_has_the_contracts_fields_and_reads_on_a_terminal(stage: Stage) -> None:
    report = stage.simulated("lose")
    plain = json.loads(report.to_json())
    assert plain.keys() >= {"users", "questions", "joined", "streams", "answers", "events", "checks", "ok"}
    assert "resume_ms" not in plain
    for figure in ("join_ms", "push_ms", "ack_ms", "reveal_skew_ms"):
        assert plain[figure].keys() >= {"p50", "p90", "p99", "max"}
    assert plain["answers"].keys() == {"sent", "accepted", "in_results", "refused", "errors"}
    assert plain["events"] == {"expected": 35, "received": 34, "missed": 1, "duplicated": 0, "out_of_order": 0}
    assert "FAIL  no event missed" in report.text()


def test_a_game_that_cannot_be_played_ends_with_the_servers_reason(stage: Stage) -> None:
    with pytest.raises(ServerRefused, match="quiz_unknown what quiz"):
        stage.simulated("no games")


def test_a_server_that_is_no_quizcast_is_told_from_one_that_is(stage: Stage) -> None:
    with pytest.raises(ServerRefused, match="not what a quizcast server"):
        stage.simulated("another server")


def test_short_of_descriptors_participants_connect_anew_for_each_answer_and_the_report_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizcast.simulate.crowd.connections_to_hold", lambda users: 2)
    report = stage.simulated("")
    assert report.ok, report.text()
    assert report.connections_held == 2
    assert "the other 3 participants connected anew" in report.text()


def test_an_address_where_nothing_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{port}"):
        run(f"http://127.0.0.1:{port}", users=1)


def test_more_participants_than_open_files_are_refused_with_advice() -> None:
    with pytest.raises(FilesLimited, match="ulimit -n"):
        connections_to_hold(2_000_000_000)


def test_a_spread_gives_values_that_occurred() -> None:
    spread = Spread.of(range(1, 101))
    assert (spread.p50, spread.p90, spread.p99, spread.max, spread.n) == (50, 90, 99, 100, 100)
    assert Spread.of([]).n == 0


def test_jitter_spreads_over_a_growing_span_above_what_was_asked_for() -> None:
    rng = random.Random(1)
    waits = [full_jitter(rng, 3, at_least_s=1.0) for _ in range(1000)]
    assert 1.0 <= min(waits) < 1.1
    assert 2.9 < max(waits) <= 3.0


def test_a_remote_clock_is_read_from_the_quickest_exchange() -> None:
    clock = Clock(shared=False)
    clock.heard(10.0, 11.0, 30_000)
    clock.heard(20.0, 20.1, 25_050)
    clock.heard(30.0, 31.0, 90_000)
    assert clock.offset_ms == pytest.approx(5000)
    assert clock.rtt_ms == pytest.approx(100)


def test_answers_marked_right_beforehand_follow_the_order_as_sent() -> None:
    known = script.KINDS[5]
    asked = Question(index=0, kind="order", opens_at=0, closes_at=0, choices=["hour", "day", "second", "minute"])
    lines = Lines(asked, known, msgpack=False)
    assert [say.value for say in lines.right] == [[2, 3, 0, 1]]


def test_frames_may_come_with_comments_and_unknown_events() -> None:
    reader = Reader()
    assert reader.read(b": ping") is None
    confetti = reader.read(b"event: confetti\ndata: {}")
    assert confetti is not None
    assert confetti.body is None
    assert not reader.malformed
    assert reader.read(b'event: closed\nid: 1-1\ndata: {"index": "x"}') is None
    assert reader.malformed
