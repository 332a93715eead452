"""Rules, runbook and dashboard: made from the metrics, as they stand in docs/, and right by promtool's judgement."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from quizcast import metrics
from quizcast.metrics import BELOW, WORRY, WORRY_SHARE
from quizcast.monitoring import RUNBOOK_URL, files
from quizcast.monitoring.alerts import ALERTS, BAD_MIN, BUDGET, FAST, SLOW, UNALERTED
from quizcast.monitoring.dashboard import ROWS
from quizcast.monitoring.expressions import name_of
from tests.fix_tree import quizcast
from tests.test_documented import rows

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "monitoring"
MINUTES = 40  # Prometheus takes what there is of a window for all of it; the budget's windows have a test of their own
SECONDS = {"5m": 300, "30m": 1800, "2h": 7200, "6h": 21_600}
# Prometheus's own spelling: a start, and what is added each minute, so many times.
Series: TypeAlias = Mapping[str, str]
ANSWERS = 'route="/games/{game_id}/answers",method="POST"'


def told(name: str, labels: str = "") -> str:
    """A series as a machine has it."""
    return f'{name}{{job="quizcast",instance="a"{"," if labels else ""}{labels}}}'


def slow(name: str, bound: str, worse: str, labels: str = "") -> tuple[Series, Series]:
    """A histogram whose values are all above a bound, and one whose are all below."""
    fine = labels + ("," if labels else "")

    def counted(within: int) -> Series:
        of = {bound: within, worse: 10, "+Inf": 10}
        return {told(f"{name}_bucket", f'{fine}le="{le}"'): f"0+{n}x40" for le, n in of.items()}

    return counted(0), counted(10)


def counter(name: str, labels: str = "", *, fast: int = 10, slowly: int = 0) -> tuple[Series, Series]:
    """A counter that grows by so much a minute, and one that hardly does."""
    series = told(f"{name}_total", labels)
    return {series: f"0+{fast}x40"}, {series: f"5+{slowly}x40"}


def gauge(name: str, bad: float, good: float, labels: str = "", **others: float) -> tuple[Series, Series]:
    """A gauge that is bad, and one that is good, beside others that stay."""
    rest = {told(other): f"{value:g}+0x80" for other, value in others.items()}
    return tuple({told(name, labels): f"{value:g}+0x80"} | rest for value in (bad, good))  # type: ignore[return-value]


def requests(bad: float, *, per_minute: int = 600, late: bool = False) -> Series:
    """Answers; of each hundred so many are late, or get a 503."""
    wrong = per_minute * bad / 100
    good = per_minute - wrong
    served, refused = f'{ANSWERS},status="202"', f'{ANSWERS},status="503"'
    if late:
        return {
            told("quizcast_http_seconds_count", served): f"0+{per_minute}x{MINUTES}",
            told("quizcast_http_seconds_bucket", f'{served},le="0.1"'): f"0+{good:g}x{MINUTES}",
        }
    return {
        told("quizcast_http_seconds_count", served): f"0+{good:g}x{MINUTES}",
        told("quizcast_http_seconds_bucket", f'{served},le="0.1"'): f"0+{good:g}x{MINUTES}",
        told("quizcast_http_seconds_count", refused): f"0+{wrong:g}x{MINUTES}",
        told("quizcast_http_seconds_bucket", f'{refused},le="0.1"'): f"0+{wrong:g}x{MINUTES}",
    }


FAULT = 'route="/quizzes",method="GET"'
# Alert → series that raise it, and series that do not, though they come close.
CASES: Mapping[str, tuple[Series, Series]] = {
    "Down": ({told("up"): "0x40"}, {told("up"): "1x40"}),
    "NoWorker": (
        {told("quizcast_process_memory_bytes", 'process="web 0",pid="1"'): "9e7x40"},
        {told("quizcast_process_memory_bytes", 'process="worker 0",pid="2"'): "9e7x40"},
    ),
    "BudgetBurnsFast": (requests(2), requests(0.5)),
    "BudgetBurnsSlowly": (requests(0.2, late=True), requests(0.05)),
    "Faults": (
        {told("quizcast_http_seconds_count", f'{FAULT},status="500"'): "0+1x40"},
        {told("quizcast_http_seconds_count", f'{FAULT},status="404"'): "0+9x40"},
    ),
    "AnswersRefused": (
        counter("quizcast_intake", 'kind="answer",code="overloaded"')[0],
        counter("quizcast_intake", 'kind="answer",code="question_closed"')[0],
    ),
    "AnswersSlow": slow("quizcast_intake_seconds", "0.1", "0.2", 'kind="answer"'),
    "IntakeFills": gauge("quizcast_intake_pending", 5000, 300, 'kind="answer"'),
    "PinsGuessed": counter("quizcast_wrong_pins", 'code="too_many_pins"', slowly=2),
    "PushSlow": slow("quizcast_push_seconds", "0.2", "0.5", 'event="question"'),
    "FanoutSlow": slow("quizcast_fanout_seconds", "0.1", "0.2"),
    "LoopLate": slow("quizcast_loop_late_seconds", "0.1", "0.2"),
    "StreamsNearlyFull": gauge("quizcast_streams", 900, 500, 'who="participant"', quizcast_streams_max=1000),
    "StreamsRefused": counter("quizcast_streams_refused", 'reason="full"'),
    "StreamsLost": (
        {**counter("quizcast_streams_closed", 'reason="slow"', fast=20)[0], told("quizcast_streams"): "1000x40"},
        {**counter("quizcast_streams_closed", 'reason="slow"', fast=2)[0], told("quizcast_streams"): "1000x40"},
    ),
    "ResumesReset": counter("quizcast_resumes", 'how="reset"'),
    "LogHoles": counter("quizcast_log_holes", slowly=1),
    "QuestionsCloseLate": slow("quizcast_close_late_seconds", "0.5", "1.0"),
    "ConnectionsRefused": counter("quizcast_connections_refused"),
    "FilesNearlyOut": gauge("quizcast_process_files_left", 100, 20_000, 'process="web 0",pid="1"'),
    "TasksGrow": gauge("quizcast_tasks", 4000, 60, 'pid="1"'),
    "MemoryLow": gauge("quizcast_machine_memory_left_bytes", 1e8, 1e9, quizcast_machine_memory_bytes=2e9),
    "RedisMemoryLow": gauge("quizcast_redis_memory_bytes", 9e8, 5e8, quizcast_redis_memory_max_bytes=1e9),
    "RedisErrors": counter("quizcast_redis_errors", 'error="TimeoutError"'),
    "RedisSlow": (
        slow("quizcast_redis_seconds", "0.05", "0.1", 'call="answers"')[0],
        slow("quizcast_redis_seconds", "0.05", "0.1", 'call="read_rows"')[0],
    ),
    "ClockStepped": counter("quizcast_clock_steps"),
    "PostgresErrors": counter("quizcast_db_errors", 'error="OperationalError"'),
    "PostgresSlow": slow("quizcast_db_seconds", "1.0", "2.5", 'pool="primary"'),
    "PoolWaits": (
        gauge("quizcast_db_pool", 50, 0, 'pool="primary",state="requests_waiting"')[0],
        gauge("quizcast_db_pool", 50, 0, 'pool="primary",state="pool_size"')[0],
    ),
    "PostgresNearlyFull": gauge("quizcast_db_connections", 95, 60, quizcast_db_connections_max=100),
    "ReplicaBehind": gauge("quizcast_replica_lag_seconds", 10, 1, 'pool="replica1"'),
    "ServerRestarted": counter("quizcast_server_restarts", 'server="redis"'),
    "DiskLow": gauge("quizcast_disk_free_bytes", 5e8, 5e9),
    "QueueOld": gauge("quizcast_queue_age_seconds", 30, 3, 'shard="0"'),
    "FlushSlow": slow("quizcast_flush_seconds", "1.0", "2.0"),
    "FlushLate": slow("quizcast_flush_lag_seconds", "2.0", "5.0"),
    "DeadLetters": gauge("quizcast_dead_letters_waiting", 1, 0, 'shard="0"'),
}


def promtool(*words: object) -> str:
    """Run it; what it says. Fails when it is not content."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("the tests need promtool (Debian: prometheus)")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def every_metric() -> set[str]:
    """The names of all metrics that there are."""
    return {name_of(one) for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}  # type: ignore[arg-type]


