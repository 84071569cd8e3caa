"""./dev chaos: rounds of trouble for as long as asked; see chaos_run.py in tests/support/python, --cluster: cluster_run.py.

Prints one line per round, and at the end what happened, the account of all samples, and `N passed, N failed`. The folder
of a round that found something is kept, and its line tells the seed that repeats its choices.
"""

import argparse
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))

import chaos_run  # noqa: E402
import cluster_run  # noqa: E402
import netns  # noqa: E402
from forebay_harness import binary  # noqa: E402
from node_fixtures import SANITIZER  # noqa: E402

KILLS_PER_ROUND = 50


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, help="end after so many kills -9 (default 200)")
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--mean-ms", type=float, default=300, help="mean time from ready to kill -9")
    parser.add_argument("--cluster", action="store_true", help="three nodes, and the lines between them")
    arguments = parser.parse_args()
    if arguments.kills is None and arguments.seconds is None:
        arguments.kills = 200
    return arguments


class OneNode:
    """Rounds with a single node."""

    def __init__(self, mean_ms):
        self.mean_ms = mean_ms
        self.totals = chaos_run.Totals()
        self.reason = chaos_run.Tmpfs.possible()
        self.title = f"no full disk: {self.reason}" if self.reason else ""

    def tmpfs(self, seed):
        return not self.reason and seed % 2 == 0

    def name(self, seed):
        return ", small volume" if self.tmpfs(seed) else ""

    def run(self, folder, seed, kills, deadline):
        round_ = chaos_run.Round(folder, seed, self.totals, tmpfs=self.tmpfs(seed), mean_ms=self.mean_ms)
        round_.run(kills, deadline)
        return [round_.node]


class ThreeNodes:
    """Rounds with three nodes in a network of their own."""

    def __init__(self, mean_ms, network):
        self.mean_ms = mean_ms
        self.network = network
        self.totals = cluster_run.Totals()
        self.title = "three nodes"

    def name(self, _):
        return ""

    def run(self, folder, seed, kills, deadline):
        round_ = cluster_run.Round(folder, seed, self.totals, self.network, mean_ms=self.mean_ms)
        round_.run(kills, deadline)
        return round_.cluster


def run_round(kind, folder, seed, kills, deadline):
    try:
        for node in kind.run(folder, seed, kills, deadline):
            assert SANITIZER.search(node.log) is None, f"a sanitizer's report is in {node.log_path}"
    except Exception as problem:  # noqa: B902  (whatever it is, the other rounds go on)
        kind.totals.failed += 1
        print(f"FAILED, seed {seed}, kept in {folder}: {problem}", flush=True)
        return
    shutil.rmtree(folder)


def run_all(kind, arguments):
    """Until the kills are done or the time is over. Returns the exit status."""
    totals = kind.totals
    chance = random.Random(arguments.seed)
    began = time.monotonic()
    deadline = None if arguments.seconds is None else began + arguments.seconds
    print(f"{binary()}, seed {arguments.seed}" + (f"; {kind.title}" if kind.title else ""), flush=True)
    base = pathlib.Path(tempfile.mkdtemp(prefix="forebay-chaos-"))
    left, number = arguments.kills, 0
    while (left is None or left > 0) and not chaos_run.past(deadline):
        number += 1
        kills = KILLS_PER_ROUND if left is None else min(left, KILLS_PER_ROUND)
        # The first round repeats with the seed that was given.
        seed = arguments.seed if number == 1 else chance.randrange(1 << 30)
        run_round(kind, base / f"round{number}", seed, kills, deadline)
        if left is not None:
            left -= kills
        print(f"round {number}, seed {seed}{kind.name(seed)}: {totals.kills()} kills, "
              f"{totals.acknowledged} acknowledged, {totals.passed} passed, {totals.failed} failed, "
              f"{time.monotonic() - began:.0f} s", flush=True)
    if not totals.failed:
        shutil.rmtree(base)
    print(totals)
    return 1 if totals.failed or totals.lost or totals.duplicated or totals.refused_and_delivered else 0


def main():
    arguments = parse_arguments()
    if not arguments.cluster:
        return run_all(OneNode(arguments.mean_ms), arguments)
    with netns.open_network(cluster_run.NAMES) as network:
        return run_all(ThreeNodes(arguments.mean_ms, network), arguments)


if __name__ == "__main__":
    sys.exit(main())
