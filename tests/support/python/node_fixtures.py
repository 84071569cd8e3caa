"""The fixtures that every suite of whole processes shares; a conftest.py imports what it needs."""

import pytest
from forebay_harness import Forebay, binary


@pytest.fixture
def make_forebay(tmp_path):
    """make_forebay(config, name="forebay", start=True): nodes that end with the test."""
    if not binary().exists():
        pytest.fail(f"{binary()} is not built: ./dev build")
    nodes = []

    def make(config=None, name="forebay", start=True, **options):
        node = Forebay(tmp_path / name, config, **options)
        nodes.append(node)
        return node.start() if start else node

    yield make
    for node in nodes:
        node.stop()
