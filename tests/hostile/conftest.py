"""The world that hostile tests act on."""

from collections.abc import Iterator

import pytest

from tests.client import PASSWORD
from tests.fix_web import KEY, Site
from tests.hostile.world import World


@pytest.fixture(scope="module")
def world(site: Site) -> Iterator[World]:
    """One for the module; after its last test the logs must hold no traceback and no secret."""
    made = World(site)
    yield made
    made.http.close()
    said = site.said()
    assert "Traceback" not in said, said[-4000:]
    assert "ASGI" not in said
    for secret in (made.host, made.player, made.screen, PASSWORD, KEY[1]):
        assert secret not in said
