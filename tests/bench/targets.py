#!/usr/bin/env python3
"""What Forebay promises of its cost, measured: figure, target, what was seen.

Usage: tests/bench/targets.py [--rounds N] [--only TEXT] [--dir DIR] [--out FILE]
FOREBAY_BIN names the binary (build/release/forebay). Each figure is the median of `rounds` nodes. The payload is that of
tests/bench/node.py: 100000 series of 200 tables, 10 labels, 2000 series a request, 8 samples per series and generation,
durability sync; the rest says what differs. CPU is that of the process from /proc/PID/stat. Where rows are delivered, a run
counts only if they are as many as the samples that were accepted. How Forebay stands against other programs: peers.py.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

import node as one_node
from bench_node import BINARY, ROOT, Node, commit, cpu_seconds, file_system, load, machine, peak_rss

MIB = 1 << 20


def measured(options, *arguments):
    return one_node.measure(one_node.parse([*map(str, arguments), *(["--dir", options.dir] if options.dir else [])]))


def sealed_ns(options, *arguments):
    return measured(options, *arguments)["ns_per_sample"]["receive_to_sealed_segment"]


def rss_now(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024


def reference(options):
    seen = measured(options)
    bytes_per_sample = seen["bytes_per_sample"]
    return {"receive to sealed, ns": seen["ns_per_sample"]["receive_to_sealed_segment"],
            "with the upload, ns": seen["ns_per_sample"]["all"],
            "journal + segment, bytes a sample": bytes_per_sample["journal"] + bytes_per_sample["segments"],
            "uploaded, bytes a sample": bytes_per_sample["output"]}


def once_a_generation(options):
    seen = measured(options, "--rounds", 1, "--generations", 16)["ns_per_sample"]
    return {"1 sample a generation, receive to sealed, ns": seen["receive_to_sealed_segment"],
            "1 sample a generation, with the upload, ns": seen["all"]}


def ratio(name, *arguments):
    """Against the reference of the same round, so that a slow moment of the machine tells nothing."""
    def run(options):
        base = sealed_ns(options)
        return {name: round(sealed_ns(options, *arguments) / base, 2)}
    return run


def four_samples(options):
    return {"4 samples per series and request, ns": sealed_ns(options, "--samples-per-series", 4)}


def million_series(options):
    base = sealed_ns(options)
    seen = measured(options, "--series", 1_000_000, "--generations", 2)
    return {"1000000 series, x": round(seen["ns_per_sample"]["receive_to_sealed_segment"] / base, 2),
            "1000000 series, peak RSS, MiB": seen["peak_rss_mib"]}


def io_threads(options):
    one = sealed_ns(options, "--set", "http.io_threads=1")
    return {"two io threads, x of one": round(sealed_ns(options, "--set", "http.io_threads=2") / one, 2)}


def idle(options):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, "sync")
        time.sleep(2)
        rss = rss_now(node.pid)
        load(node, "--series", 100_000, "--tables", 5000, "--samples", 100_000)
        node.flush(upload=False)
        time.sleep(3)
        before = cpu_seconds(node.pid)
        time.sleep(20)
        used = cpu_seconds(node.pid) - before
        node.stop()
    return {"idle, RSS, MiB": round(rss / MIB), "idle with 5000 tables, % of a core": round(used / 20 * 100, 2)}


def saturation(options):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, "sync", {"generation.max_age": "15s"})
        shape = ["--series", 100_000, "--tables", 200]
        load(node, *shape, "--samples", 100_000)
        full = load(node, *shape, "--duration", "20s")
        rss = peak_rss(node.pid)
        half = load(node, *shape, "--duration", "20s", "--rate", int(full["samples_per_second"] / 2))
        node.stop()
    return {"saturation, peak RSS, MiB": round(rss / MIB), "half load, p50, ms": half["latency_ms"]["p50"],
            "half load, p99, ms": half["latency_ms"]["p99"]}


def seal(options):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, "sync")
        shape = ["--series", 100_000, "--tables", 5000]
        load(node, *shape, "--samples", 800_000)
        sender = threading.Thread(target=load, args=(node, *shape, "--rate", 200_000, "--duration", "8s"))
        sender.start()
        time.sleep(2)
        begun = time.monotonic()
        node.flush(upload=False)
        took = time.monotonic() - begun
        sender.join()
        node.stop()
    return {"seal of 5000 tables while receiving, s": round(took, 2)}


def restart(options):
    """Four samples of each series: a minute at one scrape in 15 s."""
    shape = ["--series", 100_000, "--tables", 200, "--samples", 400_000]
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, "sync")
        costs = []
        for number in range(4):
            if number == 3:
                node.kill()
                node = Node(folder, "sync")
            before = cpu_seconds(node.pid) if number < 3 else 0
            load(node, *shape)
            node.flush(upload=False)
            costs.append(cpu_seconds(node.pid) - before)
        node.stop()
    return {"first minute after a start, x": round(costs[3] / statistics.mean(costs[1:3]), 2)}


def backlog(options, size=10 * 10**9):
    """Segments of one generation, again and again under other ids by hard links, until they are so many bytes."""
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(folder, "sync")
        load(node, "--series", 100_000, "--tables", 200, "--samples", 8_000_000)
        node.flush(upload=False)
        node.stop()
        originals = list((node.folder / "data" / "segments").glob("*.wal"))
        total = sum(path.stat().st_size for path in originals)
        copies, number = len(originals), 0
        while total < size:
            number += 1
            for path in originals:
                key, _, written = path.stem.rpartition("_")
                os.link(path, path.with_name(f"{key}_{int(written, 16) - number:x}.wal"))
                total += path.stat().st_size
                copies += 1
        # No sink: the start alone is measured.
        begun = time.monotonic()
        node = Node(folder, "sync")
        while True:
            try:
                with urllib.request.urlopen(f"http://{node.admin}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                pass
            time.sleep(0.01)
        took = time.monotonic() - begun
        node.kill()
    return {f"start with 10 GB ({copies} segments), s": round(took, 2)}


# What is measured, the targets of its figures.
MEASURES = [
    (reference, {"receive to sealed, ns": 450, "with the upload, ns": 700, "journal + segment, bytes a sample": 60,
                 "uploaded, bytes a sample": 15}),
    (once_a_generation, {"1 sample a generation, receive to sealed, ns": 650, "1 sample a generation, with the upload, ns": 1000}),
    (ratio("remote write 2.0, x", "--protocol", "2.0"), {"remote write 2.0, x": 1.0}),
    (four_samples, {"4 samples per series and request, ns": 200}),
    (ratio("5000 tables, x", "--tables", 5000, "--no-upload"), {"5000 tables, x": 1.25}),
    (ratio("20000 tables, x", "--tables", 20_000, "--generations", 4, "--no-upload"), {"20000 tables, x": 1.6}),
    (ratio("churn 10 % a minute, x", "--churn", 10), {"churn 10 % a minute, x": 1.5}),
    (million_series, {"1000000 series, x": 1.5, "1000000 series, peak RSS, MiB": 1024}),
    (io_threads, {"two io threads, x of one": 1.1}),
    (saturation, {"saturation, peak RSS, MiB": 512, "half load, p50, ms": 5, "half load, p99, ms": 20}),
    (idle, {"idle, RSS, MiB": 40, "idle with 5000 tables, % of a core": 1}),
    (seal, {"seal of 5000 tables while receiving, s": 2}),
    (restart, {"first minute after a start, x": 2}),
    (backlog, {"start with 10 GB": 2}),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="figures with this in their name")
    parser.add_argument("--dir", default=None, help="where the scratch folders go")
    parser.add_argument("--out", default=str(ROOT / "tests/bench/results/targets.json"))
    options = parser.parse_args()
    folder = options.dir or tempfile.gettempdir()
    print(f"{BINARY}, {machine()}, {file_system(folder)}\n{'':48}{'target':>8}{'seen':>9}  all rounds", flush=True)
    rows = []
    for measure, targets in MEASURES:
        if not any(options.only in name for name in targets):
            continue
        rounds = [measure(options) for _ in range(options.rounds)]
        for name in rounds[0]:
            target = next(value for key, value in targets.items() if name.startswith(key))
            values = [one[name] for one in rounds]
            seen = round(statistics.median(values), 2)
            rows.append({"figure": name, "target": target, "seen": seen, "rounds": values})
            print(f"{name:48}{target:>8}{seen:>9}{'  ' if seen <= target else ' !'}{values}", flush=True)
    if options.only:
        return
    report = {"commit": commit(), "machine": machine(), "file_system": file_system(folder), "figures": rows}
    pathlib.Path(options.out).write_text(json.dumps(report, indent=1) + "\n")
    print(f"{options.out}; {sum(row['seen'] > row['target'] for row in rows)} of {len(rows)} above their targets", file=sys.stderr)


if __name__ == "__main__":
    main()
