"""A `serve` with its own servers, where a test can fill disks and step clocks; it tends them itself, as at a user's."""

from collections.abc import Iterator

import pytest

from quizcast.embedded import find_postgres, find_redis
from tests.faults.shim import Shim
from tests.faults.stage import ready
from tests.fix_tree import Tree, environment, wait_until


class World:
    """The tree, and what surrounds its servers and its own processes."""

    def __init__(self, tree: Tree, redis: Shim, postgres: Shim, ours: Shim) -> None:
        self.tree = tree
        self.redis = redis
        self.postgres = postgres
        self.ours = ours

    def heal(self) -> None:
        """Everything as it was at first."""
        for shim in (self.redis, self.postgres, self.ours):
            shim.fill_disk(False)
            shim.step_clock(0)
        wait_until(lambda: ready(self.tree)[0] == 200, 30)


@pytest.fixture(scope="session")
def standing_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The session's one; ask for `world`."""
    folder = tmp_path_factory.mktemp("world")
    redis, postgres, ours = (Shim(folder / name) for name in ("redis", "postgres", "ours"))
    settings = environment(redis_bin=str(redis.program(find_redis())), pg_bin=str(postgres.programs(find_postgres())))
    tree = Tree(folder / "data", "--web", "2", env=settings | ours.env)
    yield World(tree, redis, postgres, ours)
    tree.end()


@pytest.fixture
def world(standing_world: World) -> Iterator[World]:
    """A world that is whole, and is made whole again after the test."""
    yield standing_world
    standing_world.heal()
