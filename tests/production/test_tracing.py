"""One answer as one trace, from the POST to the commit, at a receiver of the test's own that speaks OTLP over HTTP."""

import http.server
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from quizcast.embedded import Services
from quizcast.wire.rows import AnswerRow, decode_row, encode_row
from tests.client import Api
from tests.fix_tree import environment, wait_until
from tests.fix_web import Site, installed, listening, part_environment, start_part, stop_parts, wait_ready

POST = "POST /games/{game_id}/answers"
SERVER, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER
NICKNAME = "Zerlina of the test"
_letters = iter(string.ascii_lowercase)  # an installation's database is named by those of its folder


class Receiver:
    """What has arrived: for each span, the process it comes from."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.raw = b""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Its address, as the standard variable has it."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        """One export."""
        assert path == "/v1/traces"
        self.raw += body
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in sent.resource.attributes}
            assert about["service.name"] == "quizcast"
            for scope in sent.scope_spans:
                self.spans += [(about["quizcast.process"], span) for span in scope.spans]

    def named(self, name: str) -> list[tuple[str, Span]]:
        """The spans of a name."""
        return [(process, span) for process, span in self.spans if span.name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver at work."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def start_site(
    services: Services, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Starts one web process and one worker with these variables in their environment."""
    running: list[subprocess.Popen[bytes]] = []

    def start(variables: Mapping[str, str]) -> Site:
        settings = installed(services, template_database, tmp_path_factory.mktemp(f"traced{next(_letters)}"))
        env = part_environment(settings) | {"OTEL_BSP_SCHEDULE_DELAY": "100"} | variables
        door = listening()
        logs = [settings.data_dir / "web.log", settings.data_dir / "worker.log"]
        running.append(start_part(logs[0], env, "web", "--fd", str(door.fileno()), doors=[door]))
        running.append(start_part(logs[1], env, "worker"))
        site = Site(f"http://127.0.0.1:{door.getsockname()[1]}", settings, logs)
        door.close()
        wait_ready(site)
        return site

    yield start
    stop_parts(running)


async def play(site: Site, *, answers: int = 1, headers: Mapping[str, str] | None = None) -> None:
    """A game in which so many answer, until their answers are in Postgres."""
    async with Api(site.url) as api:
        game = await (await api.host()).game(lead_ms=0)
        players = [await game.join(f"{NICKNAME} {number}") for number in range(answers)]
        await game.open()
        for player in players:
            assert (await player.answer(0, 1, headers=dict(headers or {}))).status_code == 202
        await game.results_with(answers)


async def test_an_answer_is_one_trace_from_the_post_to_the_commit(
    start_site: Callable[..., Site], receiver: Receiver
) -> None:
    site = start_site({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
    await play(site, answers=3)
    wait_until(lambda: len(receiver.named("store")) == len(receiver.named(POST)) == 3)
    for process, post in receiver.named(POST):
        parts = {span.name: (of, span) for of, span in receiver.spans if span.parent_span_id == post.span_id}
        assert set(parts) == {"intake", "store"}
        assert {span.trace_id for _, span in parts.values()} == {post.trace_id}
        assert (process, parts["intake"][0], parts["store"][0]) == ("web", "web", "worker")
        assert (post.kind, parts["store"][1].kind) == (SERVER, CONSUMER)
        assert post.start_time_unix_nano <= parts["intake"][1].start_time_unix_nano
        assert parts["intake"][1].end_time_unix_nano <= post.end_time_unix_nano < parts["store"][1].end_time_unix_nano
        about = {one.key: one.value for one in post.attributes}
        assert about["http.response.status_code"].int_value == 202
    assert len({post.trace_id for _, post in receiver.named(POST)}) == 3
    assert NICKNAME.encode() not in receiver.raw
    assert b"eyJ" not in receiver.raw  # how a token begins


async def test_what_is_sampled_is_up_to_the_operator_and_to_no_client(
    start_site: Callable[..., Site], receiver: Receiver
) -> None:
    site = start_site({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_TRACES_SAMPLER": "always_off"})
    asked = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    await play(site, headers=asked)
    assert receiver.spans == []


async def test_where_nobody_listens_answers_are_taken_and_stored_all_the_same(start_site: Callable[..., Site]) -> None:
    door = listening()
    url = f"http://127.0.0.1:{door.getsockname()[1]}"
    door.close()
    await play(start_site({"OTEL_EXPORTER_OTLP_ENDPOINT": url}))


def test_without_the_extra_everything_loads_and_nothing_is_traced() -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None;"
        "import quizcast.web.server, quizcast.flush; from quizcast import tracing;"
        "tracing.start('web'); print(tracing.on(), tracing.begin('POST', '/', 'g'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment())
    assert (done.stdout, done.stderr) == ("False None\n", "")


def test_where_the_extra_is_missing_a_line_says_so(tmp_path: Path) -> None:
    script = "import sys; sys.modules['opentelemetry'] = None; from quizcast import tracing; tracing.start('web')"
    env = environment() | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert "quizcast[otel]" in done.stderr


class OldRow(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """An answer's row as version 1 had it."""

    game_id: str
    question: int
    participant_id: str
    answer: str


def test_rows_of_the_version_before_and_after_can_be_read_by_each_other() -> None:
    old = OldRow("g", 1, "p", "true")
    assert decode_row(msgspec.msgpack.encode(old)) == AnswerRow("g", 1, "p", "true")
    new = AnswerRow("g", 1, "p", "true", f"00-{'a' * 32}-{'b' * 16}-01")
    assert msgspec.msgpack.decode(encode_row(new), type=OldRow) == old
