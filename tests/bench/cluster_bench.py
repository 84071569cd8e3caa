#!/usr/bin/env python3
"""Batch sizes of three nodes, with and without handing segments to the owners of tables, and the cost between nodes.

Usage: tests/bench/cluster_bench.py [--tables N] [--seconds S] [--fill S] [--speed N] [--skip-cost] [--result FILE]
FOREBAY_BIN names the binary (build/release/forebay). Sizes are the defaults divided by 1000 (batches of 100 kB to 1 MB of
uncompressed rows), ages the defaults divided by --speed. The load, by `forebay load` through nginx, gives each table
100 kB in --fill seconds in all; without transfers a node has a third of that. A batch counts when it was finished between
one batch.max_age after the load's beginning and its end: what is flushed afterwards says nothing about the policy. Rows in
the files = accepted samples, in each run.
"""
import argparse
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent))

from bench_node import machine  # noqa: E402
from three_nodes import Batches, LoadRun, balancer, quantiles, three_nodes  # noqa: E402

MIN_BYTES = 100_000
MAX_BYTES = 1_000_000
ROW_BYTES = 330  # of a row of this load; only the rate is computed with it
SERIES_A_TABLE = 20
DEFAULT_AGES = {"generation": 60, "transfer": 180, "batch": 300}  # seconds


def settings(speed, transfers):
    ages = {name: f"{seconds * 1000 // speed}ms" for name, seconds in DEFAULT_AGES.items()}
    return {
        "generation": {"max_age": ages["generation"]},
        "batch": {"min_bytes": MIN_BYTES, "max_bytes": MAX_BYTES, "max_age": ages["batch"]},
        "cluster": {"transfer": {"enabled": transfers, "max_age": ages["transfer"], "timeout": "10s"}},
    }


