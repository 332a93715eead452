"""Metrics: many values at once count as each of them would."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from quizcast.metrics import FAST, Timings


@pytest.mark.parametrize("values", [[], [0.0], [0.002, 0.0021, 0.5], [*FAST, *FAST, 7.5, 600.0]])
def test_values_that_come_together_count_as_each_by_itself(values: list[float]) -> None:
    exposed = []
    for together in (True, False):
        registry = CollectorRegistry()
        timings = Timings("t", "Some", ["route"], buckets=FAST, registry=registry).labels("/x")
        if together:
            timings.observe_all(values)
        else:
            for value in values:
                timings.observe(value)
        exposed.append([line for line in generate_latest(registry).splitlines() if b"_created" not in line])
    assert exposed[0] == exposed[1]
