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

# What these look at takes place in time, among processes that share the machine with others. So `make test` runs them
# one at a time, and what fails by the clock is tried again, and told in the summary. A promise that is broken fails
# three times.
TIMED = {"browser", "faults", "production"}
TRIES_MORE = 2


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest with all that is to be run."""
    for item in items:
        if TIMED & set(Path(item.nodeid.partition("::")[0]).parts):
            item.add_marker(pytest.mark.timed)
            item.add_marker(pytest.mark.flaky(reruns=TRIES_MORE))
