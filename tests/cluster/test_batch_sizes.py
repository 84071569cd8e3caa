"""At a steady load of three nodes batches are as large as they should be, since a table's rows meet at its owner.

A short run of `./dev bench cluster`, at a sixtieth of the default ages; the figures are in docs/reliability.md.
"""
import sys

from processes import ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))

import cluster_bench  # noqa: E402

OPTIONS = ["--tables", "60", "--seconds", "8", "--speed", "60", "--fill", "2"]


def test_nearly_all_bytes_are_in_batches_of_the_wanted_size(tmp_path):
    options = cluster_bench.parse_arguments([*OPTIONS, "--dir", str(tmp_path)])
    run = cluster_bench.batch_sizes(options, transfers=True)
    print(run)
    assert run["batches"] >= 60 and run["transferred_rows"] > 0
    assert run["share_between_min_and_max"] >= 0.95, run
