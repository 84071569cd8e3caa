#!/usr/bin/env python3
"""What durability costs: sync, write and none side by side, CPU per sample and the latency of the acknowledgement.

Usage: tests/bench/durability.py [--series N] [--rounds N] [--seconds S]
FOREBAY_BIN names the binary (build/release/forebay). In turns, `rounds` times for each mode: a node is started, learns the
series, is then loaded as fast as it takes (saturation), then at half of the saturation of sync in the first round, the
same rate for all. Latencies count from when a request was due, so that waiting behind a slow one counts. CPU is that of
the process until the answer, sealing in the background included, the upload not. The median of the rounds is
reported; a run counts only if rows in the files = accepted samples.
"""
import argparse
import json
import statistics
import tempfile

from bench_node import Node, check_account, count_rows, cpu_seconds, load, machine

MODES = ("sync", "write", "none")


def run(mode, options, rate):
    """One node, one mode. Returns its figures."""
    shape = ["--series", options.series, "--tables", options.tables, "--connections", options.connections]
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, mode)
        accepted = load(node, *shape, "--samples", options.series)["samples"]["accepted"]
        figures = {}
        for name, pace in (("saturation", []), ("half load", ["--rate", rate])):
            if pace == ["--rate", None]:
                pace = ["--rate", int(figures["saturation"]["samples_per_second"] / 2)]
            before = cpu_seconds(node.pid)
            report = load(node, *shape, *pace, "--duration", f"{options.seconds}s")
            node.flush(upload=False)
            used = cpu_seconds(node.pid) - before
            done = report["samples"]["accepted"]
            accepted += done
            figures[name] = {
                "samples_per_second": round(report["samples_per_second"]),
                "cpu_ns_per_sample": round(used / done * 1e9),
                "p50_ms": report["latency_ms"]["p50"],
                "p99_ms": report["latency_ms"]["p99"],
            }
        node.flush(upload=True)
        node.stop()
        check_account(accepted, count_rows(node.folder / "out"))
        return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    parser.add_argument("--dir", default=None, help="where the scratch folder goes")
    options = parser.parse_args()
    runs, rate = {mode: [] for mode in MODES}, None
    for _ in range(options.rounds):
        for mode in MODES:
            runs[mode].append(run(mode, options, rate))
            rate = rate or runs["sync"][0]["half load"]["samples_per_second"]
    table = {
        mode: {load_name: {figure: round(statistics.median(one[load_name][figure] for one in runs[mode]), 2)
                           for figure in runs[mode][0][load_name]} for load_name in runs[mode][0]} for mode in MODES
    }
    print(json.dumps({"rounds": options.rounds, "series": options.series, "tables": options.tables,
                      "durability": table, "machine": machine()}, indent=2))
    print(f"\n{'durability':<11}{'load':<12}{'samples/s':>10}{'ns/sample':>10}{'p50 ms':>8}{'p99 ms':>8}")
    for mode, loads in table.items():
        for name, figure in loads.items():
            print(f"{mode:<11}{name:<12}{figure['samples_per_second']:>10.0f}{figure['cpu_ns_per_sample']:>10.0f}"
                  f"{figure['p50_ms']:>8.2f}{figure['p99_ms']:>8.2f}")


if __name__ == "__main__":
    main()
