"""The named failpoints of the binary under test. Their one list is kFailpoints in lib/base/failpoint.h."""

import re

import pytest
from forebay_harness import binary
from processes import ROOT


def names():
    """Those that a node alone with a file sink passes."""
    return [name for name in all_names() if not name.startswith(("transfer.", "drain.", "orphan.", "adx.", "clickhouse."))]


def of_nodes():
    """Those that nodes pass, alone or among others."""
    return [name for name in all_names() if not name.startswith(("orphan.", "adx.", "clickhouse."))]


def all_names():
    text = (ROOT / "lib" / "base" / "failpoint.h").read_text()
    listed = text[text.index("kFailpoints = {"):]
    return re.findall(r'^\s*"([a-z_.]+)",', listed[:listed.index("};")], re.MULTILINE)


def compiled_in():
    """Whether the binary has them: builds for tests do, release builds do not."""
    return binary().exists() and names()[0].encode() in binary().read_bytes()


def needed(test):
    """Of a test that ends nodes at named points: `-m failpoints` selects them, release builds skip them."""
    skip = pytest.mark.skipif(not compiled_in(), reason="the binary has no failpoints compiled in: use the dev build")
    return pytest.mark.failpoints(skip(test))
