"""Whether somebody may be told if a PIN is right: what stands between six digits and who tries them all; floor 5.

Wrong PINs count, right ones never. Over the bound a right PIN is told nothing either, or the refusals would be as good
a guide as the answers; but in a game that an address was let into before, it stays welcome. So a school, which is one
address, shuts nobody out of the game that it plays, and neither does who guesses from it. docs/security.md reckons.
"""

from quizcast.errors import PinUnknown, TooManyPins
from quizcast.live.redis import Live
from quizcast.live.throttle import hidden, neighbourhood
from quizcast.metrics import WRONG_PINS

WINDOW_MS = 60_000
PRESSED_MAX = 3  # slips of the finger that anybody has, however many others are guessing …
PRESSED_MS = 600_000  # … and for how long those count then
KNOWN_MAX = 50_000  # addresses in games that a process need not ask about; 10 MB


class Pins:
    """The judge of PINs. One per process; what it counts is in Redis, for all of them together."""

    def __init__(self, live: Live) -> None:
        self._live = live
        settings = live.settings
        # One hash tag for all, so that on a cluster the script may touch them together.
        self._prefix = f"{settings.key_prefix}{{pins}}:"
        self._limits = (
            settings.wrong_pins_per_minute,
            settings.wrong_pins_per_minute_total,
            PRESSED_MAX,
            WINDOW_MS,
            PRESSED_MS,
            settings.game_ttl_s,
        )
        self._known: set[str] = set()

    async def judge(self, address: str, game_id: str | None) -> str:
        """The game again that somebody's PIN has led to. None for a PIN that leads nowhere.

        Raises `PinUnknown`, `TooManyPins` (whatever the PIN) or `RedisUnavailable`.
        """
        whose = hidden(neighbourhood(address))
        mark = f"{self._prefix}known:{hidden(f'{whose} {game_id}')}"
        if game_id is not None and mark in self._known:
            return game_id
        keys = [f"{self._prefix}wrong:{whose}", f"{self._prefix}wrong", mark]
        verdict, wait_ms = await self._live.script("pin", keys, [int(game_id is not None), *self._limits])
        if verdict == b"wait":
            WRONG_PINS.labels(TooManyPins.code).inc()
            raise TooManyPins(retry_after_s=wait_ms / 1000)
        if game_id is None:
            WRONG_PINS.labels(PinUnknown.code).inc()
            raise PinUnknown()
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known.add(mark)
        return game_id
