"""Fixtures of the tests of what installs and watches Forebay."""

import json
import pathlib
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from exported import Exported  # noqa: E402
from forebay_harness import Sample, Series  # noqa: E402
from node_fixtures import make_forebay, shared_forebay  # noqa: E402,F401
from processes import free_port  # noqa: E402

FOLDER = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The metrics that a node of a cluster exports once rows have gone through it, with their labels."""
    from forebay_harness import Forebay

    port = free_port()
    config = {"listen": {"transfer": f"127.0.0.1:{port}"},
              "cluster": {"discovery": "static", "member": "me", "members": [{"name": "me", "address": f"127.0.0.1:{port}"}]}}
    with Forebay(tmp_path_factory.mktemp("exported"), config).start() as node:
        node.writer().send_v1([Series({"__name__": "up"}, [Sample(1.0, 1_700_000_000_000)])])
        node.flush()
        # Pending rows have a series for each database that has some.
        node.writer().send_v1([Series({"__name__": "up"}, [Sample(2.0, 1_700_000_001_000)])])
        with node.admin() as client:
            assert client.post("/-/flush?upload=false").status == 200
        text = node.metrics_text()
    return Exported(text, yaml.safe_load((FOLDER / "awaited_metrics.yaml").read_text()) or {})


def pytest_make_parametrize_id(config, val):
    return json.dumps(val) if isinstance(val, dict) else None
