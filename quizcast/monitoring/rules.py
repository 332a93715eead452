"""The alerts as Prometheus reads them, and as people do; inside `monitoring`."""

import json
import textwrap
from collections.abc import Iterator

from quizcast.metrics import SLO_TARGET
from quizcast.monitoring.alerts import ALERTS, Alert, records

PREFIX = "Quizcast"
WIDTH = 160


def rules(runbook_url: str) -> str:
    """The rule file, YAML."""
    return "\n".join(_rules(runbook_url)) + "\n"


def runbook() -> str:
    """What each alert means and what to do, Markdown: a heading for each, which its `runbook_url` leads to."""
    pages = sum(one.page for one in ALERTS)
    parts = [
        "# What each alert means",
        _filled(
            "Made by `quizcast monitoring` from the alerts themselves. *Page* is for what breaks games now and will "
            "not mend "
            f"itself ({pages} of {len(ALERTS)}), *ticket* for what can wait for the morning. The service level behind "
            f"BudgetBurnsFast and BudgetBurnsSlowly, {SLO_TARGET:.1%}, is told in [README.md](README.md)."
        ),
    ]
    for one in ALERTS:
        parts += [
            f"## {PREFIX}{one.name}",
            _filled(f"*{_severity(one).capitalize()}*{_lasting(one)}. {one.means}"),
            _filled(f"**Do:** {one.do}"),
            f"```promql\n{one.expression}\n```",
        ]
    return "\n\n".join(parts) + "\n"


def _rules(runbook_url: str) -> Iterator[str]:
    yield "# Made by `quizcast monitoring`, and not to be changed by hand. For `rule_files` in Prometheus's settings."
    yield "groups:"
    yield "  - name: quizcast-service-level"
    yield "    rules:"
    for record in records():
        yield f"      - record: {record.name}"
        yield f"        expr: {json.dumps(record.expression)}"
    yield "  - name: quizcast"
    yield "    rules:"
    for one in ALERTS:
        yield f"      - alert: {PREFIX}{one.name}"
        yield f"        expr: {json.dumps(one.expression)}"
        yield f"        for: {one.lasting}"
        yield f"        labels: {{severity: {_severity(one)}}}"
        yield "        annotations:"
        yield f"          summary: {json.dumps(one.means)}"
        yield f"          runbook: {json.dumps(one.do)}"
        yield f"          runbook_url: {json.dumps(anchor(runbook_url, one))}"


def anchor(runbook_url: str, alert: Alert) -> str:
    """Where the runbook tells of an alert; the anchor as Markdown viewers make it of the heading."""
    return f"{runbook_url}#{f'{PREFIX}{alert.name}'.lower()}"


def _severity(alert: Alert) -> str:
    return "page" if alert.page else "ticket"


def _lasting(alert: Alert) -> str:
    return "" if alert.lasting == "0m" else f", once it has lasted for {alert.lasting}"


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
