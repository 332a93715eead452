"""How long the fuzzing tests search: the same few examples always, or with QUIZCAST_FUZZ=20 twenty times as many.

Those are new ones each time. Of what fails, Hypothesis prints the example, and pytest the seed.
"""

import os
import random

from hypothesis import HealthCheck, settings

EFFORT = int(os.environ.get("QUIZCAST_FUZZ", "1"))
SEARCHING = EFFORT > 1


def examples(count: int) -> settings:
    """Hypothesis settings for a property that is worth this many examples in CI."""
    return settings(
        max_examples=count * EFFORT,
        derandomize=not SEARCHING,
        deadline=None,  # other tests run at the same time, and a slow moment is no fault
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def seeds(count: int) -> list[int]:
    """Seeds for a test that plays at random and is worth this many games in CI."""
    first = random.SystemRandom().randrange(10**6) if SEARCHING else 0
    return list(range(first, first + count * EFFORT))
