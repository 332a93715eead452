"""A run as a person sees it: a live picture on a terminal, plain lines everywhere else; part of floor 9.

Drawing happens in the process that measures, so it is kept to twice a second.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quizcast.simulate import Crowd, Host, Leaderboard, Progress, Spread

DRAW_EVERY_S = 0.5
RECENT = 2000  # measurements that the picture sums up: sorting all of them would show in the figures
PLACES = 5
STAGES = {
    "joining": "joining",
    "lobby": "in the lobby",
    "question": "answering",
    "closed": "question closed",
    "leaderboard": "leaderboard",
    "checking": "comparing with the results",
    "done": "done",
}


class Scene(msgspec.Struct, kw_only=True):
    """What is on show; filled in as it comes about."""

    title: str
    pin: str = ""
    invitation: Sequence[str] = ()
    prompts: Sequence[str] = ()
    host: Host | None = None
    crowd: Crowd | None = None

    def prompt(self, question: int | None) -> str:
        """The question's words."""
        return self.prompts[question] if question is not None and question < len(self.prompts) else ""

    def places(self) -> list[tuple[int, str, float]]:
        """The last leaderboard's first places: rank, nickname, score."""
        if self.host is None:
            return []
        boards = (event.body for event in reversed(self.host.record) if isinstance(event.body, Leaderboard))
        board = next(boards, None)
        return [(place.rank, place.nickname, place.score) for place in board.top[:PLACES]] if board else []


class View(Protocol):
    """Shows progress; a `with` block long."""

    def show(self, progress: Progress) -> None:
        """The run is so far."""

    def say(self, text: str) -> None:
        """Print a line that stays."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def view(scene: Scene, console: Console) -> View:
    """The right one for where the output goes."""
    return Picture(scene, console) if console.is_terminal else Lines(scene, lambda text: print(text, flush=True))


class Lines:
    """A line for each stage."""

    def __init__(self, scene: Scene, write: Callable[[str], None]) -> None:
        self._scene = scene
        self._write = write
        self._last: tuple[str, int | None] = ("", None)

    def show(self, progress: Progress) -> None:
        """Write a line when a stage begins."""
        if (progress.stage, progress.question) == self._last:
            return
        self._last = (progress.stage, progress.question)
        number = f"question {(progress.question or 0) + 1} of {progress.question_count}"
        match progress.stage:
            case "joining":
                self.say(f"{progress.users:,} participants join")
            case "lobby":
                self.say(f"{progress.joined:,} have joined, {progress.streams:,} streams are open")
            case "question":
                self.say(f"{number}: {self._scene.prompt(progress.question)}".rstrip(": "))
            case "closed":
                self.say(f"{number}: {progress.answered:,} answers")
            case "leaderboard":
                top = ", ".join(f"{rank}. {name} {score:,.0f}" for rank, name, score in self._scene.places())
                self.say(f"{number}: {top}")
            case "checking":
                self.say("comparing what was seen with the results")

    def say(self, text: str) -> None:
        """Write a line."""
        self._write(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Picture:
    """Everything at a glance, redrawn in place."""

    def __init__(self, scene: Scene, console: Console) -> None:
        self._scene = scene
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._stage = ""
        self._drawn_at = 0.0

    def show(self, progress: Progress) -> None:
        """Draw, unless that was just done."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._drawn_at < DRAW_EVERY_S:
            return
        self._stage, self._drawn_at = progress.stage, now
        self._live.update(self._drawing(progress), refresh=True)

    def say(self, text: str) -> None:
        """Print above the picture."""
        self._console.print(text, highlight=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def _drawing(self, progress: Progress) -> RenderableType:
        scene = self._scene
        parts: list[RenderableType] = []
        if scene.pin:
            parts.append(Text(f"PIN  {' '.join(scene.pin)}", style="bold yellow"))
            parts.extend(Text(line, style="dim") for line in scene.invitation)
            parts.append(Text())
        parts.append(self._now(progress))
        parts.append(Columns([self._figures(progress), self._board()], padding=(0, 6)))
        return Panel(Group(*parts), title=f"[bold]quizcast[/] {scene.title}", title_align="left", border_style="cyan")

    def _now(self, progress: Progress) -> RenderableType:
        heading = Text(STAGES[progress.stage], style="bold")
        if progress.question is not None and progress.stage in ("question", "closed", "leaderboard"):
            heading = Text.assemble(
                (f"Question {progress.question + 1} of {progress.question_count}", "bold cyan"),
                f"  {self._scene.prompt(progress.question)}  ",
                (STAGES[progress.stage], "bold"),
            )
        done = progress.joined if progress.stage == "joining" else progress.answered
        bar = ProgressBar(total=max(progress.users, 1), completed=done, width=48)
        line = Table.grid(padding=(0, 1))
        line.add_row(bar, f"{done:,} of {progress.users:,} {'joined' if progress.stage == 'joining' else 'answered'}")
        return Group(heading, line, Text())

    def _figures(self, progress: Progress) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row("participants", f"{progress.joined:,}")
        table.add_row("streams", f"{progress.streams:,}")
        table.add_row("events received", f"{progress.events:,}")
        table.add_row("answers accepted", f"{progress.accepted:,}")
        if self._scene.crowd is not None:
            common = self._scene.crowd.common
            table.add_row("push p50 / p99", _spread(common.push_ms, common.clock.offset_ms))
            table.add_row("ack p50 / p99", _spread(common.ack_ms))
        return table

    def _board(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for rank, name, score in self._scene.places():
            table.add_row(f"{rank}.", Text(name), f"{score:,.0f}")
        return table


def _spread(values: "array[float]", plus: float = 0.0) -> str:
    spread = Spread.of(values[-RECENT:], plus=plus)
    return f"{spread.p50:.1f} / {spread.p99:.1f} ms" if spread.n else "-"
