#!/usr/bin/env python3
"""The cost of one node: CPU per sample from receive to sealed segment and including the upload, memory, bytes.

Usage: tests/bench/node.py [--series N] [--tables N] [--rounds N] [--generations N] [--durability sync] [--json]
FOREBAY_BIN names the binary (build/release/forebay). A generation gets `rounds` samples of every series, is then sealed
(POST /-/flush?upload=false) and counted; the first one, in which all series are new, is reported apart. CPU is that of
the process, from /proc/PID/stat, sender not included. A run counts only if rows in the files = accepted samples.
"""
import argparse
import json
import tempfile
import time

from bench_node import Node, check_account, count_rows, cpu_seconds, load, machine, peak_rss, tree_bytes


def send(node, options):
    samples = options.series * options.rounds
    churn = ["--churn", options.churn, "--churn-clock", "sample", "--step", "15s"] if options.churn else []
    report = load(node, "--series", options.series, "--tables", options.tables, "--labels", options.labels, "--samples", samples,
                  "--connections", options.connections, "--protocol", options.protocol,
                  "--samples-per-series", options.samples_per_series, *churn)
    return report["samples"]["accepted"]


def measure(options):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, options.durability, options.settings)
        begin = cpu_seconds(node.pid)
        accepted = send(node, options)
        node.flush(upload=False)
        first = (cpu_seconds(node.pid) - begin) / accepted
        begin, sealed, elapsed = cpu_seconds(node.pid), 0, 0.0
        received_only = 0.0
        for _ in range(options.generations):
            before = cpu_seconds(node.pid)
            started = time.monotonic()
            samples = send(node, options)
            elapsed += time.monotonic() - started
            received_only += cpu_seconds(node.pid) - before
            node.flush(upload=False)
            sealed += samples
        to_segment = cpu_seconds(node.pid) - begin
        journal = node.metric("forebay_wal_journal_written_bytes_total")
        segments = node.metric("forebay_wal_sealed_bytes_total")
        total = accepted + sealed
        begin, upload, output = cpu_seconds(node.pid), 0.0, 0
        if options.upload:
            node.flush(upload=True)
            upload = (cpu_seconds(node.pid) - begin) / total
        else:
            rows = node.status()["segments"]["rows"]
        rss = peak_rss(node.pid)
        if options.upload:
            node.stop()
            output = tree_bytes(node.folder / "out")
            rows = count_rows(node.folder / "out")
        else:
            node.kill()
        check_account(total, rows)
    to_segment_ns = to_segment / sealed * 1e9
    return {
        "payload": {"series": options.series, "tables": options.tables, "labels": options.labels,
                    "samples_per_series_and_generation": options.rounds, "samples_per_series_and_request":
                    options.samples_per_series, "churn_percent_per_minute": options.churn, "protocol": options.protocol,
                    "connections": options.connections},
        "durability": options.durability,
        "samples": total,
        "rows_in_files" if options.upload else "rows_in_segments": rows,
        "samples_per_second": round(sealed / elapsed),
        "ns_per_sample": {
            "receive_to_sealed_segment": round(to_segment_ns),
            "of_it_until_the_answer": round(received_only / sealed * 1e9),
            "upload": round(upload * 1e9),
            "all": round(to_segment_ns + upload * 1e9),
            "first_generation_all_series_new": round(first * 1e9),
        },
        "peak_rss_mib": round(rss / 2**20),
        "bytes_per_sample": {"journal": round(journal / total, 1), "segments": round(segments / total, 1),
                             "output": round(output / total, 1)},
        "machine": machine(),
    }


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8, help="samples per series and generation")
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--samples-per-series", type=int, default=1, help="in a request")
    parser.add_argument("--churn", type=float, default=0, help="percent of the series replaced a minute, samples 15 s apart")
    parser.add_argument("--protocol", default="1.0")
    parser.add_argument("--durability", default="sync")
    parser.add_argument("--dir", default=None, help="where the scratch folder goes")
    parser.add_argument("--no-upload", dest="upload", action="store_false", help="rows are counted in the segments")
    parser.add_argument("--set", dest="settings", action="append", type=lambda text: text.split("=", 1), default=[],
                        help="path=value of the node's configuration")
    return parser.parse_args(arguments)


def main():
    print(json.dumps(measure(parse()), indent=2))


if __name__ == "__main__":
    main()
