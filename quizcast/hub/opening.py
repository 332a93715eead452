"""What a stream begins with: what its viewer has missed, or else where the game stands; floor 5."""

from collections.abc import Iterable

from quizcast.errors import GameOver
from quizcast.hub.channel import Channel
from quizcast.hub.follower import Follower
from quizcast.hub.ports import EventLog, Views
from quizcast.hub.stream import Viewer
from quizcast.metrics import RESUMES
from quizcast.wire.events import History, Message, Position, Reset, frame_of


class Opening:
    """Asks memory first, then the log, and the game itself last."""

    def __init__(self, event_log: EventLog, views: Views, follower: Follower) -> None:
        self._log = event_log
        self._views = views
        self._follower = follower

    async def frames(self, channel: Channel, viewer: Viewer, resume: Position | None) -> tuple[list[bytes], Position]:
        """The frames that bring a viewer up to a position, and that position, which the channel has reached.

        Raises `RedisUnavailable`, `GameUnknown`, `NotInGame`, and `GameOver` when there is nothing left to tell.
        """
        frames: list[bytes] = []
        if resume is not None:
            if viewer.participant_id is not None:
                await self._views.belongs(channel.game_id, viewer.participant_id)
            at = channel.head  # before anything is awaited: what comes meanwhile is not among the missed
            missed = channel.after(resume)
            if missed is not None:
                RESUMES.labels("memory").inc()
                # Of a `closed` they know, but perhaps not what it meant for them: the line broke in between.
                closed = channel.last_closed()
                if closed is not None and closed.position is not None and closed.position <= resume:
                    frames = (await self._replay(channel, viewer, [closed]))[1:]
                return [*frames, *await self._replay(channel, viewer, missed)], at
            history = await self._log.since(channel.game_id, resume)
            if isinstance(history, History):
                RESUMES.labels("log").inc()
                frames = await self._replay(channel, viewer, history.messages)
                await self._follower.reach(channel, history.head)
                return frames, history.head
            if channel.over:
                raise GameOver()  # an EventSource would keep the lost id, and come back with it for ever
            RESUMES.labels("reset").inc()
            frames.append(frame_of(Reset(reason=history.reason)))
        position, snapshot = await self._views.snapshot(channel.game_id, viewer.participant_id)
        await self._follower.reach(channel, position)
        return [*frames, snapshot], position

    async def _replay(self, channel: Channel, viewer: Viewer, messages: Iterable[Message]) -> list[bytes]:
        frames = []
        for message in messages:
            frames.append(message.frame)
            if message.name == "closed" and viewer.participant_id is not None:
                results = await self._views.results(message, channel.game_id, [viewer.participant_id])
                frames.extend(results.values())
        return frames