def worrying() -> dict[str, str]:
    """Those of which docs/metrics.md says when to worry, and what it says."""
    cells = {name: rest.split("|")[-1].strip() for name, rest in rows("metrics.md").items()}
    return {name: said for name, said in cells.items() if said}


@pytest.mark.parametrize("name", files())
def test_what_is_in_docs_is_what_is_made(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == files()[name], "run `make monitoring`"


def test_every_metric_has_its_panel_and_none_has_two() -> None:
    placed = [name_of(metric) for row in ROWS.values() for metric in row]
    assert len(placed) == len(set(placed))
    assert set(placed) == every_metric()


def test_every_metric_that_can_worry_somebody_has_an_alert_or_a_reason_why_not() -> None:
    watched = " ".join(one.expression for one in ALERTS)
    for name in worrying():
        there = re.search(rf"\b{name}(_total|_bucket|_count)?\{{", watched) is not None
        assert there != (name in UNALERTED), name
    assert set(UNALERTED) <= set(worrying())


def test_a_metrics_row_tells_from_where_on_it_is_worrying() -> None:
    said = worrying()
    for name, value in WORRY.items():
        words = "a gigabyte" if value == 1e9 else f"{value:g}"
        assert f"{'below' if name in BELOW else 'above'} {words}" in said[name] or name in UNALERTED, name
    for name, (of, share) in WORRY_SHARE.items():
        assert f"{'below' if name in BELOW else 'above'} {share * 100:g} % of `{of}`" in said[name], name


def test_every_panel_asks_for_a_metric_that_there_is() -> None:
    board = json.loads(files()["dashboard.json"])
    known = every_metric()
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(asked) > len(known)
    for expression in asked:
        names = re.findall(r"\bquizcast_\w+", expression)
        for name in names:
            assert {name, re.sub(r"_(total|bucket|count)$", "", name)} & known, expression


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(files()["dashboard.json"])["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert at["x"] + at["w"] <= 24


def test_an_alert_leads_to_its_place_in_the_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", files()["alerts.md"], re.MULTILINE)
    assert headings == [f"Quizcast{one.name}" for one in ALERTS]
    for one in ALERTS:
        assert f'"{RUNBOOK_URL}#quizcast{one.name.lower()}"' in files()["rules.yml"]
        assert one.means
        assert one.do


def test_what_the_runbook_refers_to_is_there() -> None:
    names = {one.name for one in ALERTS}
    for one in ALERTS:
        for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", f"{one.means} {one.do}"):
            assert word in names | {"PoolTimeout"} or word.startswith("Limit"), word
        for setting in re.findall(r"QUIZCAST_\w+", one.do):
            assert f"`{setting}`" in (DOCS / "settings.md").read_text("utf-8"), setting


def test_prometheus_takes_the_rules_and_its_queries_parse() -> None:
    assert "SUCCESS" in promtool("check", "rules", FOLDER / "rules.yml")


def test_the_dashboards_queries_parse(tmp_path: Path) -> None:
    board = json.loads(files()["dashboard.json"])
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    as_rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for number, expression in enumerate(asked)
    ]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": as_rules}]}))
    promtool("check", "rules", tmp_path / "panels.yml")


def test_each_alert_is_raised_by_what_it_is_for_and_by_nothing_less(tmp_path: Path) -> None:
    assert set(CASES) == {one.name for one in ALERTS}
    rules = yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"]
    paths = []
    for name, (bad, good) in CASES.items():
        tests = [
            case(f"{name}, raised", bad, name, "35m", True),
            case(f"{name}, not raised", good, name, "35m", False),
        ]
        (tmp_path / name).mkdir()
        paths.append(written(tmp_path / name, tests))
        # All the others are in nobody's way, but reckoned for each minute of each case they take most of the time.
        (tmp_path / name / "rules.yml").write_text(
            json.dumps({"groups": [{"name": name, "rules": needed(rules, name)}]})
        )
    assert "SUCCESS" in promtool("test", "rules", *paths)


def test_a_single_late_answer_at_night_gets_nobody_up_and_trouble_that_has_ended_is_over(tmp_path: Path) -> None:
    lone = {
        told("quizcast_http_seconds_count", f'{ANSWERS},status="202"'): "0x30 1x300",
        told("quizcast_http_seconds_bucket", f'{ANSWERS},status="202",le="0.1"'): "0x330",
    }
    served, refused = f'{ANSWERS},status="202"', f'{ANSWERS},status="503"'
    over = {
        told("quizcast_http_seconds_count", refused): "0+300x10 3000x120",
        told("quizcast_http_seconds_bucket", f'{refused},le="0.1"'): "0+300x10 3000x120",
        told("quizcast_http_seconds_count", served): "0+300x130",
        told("quizcast_http_seconds_bucket", f'{served},le="0.1"'): "0+300x130",
    }
    tests = [
        case("one late answer", lone, "BudgetBurnsFast", "45m", False),
        case("in trouble", over, "BudgetBurnsFast", "10m", True),
        case("the trouble has ended, an hour's share is still bad", over, "BudgetBurnsFast", "45m", False),
    ]
    # What burns within six hours and half an hour is over after half an hour, and not at once.
    promtool("test", "rules", written(tmp_path, tests))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("alert", "pairs"), [("BudgetBurnsFast", FAST), ("BudgetBurnsSlowly", SLOW)])
