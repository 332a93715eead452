"""What those who look after it may see: `/metrics`, and `/api/v1/ops` for the page `/ops`; inside `web`.

Both ask for `QUIZCAST_METRICS_TOKEN` where it is set. One process of a machine, whichever it is, keeps its history.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quizcast import metrics
from quizcast.errors import Draining, QuizcastError, TokenInvalid
from quizcast.history import EVERY_S, KEPT, SERIES, History
from quizcast.settings import Settings
from quizcast.vitals import look_at_machine
from quizcast.web.bodies import JSON
from quizcast.web.http import problem_response
from quizcast.web.services import Services

LOOK_S = 1.0  # at the servers, when somebody asks for the metrics: those come without them when they are away

log = logging.getLogger(__name__)


class SeriesView(msgspec.Struct, frozen=True, kw_only=True):
    """A line of figures, one for each time in `OpsView.at`; `worry` is from where on (or `below`) they are bad."""

    name: str
    unit: str
    worry: float | None
    below: bool
    values: list[float | None]


class OpsView(msgspec.Struct, frozen=True, kw_only=True):
    """The last hour of the machine that answers."""

    every_ms: int
    target: float
    in_time_ms: int
    at: list[int]
    series: list[SeriesView]


class Operations:
    """The two routes, and the history behind one of them."""

    def __init__(self, settings: Settings, at_work: Callable[[], Services]) -> None:
        """`at_work` gives the services. Raises `Draining` when there are none."""
        self._settings = settings
        self._at_work = at_work
        self._history = History(settings.data_dir)
        self._looks: dict[str, asyncio.Task[None]] = {}

    def routes(self, base: str) -> list[Route]:
        """Both, for `GET`; `base` is the API's address."""
        return [
            Route("/metrics", self._metrics, methods=["GET"]),
            Route(f"{base}/ops", self._ops, methods=["GET"]),
        ]

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Take part in keeping the history, meanwhile."""
        task = asyncio.create_task(self._keep(), name="history")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._history.close()

    async def _metrics(self, request: Request) -> Response:
        request.state.route = "/metrics"
        if not self._allowed(request):
            return problem_response(TokenInvalid())
        await self._look()
        return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE_LATEST)

    async def _ops(self, request: Request) -> Response:
        request.state.route = "/ops"
        if not self._allowed(request):
            return problem_response(TokenInvalid())
        view = view_of(self._history)
        return Response(msgspec.json.encode(view), media_type=JSON, headers={"cache-control": "no-store"})

    def _allowed(self, request: Request) -> bool:
        wanted = f"Bearer {self._settings.metrics_token}".encode()
        given = request.headers.get("authorization", "").encode()
        return not self._settings.metrics_token or hmac.compare_digest(given, wanted)

    async def _look(self) -> None:
        """Bring up to date what is looked at only when somebody wants to know.

        Here as well as in the workers: it is when none of them lives that somebody has to be told of the queue.
        """
        look_at_machine(self._settings.data_dir)
        try:
            services = self._at_work()
        except Draining:
            return
        looks: dict[str, Callable[[], Awaitable[object]]] = {
            "redis": services.live.look,
            "postgres": services.db.look,
            **{f"shard {shard}": _queue(services, shard) for shard in range(self._settings.shards)},
        }
        for name, look in looks.items():
            # Left to its end and not cancelled, as in `readiness`.
            if name not in self._looks or self._looks[name].done():
                self._looks[name] = asyncio.create_task(_quietly(look), name=f"look at {name}")
        await asyncio.wait([self._looks[name] for name in looks], timeout=LOOK_S)

    async def _keep(self) -> None:
        while True:
            try:
                if self._history.ours():
                    await self._look()
                    # In a thread: it takes some ms, and streams and answers have their turns meanwhile.
                    await asyncio.to_thread(lambda: self._history.take(metrics.collected()))
            except QuizcastError as error:
                log.warning("no sample for the history: %s", error.code)
            except Exception as error:  # the game goes on without a history
                log.warning("no sample for the history: %s", type(error).__name__)
            await asyncio.sleep(EVERY_S)


def view_of(history: History) -> OpsView:
    """A history by its lines, as the page wants it."""
    samples = history.samples()[-KEPT:]
    return OpsView(
        every_ms=round(EVERY_S * 1000),
        target=metrics.SLO_TARGET,
        in_time_ms=round(metrics.SLO_IN_TIME_S * 1000),
        at=[one.at for one in samples],
        series=[
            SeriesView(
                name=each.name,
                unit=each.unit,
                worry=each.worry,
                below=each.below,
                values=[one.values.get(each.name) for one in samples],
            )
            for each in SERIES
        ],
    )


def _queue(services: Services, shard: int) -> Callable[[], Awaitable[object]]:
    return lambda: services.bell.look(shard)


async def _quietly(look: Callable[[], Awaitable[object]]) -> None:
    with contextlib.suppress(QuizcastError):
        await look()
