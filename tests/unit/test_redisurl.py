"""`QUIZCAST_REDIS_URL`: what its forms mean, and which of them go together."""

import pytest

from quizcast.errors import SettingsInvalid
from quizcast.redisurl import Kind, RedisUrl
from quizcast.settings import Settings, without_password

BOTH = {"QUIZCAST_DATABASE_URL": "postgresql:///q"}


@pytest.mark.parametrize("url", ["", "redis://h/0", "rediss://u:p@h:1/2", "unix:///run/r.sock?db=1"])
def test_one_server_is_left_to_the_driver(url: str) -> None:
    assert RedisUrl.parse(url) == RedisUrl(kind=Kind.SERVER, url=url)


def test_a_cluster_is_known_by_some_of_its_servers() -> None:
    found = RedisUrl.parse("rediss://u:p@a:7000,b,[::1]:7001?cluster=true&ssl_cert_reqs=none")
    assert (found.kind, found.places) == (Kind.CLUSTER, (("a", 7000), ("b", 6379), ("::1", 7001)))
    assert found.at(("c", 1)) == "rediss://u:p@c:1?ssl_cert_reqs=none"
    assert found.at(("::2", 1)) == "rediss://u:p@[::2]:1?ssl_cert_reqs=none"


@pytest.mark.parametrize("url", ["redis+sentinel://p@a:1,b/main?db=2", "redis://p@a:1,b?sentinel=main&db=2"])
def test_sentinels_are_told_by_the_scheme_or_by_the_name_that_they_watch(url: str) -> None:
    found = RedisUrl.parse(url)
    assert (found.kind, found.places, found.service) == (Kind.SENTINEL, (("a", 1), ("b", 26379)), "main")
    assert found.at(("c", 3)) == "redis://p@c:3?db=2"
    other = RedisUrl.parse(f"{url}&sentinel_password=q%26a")
    assert (other.url, other.sentinel_login) == (found.url, {"password": "q&a"})


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:1",
        "redis://a?cluster=true&sentinel=main",
        "redis://a/3?cluster=true",
        "unix:///run/redis?cluster=true",
        "redis://u:hidden@a:port?cluster=true",
        "redis://u:hidden@a:0,?cluster=true",
        "redis://u:hidden@[a?cluster=true",
    ],
)
def test_what_makes_no_sense_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        Settings.from_env({"QUIZCAST_REDIS_URL": url, "QUIZCAST_QUEUE_URL": "redis://q", **BOTH})
    assert "QUIZCAST_REDIS_URL" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_cluster_needs_another_server_for_the_job_queue() -> None:
    cluster = {"QUIZCAST_REDIS_URL": "redis://a?cluster=true", **BOTH}
    for queue in ({}, {"QUIZCAST_QUEUE_URL": "redis://b?cluster=true"}):
        with pytest.raises(SettingsInvalid, match="QUIZCAST_QUEUE_URL"):
            Settings.from_env(cluster | queue)
    assert Settings.from_env(cluster | {"QUIZCAST_QUEUE_URL": "redis://b"}).queue_url == "redis://b"


@pytest.mark.parametrize(
    ("url", "said", "replicas"),
    [
        ("redis://a", "", 0),
        ("redis://a", "2", 2),
        ("redis://a?cluster=true", "", 1),
        ("redis+sentinel://a/main", "", 1),
        ("redis://a?cluster=true", "0", 0),
    ],
)
def test_a_replica_is_waited_for_where_there_are_failovers_unless_told_otherwise(
    url: str, said: str, replicas: int
) -> None:
    env = {"QUIZCAST_REDIS_URL": url, "QUIZCAST_QUEUE_URL": "redis://q", "QUIZCAST_REDIS_WAIT_REPLICAS": said, **BOTH}
    settings = Settings.from_env(env)
    assert settings.replicas_waited_for == replicas
    assert Settings.from_env(settings.to_env()) == settings


@pytest.mark.parametrize("said", ["-1", "many"])
def test_a_number_of_replicas_is_none_or_more(said: str) -> None:
    with pytest.raises(SettingsInvalid, match="QUIZCAST_REDIS_WAIT_REPLICAS"):
        Settings.from_env({"QUIZCAST_REDIS_WAIT_REPLICAS": said})


def test_a_password_of_many_hosts_is_masked() -> None:
    assert without_password("redis+sentinel://a/m?db=2&sentinel_password=hidden") == (
        "redis+sentinel://a/m?db=2&sentinel_password=***"
    )
    assert without_password("postgresql:///q?password=hidden&host=h") == "postgresql:///q?password=***&host=h"
    assert without_password("redis://u:hidden@a:1,b:2?cluster=true") == "redis://u:***@a:1,b:2?cluster=true"
