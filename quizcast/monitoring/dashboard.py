"""The Grafana dashboard: a panel for every metric, drawn as its type and labels ask for; inside `monitoring`.

Invariant: every metric has its place in `ROWS` (a test holds them to it), and a panel's red line is where
`quizcast.metrics` says that it becomes worrying.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import Counter, Histogram

from quizcast import metrics
from quizcast.metrics import BELOW, SLO_TARGET, WORRY, WORRY_SHARE
from quizcast.monitoring.alerts import FAST
from quizcast.monitoring.expressions import JOB, Metric, labels_of, name_of, p99, rate

HERE = f'{JOB},instance=~"$instance"'
WINDOW = "$__rate_interval"
SOURCE = {"type": "prometheus", "uid": "${source}"}
COLUMNS, WIDTH, HEIGHT = 24, 8, 7
SCHEMA = 39  # Grafana 10 and 11
UNITS = {"_seconds": "s", "_bytes": "bytes"}

ROWS: Mapping[str, Sequence[Metric]] = {
    "Requests, answers, joins": (
        metrics.INTAKE,
        metrics.HTTP_SECONDS,
        metrics.INTAKE_SECONDS,
        metrics.INTAKE_PENDING,
        metrics.INTAKE_GROUP,
        metrics.WRONG_PINS,
        metrics.CLOSE_LATE_SECONDS,
    ),
    "Streams": (
        metrics.STREAMS,
        metrics.STREAMS_MAX,
        metrics.PUSH_SECONDS,
        metrics.FANOUT_SECONDS,
        metrics.DELIVERIES,
        metrics.EVENTS,
        metrics.STREAMS_CLOSED,
        metrics.STREAMS_REFUSED,
        metrics.RESUMES,
        metrics.HOLES,
    ),
    "The way to Postgres": (
        metrics.QUEUE_AGE,
        metrics.QUEUE_DEPTH,
        metrics.DEAD_DEPTH,
        metrics.FLUSH_ROWS,
        metrics.FLUSH_SECONDS,
        metrics.FLUSH_LAG,
        metrics.FLUSH_BATCH,
        metrics.DEAD_LETTERS,
    ),
    "Redis and Postgres": (
        metrics.REDIS_SECONDS,
        metrics.REDIS_ERRORS,
        metrics.REDIS_MEMORY,
        metrics.REDIS_MEMORY_MAX,
        metrics.CLOCK_STEPS,
        metrics.DB_CONNECTIONS,
        metrics.DB_CONNECTIONS_MAX,
        metrics.DB_POOL,
        metrics.DB_SECONDS,
        metrics.DB_ERRORS,
        metrics.REPLICA_LAG,
        metrics.SERVER_RESTARTS,
    ),
    "Processes and machines": (
        metrics.PROCESS_MEMORY,
        metrics.PROCESS_CPU,
        metrics.LOOP_LATE_SECONDS,
        metrics.PROCESS_FILES_LEFT,
        metrics.TASKS,
        metrics.CONNECTIONS_REFUSED,
        metrics.MACHINE_MEMORY_LEFT,
        metrics.MACHINE_MEMORY,
        metrics.DISK_FREE,
    ),
}
# How a gauge's values of several processes or machines come together; the rest is added up.
BY: Mapping[str, tuple[str, Sequence[str]]] = {
    "quizcast_queue_depth": ("max", ("shard",)),  # every machine tells of the same Redis and the same Postgres
    "quizcast_queue_age_seconds": ("max", ("shard",)),
    "quizcast_dead_letters_waiting": ("max", ("shard",)),
    "quizcast_redis_memory_bytes": ("max", ("job",)),
    "quizcast_redis_memory_max_bytes": ("max", ("job",)),
    "quizcast_replica_lag_seconds": ("max", ("pool",)),
    "quizcast_db_connections": ("max", ("job",)),
    "quizcast_db_connections_max": ("max", ("job",)),
    "quizcast_tasks": (
        "max",
        (
            "instance",
            "pid",
        ),
    ),
    "quizcast_process_memory_bytes": (
        "max",
        (
            "instance",
            "process",
        ),
    ),
    "quizcast_process_files_left": (
        "min",
        (
            "instance",
            "process",
        ),
    ),
    "quizcast_machine_memory_bytes": ("min", ("instance",)),
    "quizcast_machine_memory_left_bytes": ("min", ("instance",)),
    "quizcast_disk_free_bytes": ("min", ("instance",)),
}


def dashboard() -> str:
    """The dashboard as JSON, to be imported in Grafana or put where it provisions from."""
    panels: list[dict[str, Any]] = []
    numbers, y = itertools.count(1), 0
    for title, row in _rows():
        panels.append(
            {"id": next(numbers), "type": "row", "title": title, "collapsed": False, "panels": [],
             "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}
        )  # fmt: skip
        for place, panel in enumerate(row):
            line, column = divmod(place, COLUMNS // WIDTH)
            at = {"x": column * WIDTH, "y": y + 1 + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append({"id": next(numbers), "gridPos": at} | panel)
        y += 1 + HEIGHT * -(-len(row) // (COLUMNS // WIDTH))
    made = {
        "uid": "quizcast",
        "title": "quizcast",
        "tags": ["quizcast"],
        "description": "Made by `quizcast monitoring`, and not to be changed by hand: copy it under another name.",
        "editable": True,
        "schemaVersion": SCHEMA,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "graphTooltip": 1,
        "templating": {"list": _variables()},
        "panels": panels,
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _rows() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield "Service level", _service_level()
    for title, row in ROWS.items():
        yield title, [_panel(metric) for metric in row]


def _service_level() -> list[dict[str, Any]]:
    budget = 1 - SLO_TARGET
    left = f"1 - avg_over_time(quizcast:bad_share:rate3d{{{JOB}}}[27d:1h]) / {budget:g}"
    burn = [(f"quizcast:bad_share:rate{window}{{{JOB}}} / {budget:g}", window) for window in ("5m", "1h", "6h", "3d")]
    bad = f'sum by (route, status) (rate(quizcast_http_seconds_count{{{HERE},status=~"5.."}}[{WINDOW}]))'
    return [
        _graph(
            "Error budget left, of 30 days", "percentunit", [(left, "left")], "Requests refused for our fault, or late."
        ),
        _graph("How fast the error budget burns", "none", burn, "1: it just lasts.", FAST[0][0]),
        _graph("Refused for our fault", "reqps", [(bad, "{{route}} {{status}}")], "Statuses of 500 and more."),
    ]


def _panel(metric: Metric) -> dict[str, Any]:
    name, labels = name_of(metric), labels_of(metric)
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "none")
    targets: list[tuple[str, str]]
    by: Sequence[str]
    if isinstance(metric, Counter):
        unit = "none" if unit == "s" else "cps"  # seconds in a second are processors
        targets = [(rate(name, WINDOW, labels, HERE), _legend(labels) or "a second")]
    elif isinstance(metric, Histogram):
        by = labels[1:2] if metric is metrics.HTTP_SECONDS else labels
        targets = [
            (p99(name, WINDOW, *by, where=HERE, share=share), f"{told} {_legend(by)}".strip())
            for told, share in (("p50", 0.5), ("p99", 0.99))
        ]
    else:
        how, by = BY.get(name, ("sum", labels or ("job",)))
        kept = ", ".join(by)
        targets = [(f"{how} by ({kept}) ({name}{{{HERE}}})", _legend(by))]
        if name in WORRY_SHARE:
            of, share = WORRY_SHARE[name]
            targets.append((f"{share:g} * {how} ({of}{{{HERE}}})", "worrying from here"))
    return _graph(_title(metric), unit, targets, f"`{name}`", WORRY.get(name), below=name in BELOW)


def _legend(labels: Sequence[str]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def _title(metric: Metric) -> str:
    return str(next(iter(metric.describe())).documentation)


def _graph(
    title: str,
    unit: str,
    targets: Sequence[tuple[str, str]],
    about: str,
    worry: float | None = None,
    *,
    below: bool = False,
) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "red" if below and worry is not None else "green", "value": None}]
    if worry is not None:
        steps.append({"color": "green" if below else "red", "value": worry})
    return {
        "type": "timeseries",
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "custom": {
                    "lineWidth": 1,
                    "fillOpacity": 8,
                    "showPoints": "never",
                    "thresholdsStyle": {"mode": "off" if worry is None else "line"},
                },
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expr, "legendFormat": legend, "range": True}
            for place, (expr, legend) in enumerate(targets)
        ],
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Machine",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": f"label_values(up{{{JOB}}}, instance)", "refId": "instance"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]
