"""Fixtures of the conformance tests; the harness is tests/support/python/forebay_harness.py."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))

from forebay_harness import Forebay, binary  # noqa: E402


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.conformance)


def pytest_configure(config):
    config.addinivalue_line("markers", "conformance: a case of a published protocol, against the real binary")


def start(folder, config=None):
    if not binary().exists():
        pytest.fail(f"{binary()} is not built: ./dev build")
    return Forebay(folder, config).start()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    """One node for the status and header tests of a module."""
    node = start(tmp_path_factory.mktemp("receiver"))
    yield node
    node.stop()


@pytest.fixture
def fresh(tmp_path):
    """A node of the test's own, for tests that look at the rows of its files."""
    nodes = []

    def make(config=None):
        nodes.append(start(tmp_path / f"node{len(nodes)}", config))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()
