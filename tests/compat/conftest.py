"""Fixtures: a world with a running server."""

import pytest
from world import World


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture
def served(world):
    return world.start()