def test_a_budget_alert_looks_at_the_whole_of_each_of_its_windows_and_no_further(
    alert: str, pairs: Sequence[tuple[float, str, int, str]], number: int, tmp_path: Path
) -> None:
    [expression] = [one.expression for one in ALERTS if one.name == alert]
    parts = expression.split(" or ")  # of which each is raised by itself here
    assert len(parts) == len(pairs) == 2
    factor, _, long_s, short = pairs[number]
    short_steps = 6
    step_s = SECONDS[short] // short_steps
    long, bad = long_s // step_s, 1.2 * factor * BUDGET
    plenty, few = 1e6, 0.8 * BAD_MIN / bad / long  # answers a step
    cases: dict[str, tuple[list[tuple[int, float]], float, bool]] = {
        "trouble for all of the long window": ([(long, bad)], plenty, True),
        "for most of it": ([(long, 0), (long * 9 // 10, bad)], plenty, True),
        "for half of it": ([(long, 0), (long // 2, bad)], plenty, False),
        "that has ended for a sixth of the short one": ([(long, 1.2 * bad), (1, 0)], plenty, True),
        "that has ended for half of it": ([(long, 1.2 * bad), (short_steps // 2, 0)], plenty, False),
        "for few": ([(long, bad)], few, False),
    }
    tests = [
        {
            "name": name,
            "interval": f"{step_s}s",
            "input_series": burning(phases, answers),
            "promql_expr_test": [
                {
                    "expr": f"count({parts[number]}) > bool 0",
                    "eval_time": f"{step_s * sum(steps for steps, _ in phases)}s",
                    "exp_samples": [{"labels": "{}", "value": 1}] if raised else [],
                }
            ],
        }
        for name, (phases, answers, raised) in cases.items()
    ]
    assert "SUCCESS" in promtool("test", "rules", written(tmp_path, tests, every=f"{step_s}s"))


def burning(phases: Sequence[tuple[int, float]], answers: float) -> list[dict[str, str]]:
    """Answers, so many a step; of them such a share late, for so many steps, phase by phase."""
    served = f'{ANSWERS},status="202"'
    shares = [bad for steps, bad in phases for _ in range(steps)]
    good = [0.0, *itertools.accumulate(answers * (1 - bad) for bad in shares)]
    asked = [answers * step for step in range(len(shares) + 1)]
    return [
        {"series": series, "values": " ".join(f"{value:f}" for value in values)}
        for series, values in (
            (told("quizcast_http_seconds_count", served), asked),
            (told("quizcast_http_seconds_bucket", f'{served},le="0.1"'), good),
        )
    ]


def needed(groups: Sequence[Mapping[str, Any]], alert: str) -> list[Mapping[str, Any]]:
    """An alert's own rule, and those that record, where it goes by what they have recorded."""
    rules = [rule for group in groups for rule in group["rules"] if rule.get("alert") == f"Quizcast{alert}"]
    if any("quizcast:" in rule["expr"] for rule in rules):
        rules = [rule for group in groups for rule in group["rules"] if "record" in rule] + rules
    return rules


def case(name: str, series: Series, alert: str, at: str, raised: bool) -> dict[str, Any]:
    """A test in promtool's words: these series, and whether the alert is raised at a time."""
    expression = f'count(ALERTS{{alertname="Quizcast{alert}",alertstate="firing"}})'
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"{expression} > bool 0",
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": 1}] if raised else [],
            }
        ],
    }


def written(folder: Path, tests: Sequence[Mapping[str, Any]], *, every: str = "1m") -> Path:
    """The tests as a file for promtool, beside the rules."""
    shutil.copy(FOLDER / "rules.yml", folder / "rules.yml")
    path = folder / "tests.yml"
    path.write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": tests}))
    return path


def test_the_command_writes_what_is_in_docs_and_names_another_runbook(tmp_path: Path) -> None:
    done = quizcast("monitoring", str(tmp_path / "here"), "--runbook-url", "https://wiki.example.org/quizcast")
    assert done.returncode == 0, done.stderr
    assert [Path(line).name for line in done.stdout.split()] == list(files())
    assert '"https://wiki.example.org/quizcast#quizcastqueueold"' in (tmp_path / "here" / "rules.yml").read_text()
    assert (tmp_path / "here" / "dashboard.json").read_text("utf-8") == files()["dashboard.json"]


def test_the_command_says_in_a_line_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = quizcast("monitoring", str(tmp_path / "file" / "below"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
