"""The last hour for those without Prometheus: how it is kept, who may see it, and the page that shows it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, expect
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from quizcast.history import EVERY_S, FILE, KEPT, SERIES, History, Moment, Sample
from quizcast.metrics import FAST
from quizcast.web.operations import view_of
from tests.fix_tree import Tree, environment, wait_until
from tests.fix_web import Site

TOKEN = "seventeen-and-four"
ROUTE = "/games/{game_id}/answers"


class World:
    """Metrics of its own, as quizcast names them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.http = Histogram(
            "quizcast_http_seconds", "x", ["method", "route", "status"], buckets=FAST, registry=self._registry
        )
        self.intake = Counter("quizcast_intake", "x", ["kind", "code"], registry=self._registry)
        self.streams = Gauge("quizcast_streams", "x", ["who"], registry=self._registry)
        self.room = Gauge("quizcast_streams_max", "x", registry=self._registry)

    def collected(self) -> list[Metric]:
        """As of now."""
        return list(self._registry.collect())

    def answered(self, took_s: float, status: int = 202, route: str = ROUTE, times: int = 1) -> None:
        """Requests that took so long."""
        for _ in range(times):
            self.http.labels("POST", route, status).observe(took_s)


def last(history: History) -> dict[str, float | None]:
    """The figures of the newest sample."""
    return history.samples()[-1].values


def test_a_sample_has_what_came_since_the_one_before(tmp_path: Path) -> None:
    world, history = World(), History(tmp_path)
    world.answered(0.004, times=1000)
    history.take(world.collected())
    assert last(history)["asked"] is None  # nobody knows since when
    world.answered(0.03, times=90)
    world.answered(0.3, times=6)
    world.answered(0.003, status=503, times=4)
    world.answered(9.0, route="/quizzes", times=50)  # no request of a game
    world.streams.labels("participant").set(850)
    world.room.set(1000)
    history.take(world.collected())
    found = last(history)
    assert (found["asked"], found["bad"]) == (100, 10)  # those that were late, and those refused for our fault
    assert (found["streams"], found["streams_share"]) == (850, 0.85)
    assert found["ack_p50"] == pytest.approx(35.33, abs=0.01)
    assert found["ack_p99"] == pytest.approx(450, abs=1)
    history.take(world.collected())
    assert (last(history)["asked"], last(history)["ack_p99"]) == (0, None)


def test_sums_that_began_anew_make_no_figure_below_nothing(tmp_path: Path) -> None:
    history = History(tmp_path)
    before, after = World(), World()
    before.answered(0.003, times=500)
    after.answered(0.003, times=5)
    history.take(before.collected())
    history.take(after.collected())
    assert last(history)["asked"] == 0
    assert last(history)["bad"] == 0


def test_a_moment_does_not_hold_on_to_all_that_were_before_it() -> None:
    first = Moment([])
    second = Moment([], first)
    second.forget()
    assert second.before is None


def test_an_hour_is_kept_and_no_more_in_a_file_of_bounded_size(tmp_path: Path) -> None:
    history, now = History(tmp_path), round(time.time() * 1000)
    values = {one.name: 1234.0 for one in SERIES}
    ages_s = [place * EVERY_S for place in range(KEPT + 200, 0, -1)]
    lines = [msgspec.json.encode(Sample(round(now - age_s * 1000), values)) for age_s in ages_s]
    tmp_path.joinpath(FILE).write_bytes(b"\n".join([*lines, b'{"of": "another version"}', b"[1"]))
    history.take(World().collected())
    kept = history.samples()
    assert len(kept) == KEPT
    assert kept[0].at >= now - 3_600_000
    assert tmp_path.joinpath(FILE).stat().st_size < 200_000
    assert len(msgspec.json.encode(view_of(history))) < 100_000


def test_one_of_several_takes_the_samples_and_when_it_ends_another_does(tmp_path: Path) -> None:
    one, other = History(tmp_path), History(tmp_path)
    assert one.ours()
    assert not other.ours()
    assert one.ours()
    one.take(World().collected())
    one.close()
    assert other.ours()
    other.take(World().collected())
    assert len(other.samples()) == 2  # what the first has taken is still there
    other.close()


def test_where_nothing_can_be_written_there_is_no_history_and_no_harm(tmp_path: Path) -> None:
    history = History(tmp_path / "missing")
    assert not history.ours()
    assert history.samples() == []


def test_every_process_shows_the_machines_figures_from_the_start(site: Site) -> None:
    for _ in range(4):  # over connections of their own: both processes
        with urllib.request.urlopen(f"{site.url}/api/v1/ops", timeout=30) as reply:
            view = json.load(reply)
        assert view["at"]
        series = {one["name"]: one["values"][-1] for one in view["series"]}
        assert list(series) == [one.name for one in SERIES]
        assert series["processes"] >= 2
        assert series["memory"] > 50e6
        assert 0 < series["db_share"] < 1
        assert 0 < series["memory_left"] < 1
        assert series["disk"] > 0
    assert len(list(site.settings.data_dir.glob(f"{FILE}*"))) == 1


def test_each_process_and_its_machine_are_in_the_metrics(site: Site) -> None:
    def told() -> str:
        with urllib.request.urlopen(f"{site.url}/metrics", timeout=30) as reply:
            return str(reply.read().decode())

    wait_until(lambda: 'process="worker 0"' in told())
    text = told()
    for line in (
        'quizcast_process_memory_bytes{pid="',
        'quizcast_process_files_left{pid="',
        'quizcast_process_cpu_seconds_total{kind="web"}',
        'quizcast_process_cpu_seconds_total{kind="worker"}',
        "quizcast_loop_late_seconds_count ",
        "quizcast_machine_memory_left_bytes ",
        "quizcast_redis_memory_bytes ",
        "quizcast_db_connections ",
        "quizcast_streams_max 24000",
    ):
        assert line in text, line


def status_of(url: str, token: str = "") -> int:
    """The status of a GET with this token."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_asks_for_the_token_and_shows_figures_and_plots(
    start_tree: Callable[..., Tree], browser: Browser
) -> None:
    tree = start_tree("--web", "1", env=environment(metrics_token=TOKEN))
    for path in ("/metrics", "/api/v1/ops"):
        assert status_of(tree.url + path) == status_of(tree.url + path, "another") == 401
        assert status_of(tree.url + path, TOKEN) == 200
    for language, title in (("en", "How this machine runs"), ("de", "Wie diese Maschine läuft")):
        context = await browser.new_context(locale=language, viewport={"width": 360, "height": 700})
        page = await context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error, troubles=troubles: troubles.append(str(error)))
        page.on("console", lambda said, troubles=troubles: _note(troubles, said))
        await page.goto(f"{tree.url}/ops")
        await expect(page.get_by_role("heading", name=title)).to_be_visible()
        box = page.locator("#token")
        await box.fill("another")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_be_visible()
        await box.fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator(".plot canvas")).to_have_count(12)
        await expect(page.locator(".figure")).to_have_count(13)
        await expect(page.locator(".figure[data-tone=bad]")).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.reload()  # the token is kept as long as the tab
        await expect(page.locator(".figure")).to_have_count(13)
        assert TOKEN not in page.url
        assert troubles == []
        await context.close()


def _note(troubles: list[str], said: Any) -> None:
    # A refusal that the test asked for is reported by the browser; a text that is missing, by the page.
    if said.type in ("error", "warning") and "401" not in said.text:
        troubles.append(said.text)
