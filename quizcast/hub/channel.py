"""One game's streams in this process, what they have been told lately, and what is waiting to be told; floor 5."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from quizcast.hub.crowd import Crowd
from quizcast.hub.stream import Stream, Viewer
from quizcast.wire.events import Message, Position

RECENT_MAX = 256  # kept events in memory; older ones are read from the log
JOINED_MAX = 50  # names in one `lobby` event: a wall of names helps nobody

_decode_lobby = msgspec.json.Decoder(dict[str, int | list[str]]).decode
_encode_lobby = msgspec.json.Encoder().encode


class Fleeting:
    """Latest-wins events that wait for a crowd's turn: `progress` is replaced, `lobby` keeps the names in between."""

    def __init__(self, name: str, crowd: Crowd) -> None:
        self.name = name
        self.crowd = crowd
        self._waiting: dict[str, bytes] = {}
        self.due_at = 0.0  # of the loop's clock: not before then again

    def offer(self, message: Message) -> None:
        """Take a message in the place of the one before."""
        before = self._waiting.get(message.name)
        if message.name == "lobby":
            newer = _decode_lobby(message.data)
            names = [*(_names(_decode_lobby(before)) if before else ()), *_names(newer)]
            # One message may have hundreds of names too: of all who joined in the same round trip.
            self._waiting["lobby"] = _encode_lobby({**newer, "joined": names[-JOINED_MAX:]})
        else:
            self._waiting[message.name] = message.data

    def forget(self, name: str) -> None:
        """Drop what a kept event has overtaken."""
        self._waiting.pop(name, None)

    def take(self) -> list[tuple[str, bytes]]:
        """All that waits, as (name, data)."""
        waiting, self._waiting = self._waiting, {}
        return list(waiting.items())

    def __bool__(self) -> bool:
        return bool(self._waiting)


def _names(lobby: dict[str, int | list[str]]) -> list[str]:
    joined = lobby.get("joined")
    return joined if isinstance(joined, list) else []


class Channel:
    """A game's local side. `head` is the position of the last kept event that the streams have been given."""

    def __init__(self, game_id: str) -> None:
        self.game_id = game_id
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.staff, self.people = Crowd(), Crowd()
        self.recent: deque[Message] = deque(maxlen=RECENT_MAX)
        self.head = Position(0, 0)
        self.heard = Position(0, 0)  # the newest that was announced while the log was being read
        self.filling: asyncio.Task[None] | None = None
        self.stopped = False
        self.again = False  # the log has to be read once more after that
        self.slow = 0  # participants' streams that were behind at the last look
        self.kicks: list[str] = []  # who was kicked, so that nobody slips in who was at the door just then
        self.to_staff = Fleeting("to staff", self.staff)
        self.to_people = Fleeting("to people", self.people)
        self.timers: dict[str, asyncio.TimerHandle] = {}

    def crowd_of(self, viewer: Viewer) -> Crowd:
        """The crowd in which this viewer's streams are."""
        return self.staff if viewer.participant_id is None else self.people

    @property
    def streams(self) -> list[Stream]:
        """All of them, as of now."""
        return [*self.staff, *self.people]

    @property
    def empty(self) -> bool:
        """Whether nobody watches here."""
        return not self.staff and not self.people

    def remember(self, message: Message, position: Position) -> None:
        """A kept event has been given out."""
        self.recent.append(message)
        self.head = position

    def after(self, position: Position) -> list[Message] | None:
        """The kept events after a position, from memory; None when memory does not reach back that far."""
        if position.epoch != self.head.epoch or position.offset > self.head.offset:
            return None
        missing = self.head.offset - position.offset
        if missing > len(self.recent):
            return None
        return list(self.recent)[len(self.recent) - missing :]

    def last_closed(self) -> Message | None:
        """The latest `closed` event, unless another question has been asked since."""
        for message in reversed(self.recent):
            if message.name in ("question", "closed"):
                return message if message.name == "closed" else None
        return None

    def is_latest(self, message: Message) -> bool:
        """Whether no other event of this name has come since."""
        return next((one for one in reversed(self.recent) if one.name == message.name), None) == message

    @property
    def over(self) -> bool:
        """Whether the game has finished: nothing more will come."""
        return bool(self.recent) and self.recent[-1].name == "finished"

    def later(self, name: str, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        """Do something after a while, in the place of what was to be done under the same name."""
        self.cancel(name)

        def due() -> None:
            self.timers.pop(name, None)
            action(*args)

        self.timers[name] = asyncio.get_running_loop().call_later(delay_s, due)

    def cancel(self, name: str) -> None:
        """Do it not, after all."""
        if timer := self.timers.pop(name, None):
            timer.cancel()

    def stop(self) -> None:
        """Let go of timers and of a fill that is under way: the hub has forgotten this channel, or is about to."""
        self.stopped = True
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        if self.filling is not None:
            self.filling.cancel()
