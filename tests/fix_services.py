"""Real servers for the tests: one pair for the session, and for each test its own database and key prefix.

They are the embedded ones, so every test that uses them also exercises what `serve` starts. Syncing to disk is off:
what it promises is tested in test_embedded.py on servers of its own.
"""

import asyncio
import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from quizcast.embedded import Services
from quizcast.settings import Settings

TEMPLATE = "template_quizcast"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The servers; started when the first test needs them."""
    with Services.start(Settings(data_dir=tmp_path_factory.mktemp("data")), durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def redis_url(services: Services) -> str:
    """The one Redis of the session: keep to `redis_prefix` in it."""
    return services.redis_url


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix that no other test has."""
    return f"t{next(_numbers)}:"


@pytest.fixture(scope="session")
def template_database(services: Services) -> str:
    """The name of a database with the whole schema and no rows, for `CREATE DATABASE … TEMPLATE`."""
    from quizcast.store.schema import migrate  # here, so that tests without a database do not need the store

    _execute(services, "CREATE DATABASE {}", TEMPLATE)
    asyncio.run(migrate(_address(services, TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def database_url(services: Services, template_database: str) -> Iterator[str]:
    """The address of a migrated, empty database that this test has to itself."""
    name = f"t{next(_numbers)}"
    _execute(services, "CREATE DATABASE {} TEMPLATE {}", name, template_database)
    yield _address(services, name)
    _execute(services, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def empty_database_url(services: Services) -> Iterator[str]:
    """The same without any schema, for tests of the migrations."""
    name = f"t{next(_numbers)}"
    _execute(services, "CREATE DATABASE {}", name)
    yield _address(services, name)
    _execute(services, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def settings(redis_url: str, redis_prefix: str, database_url: str) -> Settings:
    """Settings for this test's own corner of the servers."""
    return Settings(redis_url=redis_url, key_prefix=redis_prefix, database_url=database_url, keys=("test:" + "x" * 40,))


def _execute(services: Services, statement: str, *names: str) -> None:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _address(services: Services, database: str) -> str:
    return services.database_url.replace("/quizcast?", f"/{database}?")
