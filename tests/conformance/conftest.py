"""Fixtures of the conformance tests; nodes are those of tests/support/python/node_fixtures.py."""

import pytest
from node_fixtures import make_forebay, shared_forebay  # noqa: F401


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.conformance)


def pytest_configure(config):
    config.addinivalue_line("markers", "conformance: a case of a published protocol, against the real binary")


@pytest.fixture
def receiver(shared_forebay):  # noqa: F811
    """One node for the status and header tests of a module."""
    return shared_forebay


@pytest.fixture
def fresh(make_forebay):  # noqa: F811
    """A node of the test's own, for tests that look at the rows of its files."""
    made = []

    def make(config=None):
        made.append(make_forebay(config, name=f"node{len(made)}"))
        return made[-1]

    return make
