"""Fixtures of the tests of several nodes: a network of their own, and nodes in it."""

import netns
import pytest
from cluster import NAMES
from node_fixtures import make_forebay  # noqa: F401


@pytest.fixture(scope="session")
def any_network():
    """Namespaces where they are allowed, else loopback; one for all tests, healed between them."""
    with netns.open_network(NAMES) as network:
        yield network


@pytest.fixture
def network(any_network):
    yield any_network
    any_network.heal()


@pytest.fixture
def lines(network):
    """The network, for tests that spoil its lines."""
    if network.reason:
        pytest.skip(f"lines cannot be spoiled: {network.reason}")
    return network
