"""What Prometheus and Grafana need to watch quizcast: alert rules, their runbook, a dashboard; floor 8.

All three are made from the metrics themselves, from what is worrying about them, and from `alerts`; none is written by
hand, and a test holds what is in docs/monitoring to what is made.
"""

from pathlib import Path

from quizcast.monitoring import dashboard, rules

RUNBOOK = "alerts.md"
RUNBOOK_URL = f"docs/monitoring/{RUNBOOK}"


def files(runbook_url: str = RUNBOOK_URL) -> dict[str, str]:
    """The files by their names; `runbook_url` is where the alerts say that the runbook lies."""
    return {
        "rules.yml": rules.rules(runbook_url),
        "dashboard.json": dashboard.dashboard(),
        RUNBOOK: rules.runbook(),
    }


def build(folder: Path, runbook_url: str = RUNBOOK_URL) -> list[Path]:
    """Write the files into a folder; their paths. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in files(runbook_url).items():
        path = folder / name
        path.write_text(text, "utf-8")
        written.append(path)
    return written
