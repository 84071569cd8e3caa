"""Fixtures of the tests of what installs and watches Forebay."""

import json
import pathlib
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from certificates import self_signed  # noqa: E402
from exported import Exported  # noqa: E402
from forebay_harness import Forebay, Sample, Series  # noqa: E402
from node_fixtures import make_forebay, shared_forebay  # noqa: E402,F401
from processes import free_port  # noqa: E402

FOLDER = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The metrics that a node of a cluster exports once rows have gone through it, with their labels."""
    port, folder = free_port(), tmp_path_factory.mktemp("exported")
    self_signed(folder / "tls", "me")
    files = {f"{kind}_file": str(folder / "tls" / name)
             for kind, name in {"cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"}.items()}
    config = {"listen": {"transfer": f"127.0.0.1:{port}"},
              "cluster": {"discovery": "static", "member": "me", "members": [{"name": "me", "address": f"127.0.0.1:{port}"}],
                          "transfer_tls": {**files, "server_name": "me"}}}
    with Forebay(folder, config).start() as node:
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