def batch_sizes(options, transfers):
    rate = options.tables * MIN_BYTES / options.fill / ROW_BYTES
    warm_up = DEFAULT_AGES["batch"] / options.speed
    with tempfile.TemporaryDirectory(dir=options.dir) as folder, \
            three_nodes(folder, settings(options.speed, transfers)) as cluster, balancer(folder, cluster) as nginx:
        begin = time.time()
        series = SERIES_A_TABLE * options.tables
        with LoadRun(nginx, "--rate", rate, "--duration", f"{options.seconds + warm_up:.0f}s", "--tables", options.tables,
                     "--series", series, "--series-per-request", min(2000, series // 6), "--connections", 3) as load:
            report = load.result()
        end = time.time()
        transferred = cluster.metric("forebay_transfer_sent_rows_total")
        failures = cluster.metric("forebay_transfer_failures_total")
        reasons = {reason: int(cluster.metric("forebay_batch_planned_total", reason=reason)) for reason in ("size", "age")}
        flush(cluster)
        files = [Batches(node).read_new() for node in cluster]
        check_account(report, sum(batches.rows() for batches in files), cluster)
        steady = [size for batches in files for size in batches.between(begin + warm_up, end)]
        everything = [size for batches in files for size in batches.sizes()]
    least, median, greatest = quantiles(steady)
    return {
        "batches": len(steady),
        "bytes": sum(steady),
        "share_between_min_and_max": share(steady),
        "share_with_the_flush_at_the_end": share(everything),
        "min_bytes": least, "median_bytes": median, "max_bytes": greatest,
        "files_for_each_100_MB": round(len(steady) / max(sum(steady), 1) * 1e8),
        "made_by": reasons,
        "samples": report["samples"]["accepted"], "samples_per_second": report["samples_per_second"],
        "row_bytes": round(sum(everything) / report["samples"]["accepted"], 1),
        "transferred_rows": int(transferred), "transfer_failures": int(failures),
    }


def share(sizes):
    """Of the bytes, those in batches of the wanted size."""
    return round(sum(size for size in sizes if MIN_BYTES <= size <= MAX_BYTES) / max(sum(sizes), 1), 4)


def flush(cluster):
    """Twice: what one node flushed may just have been given to another."""
    cluster.account.oracle = None
    for _ in range(2):
        for node in cluster:
            node.flush()
    pending = cluster.metric("forebay_conservation_rows", state="pending")
    if pending:
        sys.exit(f"flushed, and {pending:.0f} rows are pending")


def check_account(report, rows, cluster):
    samples = report["samples"]
    if not samples["accepted"] == samples["sent"] == rows:
        logs = "\n".join(node.tail(10) for node in cluster)
        sys.exit(f"the account does not hold: {samples}, {rows} rows in files: {report['first_error']}\n{logs}")


def cost(options):
    """One node gives everything that it gets to another one, which seals it: CPU there, and bytes between the two."""
    config = {"generation": {"max_age": "1h"}, "batch": {"max_age": "1h"},
              "cluster": {"transfer": {"max_age": "1h", "timeout": "1m"}}}
    with tempfile.TemporaryDirectory(dir=options.dir) as folder, three_nodes(folder, config, start=False) as cluster:
        sender, receiver = cluster["node-0"], cluster["node-1"]
        for node in (sender, receiver):
            # Both take the receiver for the only member, so it owns all tables.
            node.config["cluster"]["members"] = cluster.members(["node-1"])
            node.start()
        series, rounds = options.cost_series, 8
        before = hand_over(sender, receiver, series, rounds, 1)  # the first generation: all is new
        cpu, rss = receiver.cpu_seconds(), 0
        after = hand_over(sender, receiver, series, rounds, options.cost_generations)
        cpu = receiver.cpu_seconds() - cpu
        rss = receiver.peak_rss_bytes()
        rows = after["rows"] - before["rows"]
        return {
            "samples": int(rows),
            "series": series,
            "receiver_ns_per_sample_until_sealed": round(cpu / rows * 1e9),
            "bytes_per_sample_between_nodes": round((after["bytes"] - before["bytes"]) / rows, 1),
            "receiver_peak_rss_mib": round(rss / 2**20),
        }


def hand_over(sender, receiver, series, rounds, generations):
    for _ in range(generations):
        with LoadRun(sender, "--series", series, "--tables", 200, "--samples", series * rounds) as load:
            load.result()
        seal(sender)
        wait_for_rows(sender)
        seal(receiver)
    return {"rows": receiver.metric("forebay_transfer_received_rows_total"),
            "bytes": receiver.metric("forebay_transfer_received_bytes_total")}


def seal(node):
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200


def wait_for_rows(sender):
    deadline = time.monotonic() + 60
    while sender.metric("forebay_conservation_rows", state="pending"):
        if time.monotonic() > deadline:
            sys.exit(f"rows stay with the sender:\n{sender.tail()}")
        time.sleep(0.02)


def measure(options):
    result = {
        "what": f"{options.tables} tables, 3 nodes, each table gets {MIN_BYTES} B in {options.fill:g} s in all; "
                f"batches of {MIN_BYTES} to {MAX_BYTES} B (defaults / 1000), "
                f"ages = defaults / {options.speed}: " + ", ".join(
                    f"{name} {seconds / options.speed:g} s" for name, seconds in DEFAULT_AGES.items()),
        "seconds": options.seconds,
        "with_transfer": batch_sizes(options, True),
        "without_transfer": batch_sizes(options, False),
    }
    if not options.skip_cost:
        result["between_nodes"] = cost(options)
    result["machine"] = machine()
    return result


def table(result):
    lines = [result["what"], "",
             f"{'':18}{'batches':>9}{'min kB':>9}{'median':>9}{'max':>9}{'by size':>9}{'by age':>9}{'bytes in batches of the wanted size':>38}"]
    for name in ("with_transfer", "without_transfer"):
        run = result[name]
        lines.append(f"{name.replace('_', ' '):18}{run['batches']:9}{run['min_bytes'] / 1e3:9.1f}{run['median_bytes'] / 1e3:9.1f}"
                     f"{run['max_bytes'] / 1e3:9.1f}{run['made_by']['size']:9}{run['made_by']['age']:9}"
                     f"{run['share_between_min_and_max'] * 100:36.2f} %")
    if "between_nodes" in result:
        run = result["between_nodes"]
        lines += ["", f"between nodes: {run['receiver_ns_per_sample_until_sealed']} ns of the receiver's CPU a sample until sealed, "
                  f"{run['bytes_per_sample_between_nodes']} B a sample, {run['samples']} samples"]
    return "\n".join(lines)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60, help="of steady load that counts")
    parser.add_argument("--fill", type=float, default=12, help="seconds in which a table gets batch.min_bytes")
    parser.add_argument("--speed", type=int, default=10, help="ages are the defaults divided by this")
    parser.add_argument("--cost-series", type=int, default=100_000)
    parser.add_argument("--cost-generations", type=int, default=4)
    parser.add_argument("--skip-cost", action="store_true")
    parser.add_argument("--result", default=None, help="file for the JSON")
    parser.add_argument("--dir", default=None, help="where the scratch folders go")
    return parser.parse_args(arguments)


def main():
    options = parse_arguments()
    result = measure(options)
    print(table(result), file=sys.stderr)
    text = json.dumps(result, indent=2)
    print(text)
    if options.result:
        pathlib.Path(options.result).write_text(text + "\n")


if __name__ == "__main__":
    main()
