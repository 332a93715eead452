"""A Redis Cluster for the session: six servers, three of them masters; started when the first test needs it."""

from collections.abc import Iterator

import pytest

from tests.production.redis_servers import RedisCluster, running_cluster


@pytest.fixture(scope="session")
def standing_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """The session's one; ask for `redis_cluster`."""
    with running_cluster(tmp_path_factory.mktemp("cluster") / "c") as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(standing_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """A cluster that is whole, and is made whole again after the test."""
    standing_cluster.settle()
    yield standing_cluster
    standing_cluster.settle()


@pytest.fixture
def cluster_url(redis_cluster: RedisCluster) -> str:
    """Its address: keep to `redis_prefix` in it."""
    return redis_cluster.url
