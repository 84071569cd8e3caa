"""The fixtures that every suite of whole processes shares; a conftest.py imports what it needs.

At the end of each test every node that still runs must account for all its rows (conservation.py), and none may have
written a sanitizer's report.
"""

import http.client
import re

import conservation
import pytest
from forebay_harness import Forebay, binary

SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error: ")


def finish(node):
    """Checks a node, then ends it."""
    try:
        if node.running and node.admin_address and not node.opaque:
            check_rows(node)
    finally:
        node.stop()
    report = SANITIZER.search(node.log)
    assert report is None, f"a sanitizer's report:\n{node.log[report.start():report.start() + 6000]}"


def check_rows(node):
    try:
        conservation.check(node)
    except (OSError, http.client.HTTPException):
        if node.running:
            raise


def finish_all(nodes):
    problems = []
    for node in nodes:
        try:
            finish(node)
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def make_forebay(tmp_path):
    """make_forebay(config, name="forebay", start=True): nodes that are checked and end with the test."""
    if not binary().exists():
        pytest.fail(f"{binary()} is not built: ./dev build")
    nodes = []

    def make(config=None, name="forebay", start=True, **options):
        node = Forebay(tmp_path / name, config, **options)
        nodes.append(node)
        return node.start() if start else node

    yield make
    finish_all(nodes)


@pytest.fixture(scope="module")
def shared_forebay(tmp_path_factory):
    """One node for all tests of a module that only look at answers."""
    node = Forebay(tmp_path_factory.mktemp("shared")).start()
    yield node
    finish(node)
