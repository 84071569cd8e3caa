"""Kills of any node at any time, and trouble of every kind: 0 rows lost, 0 doubled.

Sizes for CI; FOREBAY_TEST_CLUSTER_KILLS scales them, FOREBAY_TEST_SEED repeats a run; `./dev chaos --cluster` goes on for
as long as asked. The binary should have the failpoints compiled in (preset dev).
"""
import os
import random

import cluster_run
import pytest
from node_fixtures import SANITIZER

KILLS = int(os.environ.get("FOREBAY_TEST_CLUSTER_KILLS", "100"))
SEED = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))


def run(folder, network, kills, capsys, **options):
    totals = cluster_run.Totals()
    round_ = cluster_run.Round(folder, SEED, totals, network, **options)
    try:
        round_.run(kills)
    finally:
        print(f"seed {SEED}: {totals}")
        with capsys.disabled():
            print(f"\n{totals.verdict()}, seed {SEED}")
    for node in round_.cluster:
        assert not SANITIZER.search(node.log), node.tail(100)
    assert totals.kills() >= kills
    assert not totals.lost and not totals.duplicated and not totals.refused_and_delivered
    return totals


@pytest.mark.timeout(300 + 3 * KILLS)
def test_kills_of_any_node_at_any_time_lose_and_double_nothing(tmp_path, network, capsys):
    totals = run(tmp_path, network, KILLS, capsys, kinds=cluster_run.KILLS_ONLY, delay_ms=cluster_run.DELAY_MS)
    assert totals.transferred, "nothing was given to a peer: this run shows nothing"


@pytest.mark.timeout(300 + 3 * KILLS)
def test_trouble_of_nodes_and_lines_at_once_loses_and_doubles_nothing(tmp_path, network, capsys):
    run(tmp_path, network, max(10, KILLS // 5), capsys)
