"""The demo: a whole quizcast on one command, with a crowd, an automatic host and a view of it; floor 9.

The tree, the crowd and the host share this process, whose main thread looks after the tree in between. People who
join the same game play along; the checks are about the crowd alone.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console

from quizcast import formats
from quizcast.demo.view import Scene, View, view
from quizcast.settings import Settings
from quizcast.simulate import Address, Crowd, Host, Report, Watch, play, verdict
from quizcast.supervisor import TICK_S, Signals, Sink, Supervisor, to_stderr

QUIZ = "opentriviaqa/demo.json"
ADJECTIVES = (
    "Amber",
    "Bold",
    "Brave",
    "Calm",
    "Clever",
    "Eager",
    "Fair",
    "Gentle",
    "Happy",
    "Jolly",
    "Keen",
    "Lucky",
    "Merry",
    "Nimble",
    "Proud",
    "Quick",
)
ANIMALS = (
    "Badger",
    "Beaver",
    "Crane",
    "Dolphin",
    "Falcon",
    "Fox",
    "Gecko",
    "Hare",
    "Heron",
    "Ibex",
    "Koala",
    "Lynx",
    "Marmot",
    "Newt",
    "Otter",
    "Owl",
)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a game goes. `answer_window_ms` is over how long the crowd spreads its answers."""

    lobby_s: float
    time_limit_ms: int
    answer_window_ms: float
    look_s: float
    between_s: float


FOR_PEOPLE = Pace(lobby_s=15.0, time_limit_ms=20_000, answer_window_ms=8000, look_s=6.0, between_s=15.0)
FOR_MACHINES = Pace(lobby_s=0.0, time_limit_ms=10_000, answer_window_ms=1000, look_s=0.0, between_s=0.0)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to play. `once` ends after one game, played at the machines' pace."""

    users: int
    questions: int
    once: bool
    host: str
    port: int
    web: int
    workers: int
    data_dir: Path | None = None
    report: Path | None = None

    @property
    def pace(self) -> Pace:
        """How fast."""
        return FOR_MACHINES if self.once else FOR_PEOPLE


def demo(settings: Settings, plan: Plan, console: Console) -> int:
    """Play until asked to stop, or once; the exit status: 0 when every check of the (last) game held.

    Raises `OperatorError`s.
    """
    with _data_dir(plan.data_dir) as folder, Signals() as signals, _sink(folder, console) as sink:
        own = msgspec.structs.replace(settings, data_dir=folder)
        tree = Supervisor(own, host=plan.host, port=plan.port, web=plan.web, workers=plan.workers, sink=sink)
        try:
            if not tree.start(lambda: signals.stopping):
                return 0
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_tended(tree, signals, plan, console))
        finally:
            tree.stop(lambda: signals.hurrying)


async def _tended(tree: Supervisor, signals: Signals, plan: Plan, console: Console) -> int:
    """Play, and look after the tree meanwhile."""
    playing = asyncio.create_task(_games(tree, plan, console))
    try:
        while not playing.done() and not signals.stopping:
            tree.tend()
            await asyncio.wait({playing}, timeout=TICK_S)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    return 0 if playing.cancelled() else playing.result()


async def _games(tree: Supervisor, plan: Plan, console: Console) -> int:
    console.print(f"quizcast is ready on {tree.url}", highlight=False)
    quiz = load_quiz(plan.questions, plan.pace.time_limit_ms)
    address = await Address.resolve(tree.url)
    while True:
        report = await _game(address, tree.public_url, quiz, plan, console)
        console.print(report.text(), highlight=False, markup=False, soft_wrap=True)
        if plan.report is not None:
            plan.report.write_bytes(report.to_json() + b"\n")
        if plan.once:
            return 0 if report.ok else 1
        console.print(f"The next game begins in {plan.pace.between_s:g} s; press Ctrl-C to stop.", highlight=False)
        await asyncio.sleep(plan.pace.between_s)


async def _game(address: Address, public_url: str, quiz: Mapping[str, Any], plan: Plan, console: Console) -> Report:
    pace = plan.pace
    host = await Host.register(address)
    crowd = Crowd(address, plan.users, quiz=quiz, answer_window_ms=pace.answer_window_ms, nickname=nickname)
    prompts = [question["prompt"] for question in quiz["questions"]]
    scene = Scene(title=quiz["title"], prompts=prompts, host=host, crowd=crowd)
    with view(scene, console) as shown:
        watch = Watch(host, crowd, len(prompts), shown.show)
        try:
            async with watch.watching():
                game = await host.create_game(await host.create_quiz(quiz), {})
                scene.pin, scene.invitation = game.pin, invitation(game.pin, public_url)
                _invite(shown, scene)
                watch.enter("joining")
                await crowd.join(game.pin)
                watch.enter("lobby")
                await asyncio.sleep(pace.lobby_s)
                await play(host, crowd, watch, pause_s=pace.look_s)
                return await verdict(host, crowd, watch)
        finally:
            await crowd.leave()
            await host.leave()


def _invite(shown: View, scene: Scene) -> None:
    shown.say(f"PIN {scene.pin}")
    for line in scene.invitation:
        shown.say(line)


def invitation(pin: str, url: str) -> list[str]:
    """How a person gets into the game."""
    body = msgspec.json.encode({"pin": pin, "nickname": "Me"}).decode()
    return [f"join with: curl {url}/api/v1/join --json '{body}'"]


def load_quiz(questions: int, time_limit_ms: int) -> dict[str, Any]:
    """The packaged quiz with so many questions (from the start again where there are too few) and this time limit."""
    data = (resources.files("quizcast") / "data" / QUIZ).read_bytes()
    quiz = formats.parse(data, name=QUIZ).quizzes[0]
    body: dict[str, Any] = msgspec.json.decode(formats.dump(quiz, "json").data)
    kept = [body["questions"][place % len(body["questions"])] for place in range(questions)]
    return body | {"questions": [question | {"time_limit_ms": time_limit_ms} for question in kept]}


def nickname(place: int) -> str:
    """A name for the participant in this place; no two are alike."""
    round_, rest = divmod(place, len(ADJECTIVES) * len(ANIMALS))
    name = f"{ADJECTIVES[rest // len(ANIMALS)]} {ANIMALS[rest % len(ANIMALS)]}"
    return f"{name} {round_ + 1}" if round_ else name


@contextlib.contextmanager
def _data_dir(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    folder = Path(tempfile.mkdtemp(prefix="quizcast-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _sink(folder: Path, console: Console) -> Iterator[Sink]:
    """Where the tree's processes write: beside a picture there is no room for their lines."""
    if not console.is_terminal:
        yield to_stderr
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "demo.log").open("ab", buffering=0) as file:
        yield file.write
