"""Where pytest finds the fixtures: one plugin an idea; and which tests go by the clock."""

from pathlib import Path

import pytest

pytest_plugins = [
    "tests.fix_services",
    "tests.fix_cluster",
    "tests.fix_store",
    "tests.fix_tree",
    "tests.fix_web",
    "tests.fix_nginx",
    "tests.faults.stage",
    "tests.fix_browser",
    "tests.fix_pages",
    "tests.faults.world",
    "tests.fix_replica",
]

# What these look at takes place in time, among processes that share the machine with others: what fails by the clock is
# tried again, and told in the summary. A promise that is broken fails three times.
TIMED = {"browser", "faults", "production"}
TRIES_MORE = 2
# And these measure it, or need all of the machine: `make test` runs them one at a time, after the others.
ALONE = {
    "faults": ["clock", "kills", "overload", "pubsub", "reconnects", "rolling_restart", "slow_readers", "slow_servers"],
    "production": [
        "autoscale",
        "hosts",
        "migrating_beside_others",
        "nginx",
        "operations_install",
        "promotion",
        "replicas",
        "sentinel",
    ],
}


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest with all that is to be run."""
    for item in items:
        file = Path(item.nodeid.partition("::")[0])
        if file.parent.name in TIMED:
            item.add_marker(pytest.mark.flaky(reruns=TRIES_MORE))
        if file.stem.removeprefix("test_") in ALONE.get(file.parent.name, ()):
            item.add_marker(pytest.mark.alone)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Called by pytest at the end: why each test that was tried again had failed."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"tried again: {report.nodeid}")
        terminalreporter.line(report.longreprtext)
        terminalreporter.line(report.capstdout)
