#!/usr/bin/env python3
"""What OpenTelemetry costs: CPU of the node per log record, span and data point, by HTTP and gRPC, until it is acknowledged.

Usage: tests/bench/otlp.py [--rounds N] [--items N] [--dir DIR] [--json FILE]
FOREBAY_BIN names the binary (build/release/forebay). Log records and spans of 300 B, 512 a request; data points of cumulative sums, 2000 a
request; 4 connections, durability sync, protobuf that is not compressed, as exporters send by default. CPU is that of the process from
/proc/PID/stat between the first request of a generation and its last answer, sealing and upload not included, over five generations after a
first one; the median of the rounds. A run counts only if the rows in the files are what was accepted.
"""
import argparse
import json
import pathlib
import statistics
import sys
import tempfile

from bench_node import BINARY, Node, check_account, commit, count_rows, cpu_seconds, file_system, load, machine

GENERATIONS = 5
PROTOCOLS, SIGNALS = ("otlp-http", "otlp-grpc"), {"logs": "log record", "traces": "span", "metrics": "data point"}


def measure(protocol, signal, options):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, "sync", {"listen.otlp_grpc": "127.0.0.1:0", "generation.max_journal": "4GiB"})
        address = node.otlp_grpc if protocol == "otlp-grpc" else node.ingest
        series = 100_000 if signal == "metrics" else 10_240
        arguments = ["--protocol", protocol, "--signal", signal, "--series", series]
        url = f"http://{address}" if protocol == "otlp-grpc" else f"http://{address}/v1/{signal}"
        spent, counted, accepted = 0.0, 0, 0
        for generation in range(1 + GENERATIONS):
            before = cpu_seconds(node.pid)
            done = load(node, *arguments, "--samples", options.items, url=url)["samples"]["accepted"]
            accepted += done
            # Connections, pools and series are there when it counts.
            if generation > 0:
                spent += cpu_seconds(node.pid) - before
                counted += done
            node.flush(upload=False)
        node.flush(upload=True)
        if signal == "metrics":
            rows = node.metric('forebay_conservation_rows{database="Metrics",side="out",state="uploaded"}')
            if rows < accepted:
                sys.exit(f"{rows} rows of {accepted} data points")
        else:
            check_account(accepted, count_rows(pathlib.Path(folder) / "out"))
        node.stop()
    return spent / counted * 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=100_000, help="records, spans or data points of a generation")
    parser.add_argument("--dir", default=None, help="where the scratch folder goes")
    parser.add_argument("--json", default=None, help="the figures with machine and commit, into this file")
    options = parser.parse_args()
    folder = options.dir or tempfile.gettempdir()
    report = {"machine": machine(), "commit": commit(), "file_system": file_system(folder), "ns": {}}
    print(f"{BINARY}, {machine()}, {file_system(folder)}\nCPU ns, median of {options.rounds}")
    for signal, item in SIGNALS.items():
        for protocol in PROTOCOLS:
            rounds = [round(measure(protocol, signal, options)) for _ in range(options.rounds)]
            report["ns"][f"{item}, {protocol}"] = {"median": statistics.median(rounds), "rounds": rounds}
            print(f"{item + ', ' + protocol:24}{statistics.median(rounds):>8}  {rounds}", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
