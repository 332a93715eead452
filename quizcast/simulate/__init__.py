"""The simulator: participants and a host over real HTTP and SSE against any server, and a report; floor 8.

`simulate` is a whole run; `Host`, `Crowd`, `play` and `verdict` are its parts, for `demo` to put together otherwise.
It knows the contract and no module of the server.
"""

from quizcast.simulate.client import Address
from quizcast.simulate.crowd import Crowd
from quizcast.simulate.events import Leaderboard
from quizcast.simulate.host import Game, Host, Results
from quizcast.simulate.participant import Participant
from quizcast.simulate.report import Report, Spread
from quizcast.simulate.run import Progress, Watch, play, run, simulate, verdict

__all__ = [
    "Address",
    "Crowd",
    "Game",
    "Host",
    "Leaderboard",
    "Participant",
    "Progress",
    "Report",
    "Results",
    "Spread",
    "Watch",
    "play",
    "run",
    "simulate",
    "verdict",
]
