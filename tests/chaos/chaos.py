"""./dev chaos: rounds of trouble for as long as asked; see tests/support/python/chaos_run.py.

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
from forebay_harness import binary  # noqa: E402
from node_fixtures import SANITIZER  # noqa: E402

KILLS_PER_ROUND = 50


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, help="end after so many kills -9 (default 200)")
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--mean-ms", type=float, default=300, help="mean time from ready to kill -9")
    arguments = parser.parse_args()
    if arguments.kills is None and arguments.seconds is None:
        arguments.kills = 200
    return arguments


def run_round(folder, seed, totals, kills, deadline, mean_ms, tmpfs):
    round_ = chaos_run.Round(folder, seed, totals, tmpfs=tmpfs, mean_ms=mean_ms)
    try:
        round_.run(kills, deadline)
        assert SANITIZER.search(round_.node.log) is None, f"a sanitizer's report is in {round_.node.log_path}"
    except Exception as problem:  # noqa: B902  (whatever it is, the other rounds go on)
        totals.failed += 1
        print(f"FAILED, seed {seed}, kept in {folder}: {problem}", flush=True)
        return False
    shutil.rmtree(folder)
    return True


def main():
    arguments = parse_arguments()
    chance = random.Random(arguments.seed)
    began = time.monotonic()
    deadline = None if arguments.seconds is None else began + arguments.seconds
    totals = chaos_run.Totals()
    no_mount = chaos_run.Tmpfs.possible()
    print(f"{binary()}, seed {arguments.seed}" + (f"; no full disk: {no_mount}" if no_mount else ""), flush=True)
    base = pathlib.Path(tempfile.mkdtemp(prefix="forebay-chaos-"))
    left, number = arguments.kills, 0
    while (left is None or left > 0) and not chaos_run.past(deadline):
        number += 1
        kills = KILLS_PER_ROUND if left is None else min(left, KILLS_PER_ROUND)
        # The first round repeats with the seed that was given.
        seed = arguments.seed if number == 1 else chance.randrange(1 << 30)
        tmpfs = not no_mount and seed % 2 == 0
        run_round(base / f"round{number}", seed, totals, kills, deadline, arguments.mean_ms, tmpfs)
        if left is not None:
            left -= kills
        print(f"round {number}, seed {seed}{', small volume' if tmpfs else ''}: {totals.kills()} kills, "
              f"{totals.acknowledged} acknowledged, {totals.passed} passed, {totals.failed} failed, "
              f"{time.monotonic() - began:.0f} s", flush=True)
    if not totals.failed:
        shutil.rmtree(base)
    print(totals)
    return 1 if totals.failed or totals.lost or totals.duplicated or totals.refused_and_delivered else 0


if __name__ == "__main__":
    sys.exit(main())
