#!/usr/bin/env python3
"""./dev demo cluster: three nodes and nginx on this machine, a load through it, one node drained live, an exact account.

Usage: tests/demo/cluster_demo.py [--seconds S] [--rate N] [--tables N] [--dir FOLDER]
Batches are to be 100 kB to 1 MB of uncompressed rows, a thousandth of the defaults, so that something is seen at once. Exit
status 0: every accepted sample is in the files once, and there is nothing else. Ctrl-C ends all processes; the folder
goes, unless --dir names one.
"""
import argparse
import contextlib
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))

from forebay_harness import binary  # noqa: E402
from three_nodes import Batches, LoadRun, balancer, quantiles, three_nodes  # noqa: E402

DRAINED = "node-2"
CONFIG = {
    "generation": {"max_age": "1s"},
    "batch": {"min_bytes": "100KB", "max_bytes": "1MB", "max_age": "8s"},
    "cluster": {"transfer": {"max_age": "5s"}},
}
COLUMNS = ("node", "state", "received", "transferred out", "transferred in", "batches", "min kB", "median kB", "max kB")
WIDTHS = (7, 9, 10, 16, 15, 8, 8, 10, 8)


def say(text=""):
    print(text, flush=True)


class Watch:
    """What the table says of one node. Its last figures stay when it has gone."""

    def __init__(self, name, node):
        self.name = name
        self.node = node
        self.batches = Batches(node)
        self.state = "ready"
        self.figures = {}

    def read(self):
        if self.node.running:
            self.figures = {
                "received": self.node.metric("forebay_receive_received_samples_total"),
                "out": self.node.metric("forebay_transfer_sent_rows_total"),
                "in": self.node.metric("forebay_transfer_received_rows_total"),
            }
        self.batches.read_new()
        return self

    def cells(self):
        sizes = self.batches.sizes()
        return (self.name, self.state, *[f"{self.figures[key]:.0f}" for key in ("received", "out", "in")], str(len(sizes)),
                *[f"{size / 1000:.1f}" for size in quantiles(sizes)])


def print_table(title, watches):
    say()
    say(title)
    for cells in [COLUMNS, *[watch.read().cells() for watch in watches]]:
        say("  " + "".join(cell.ljust(width) if column < 2 else cell.rjust(width)
                           for column, (cell, width) in enumerate(zip(cells, WIDTHS))))


def drain(watch):
    """Live: it takes no more clients, its rows go to the others or out, then it ends."""
    watch.state = "draining"
    began = time.monotonic()
    with watch.node.admin(120) as client:
        answer = client.post("/-/drain?timeout=60s")
    if answer.status != 200:
        raise RuntimeError(f"POST /-/drain: {answer.status} {answer.text}")
    left = watch.node.metric("forebay_conservation_rows", state="pending")
    watch.read()
    status = watch.node.terminate()
    watch.state = "ended"
    say()
    say(f"{watch.name} drained and ended in {time.monotonic() - began:.1f} s, exit status {status}, {left:.0f} rows left on it")
    if status != 0 or left:
        raise RuntimeError(f"{watch.name} did not drain:\n{watch.node.tail()}")


def account(report, watches):
    """True when the files hold the accepted samples, each once."""
    samples, rows = report["samples"], sum(watch.read().batches.rows() for watch in watches)
    say()
    say(f"sent {samples['sent']}, accepted {samples['accepted']}, refused {samples['refused']}, unknown {samples['unknown']}; "
        f"rows in the files of all nodes: {rows}")
    exact = samples["accepted"] == rows and not samples["unknown"] and samples["accepted"] > 0
    say("exact: every accepted sample is there once" if exact else
        f"NOT EXACT: {rows - samples['accepted']:+} rows; {report['first_error']}")
    return exact


def run(options, folder):
    say(f"{binary()}: three nodes and nginx below {folder}")
    with three_nodes(folder, CONFIG) as cluster, balancer(folder, cluster) as nginx:
        watches = [Watch(name, node) for name, node in cluster.nodes.items()]
        for watch in watches:
            say(f"  {watch.name}: http://{watch.node.ingest_address}, metrics and status http://{watch.node.admin_address}/status")
        say(f"  nginx:  {nginx.write_url} <- forebay load: {options.rate} samples/s in {options.tables} tables "
            f"for {options.seconds:g} s")
        with LoadRun(nginx, "--rate", options.rate, "--duration", f"{options.seconds * 1000:.0f}ms", "--tables", options.tables,
                     "--series", options.tables * 20, "--series-per-request", options.tables * 2, "--connections", 3) as load:
            time.sleep(options.seconds * 0.6)
            print_table(f"after {options.seconds * 0.6:g} s under load", watches)
            drain(next(watch for watch in watches if watch.name == DRAINED))
            report = load.result()
        print_table("at the end of the load", watches)
        for _ in range(2):  # what one of them flushes may just have been given to another
            for watch in watches:
                if watch.node.running:
                    watch.node.flush()
        print_table("flushed: what was left is in small batches", watches)
        return account(report, watches)


def main():
    parser = argparse.ArgumentParser(prog="./dev demo cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="of load")
    parser.add_argument("--rate", type=int, default=9000, help="samples a second")
    parser.add_argument("--tables", type=int, default=60)
    parser.add_argument("--dir", default=None, help="folder that stays; otherwise a temporary one")
    options = parser.parse_args()
    # Processes that were started are ended by the blocks that started them.
    # A shell starts what is in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        folder = options.dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="forebay-demo-"))
        try:
            return 0 if run(options, folder) else 1
        except KeyboardInterrupt:
            say("interrupted")
            return 130
        except RuntimeError as problem:
            say(f"FAILED: {problem}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
