"""Power cuts at the level of blocks: the disk is frozen while the node runs, and each copy is started and drained.

What was acknowledged before a copy was begun is delivered from it, once; nothing that is wrong is in it. The sink's
files lie on the same disk. FOREBAY_TEST_POWER_CUTS says how many. Skipped where volumes cannot be mounted.
"""

import os
import random
import time

import chaos_run
import pytest
from accounting import Account, Senders
from drained import check_leftovers, check_rows
from forebay_harness import Forebay, merge
from oracle import Oracle
from power_cut import FrozenVolume, NotPossible

CUTS = int(os.environ.get("FOREBAY_TEST_POWER_CUTS", "60"))
BETWEEN_SECONDS = 0.3
CONFIG = merge(chaos_run.CONFIG, {"generation": {"max_journal": "8MiB"}})


@pytest.fixture
def volume(tmp_path):
    volume = FrozenVolume(tmp_path / "disks")
    try:
        volume.__enter__()
    except NotPossible as reason:
        print(f"no power cuts on this machine: {reason}")
        pytest.skip(f"no power cuts on this machine: {reason}")
    yield volume
    volume.__exit__()


def node_on(folder, path):
    node = Forebay(folder, merge(CONFIG, {
        "storage": {"dir": str(path / "data")},
        "databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(path / "out")}}]}]}))
    node.data, node.out = path / "data", path / "out"
    return node


@pytest.mark.timeout(300 + 10 * CUTS)
def test_what_was_acknowledged_before_a_power_cut_is_delivered_after_it(volume, tmp_path):
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    account = Account()
    cuts = []  # (image, what was acknowledged before, what was refused before)
    with volume.mounted() as path:
        node = node_on(tmp_path / "node", path).start()
        with Senders(node, account, count=3, seed=seed, profile=None, bad=0.05):
            account.wait_acknowledged(1, timeout=10)
            for _ in range(CUTS):
                time.sleep(random.Random(seed + len(cuts)).uniform(0, 2 * BETWEEN_SECONDS))
                with account.changed:
                    before = set(account.acknowledged), set(account.refused)
                cuts.append((volume.snapshot(), *before))
        node.kill9()
    known = 0
    for number, (image, acknowledged, refused) in enumerate(cuts):
        delivered = recover(volume, tmp_path / f"cut{number}", image, account, acknowledged, refused)
        known += len(acknowledged)
        assert delivered >= len(acknowledged)
    print(f"{len(cuts)} power cuts, {known} samples acknowledged before them, 0 lost; {len(account.sent)} sent")
    assert cuts[-1][1], "nothing was acknowledged: this run shows nothing"


def recover(volume, folder, image, account, acknowledged, refused):
    """Starts a node on the copy, drains it and checks its files. Returns how many samples these hold."""
    with volume.mounted(image) as path:
        node = node_on(folder, path)
        try:
            node.start()
            node.flush()
            check_rows(node, None)
            check_leftovers(node)
        finally:
            node.kill9()
        oracle = Oracle(node.out)
        oracle.read_new()
        then = Account()
        then.sent, then.acknowledged, then.refused = account.sent, acknowledged, refused
        result = oracle.compare(then, complete=True)
        assert result.clean(), f"{image.name}: {result}\n{result.examples()}\n{node.tail(60)}"
    image.unlink()
    return oracle.rows
