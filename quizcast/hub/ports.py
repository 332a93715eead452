"""What the hub needs from others: the event log, and what depends on who looks; the app plugs them in; floor 5."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from quizcast.wire.events import Gap, History, Message, Position


class EventLog(Protocol):
    """Where kept events are, and where news comes from. Two of them: on Redis, and in memory for tests."""

    async def listen(self, game_id: str) -> None:
        """Return once every later message of the game will be delivered."""

    async def unlisten(self, game_id: str) -> None:
        """Hear no more of the game."""

    async def since(self, game_id: str, after: Position) -> History | Gap:
        """Every kept event after a position, or a `Gap`."""

    async def recent(self, game_id: str, most: int) -> History:
        """The latest kept events."""


class Views(Protocol):
    """What the hub has to ask for, because it depends on who looks."""

    async def belongs(self, game_id: str, participant_id: str) -> None:
        """Raise `NotInGame` unless they take part: who was kicked may still hold a token."""

    async def removed(self, game_id: str, people: Sequence[str]) -> Mapping[str, str]:
        """Which of these the host has removed from the game, and why: `kicked` or `banned`."""

    async def snapshot(self, game_id: str, participant_id: str | None) -> tuple[Position, bytes]:
        """Where the game stands, as a frame, and the position it stands at. Raises `NotInGame`, `GameUnknown`."""

    async def results(self, message: Message, game_id: str, people: Sequence[str]) -> Mapping[str, bytes]:
        """What a `closed` event meant for each of these participants, as frames."""
