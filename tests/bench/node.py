#!/usr/bin/env python3
"""The cost of one node: CPU per sample from receive to sealed segment and including the upload, memory, bytes.

Usage: tests/bench/node.py [--series N] [--tables N] [--rounds N] [--generations N] [--durability sync] [--json]
FOREBAY_BIN names the binary (build/release/forebay). A generation gets `rounds` samples of every series, is then sealed
(POST /-/flush?upload=false) and counted; the first one, in which all series are new, is reported apart. CPU is that of
the process, from /proc/PID/stat, sender not included. A run counts only if rows in the files = accepted samples.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_rss(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024


def tree_bytes(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())


def count_rows(folder):
    """Rows of all CSV files, header lines left out. The rows of this load hold no line feeds."""
    rows = 0
    for path in pathlib.Path(folder).rglob("*.csv.gz"):
        inflate = zlib.decompressobj(31)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                rows += inflate.decompress(chunk).count(b"\n")
        rows += inflate.flush().count(b"\n") - 1
    return rows


class Node:
    def __init__(self, binary, folder, durability):
        self.folder = pathlib.Path(folder)
        self.log = open(self.folder / "serve.log", "wb")
        settings = {
            "storage.dir": self.folder / "data",
            "storage.max_disk": "100GiB",
            "durability": durability,
            "listen.ingest": "127.0.0.1:0",
            "listen.admin": "127.0.0.1:0",
            "generation.max_age": "1h",
            "batch.max_age": "1h",
            "databases.0.sinks.0.file.root": self.folder / "out",
        }
        command = [binary, "serve"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        # The daemon refuses FOREBAY_* variables that it does not know.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FOREBAY_")}
        self.process = subprocess.Popen(command, stderr=self.log, env=environment)
        self.pid = self.process.pid
        ports = {}
        for _ in range(200):
            text = (self.folder / "serve.log").read_text()
            ports = dict(re.findall(r"msg=listening name=(\w+) address=(\S+)", text))
            if len(ports) == 2:
                break
            time.sleep(0.05)
        if len(ports) != 2:
            sys.exit(f"the node did not start:\n{text}")
        self.ingest, self.admin = ports["ingest"], ports["admin"]

    def flush(self, upload):
        url = f"http://{self.admin}/-/flush?upload={'true' if upload else 'false'}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=600) as answer:
            assert json.load(answer)["ok"]

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


def load(binary, node, options):
    samples = options.series * options.rounds
    command = [binary, "load", "--url", f"http://{node.ingest}/api/v1/write", "--series", str(options.series),
               "--tables", str(options.tables), "--labels", str(options.labels), "--samples", str(samples),
               "--connections", str(options.connections), "--protocol", options.protocol, "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return samples, report


def measure(options):
    binary = os.environ.get("FOREBAY_BIN", str(ROOT / "build/release/forebay"))
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        node = Node(binary, folder, options.durability)
        begin = cpu_seconds(node.pid)
        accepted, _ = load(binary, node, options)
        node.flush(upload=False)
        first = (cpu_seconds(node.pid) - begin) / accepted
        begin, sealed, elapsed = cpu_seconds(node.pid), 0, 0.0
        received_only = 0.0
        for _ in range(options.generations):
            before = cpu_seconds(node.pid)
            started = time.monotonic()
            samples, _ = load(binary, node, options)
            elapsed += time.monotonic() - started
            received_only += cpu_seconds(node.pid) - before
            node.flush(upload=False)
            sealed += samples
        to_segment = cpu_seconds(node.pid) - begin
        journal = node.metric("forebay_wal_journal_written_bytes_total")
        segments = node.metric("forebay_wal_sealed_bytes_total")
        total = accepted + sealed
        begin = cpu_seconds(node.pid)
        node.flush(upload=True)
        upload = (cpu_seconds(node.pid) - begin) / total
        rss = peak_rss(node.pid)
        output = tree_bytes(node.folder / "out")
        node.stop()
        rows = count_rows(node.folder / "out")
        if rows != total:
            sys.exit(f"the account does not hold: {total} samples accepted, {rows} rows in files")
    to_segment_ns = to_segment / sealed * 1e9
    return {
        "payload": {"series": options.series, "tables": options.tables, "labels": options.labels,
                    "samples_per_series_and_generation": options.rounds, "protocol": options.protocol,
                    "connections": options.connections},
        "durability": options.durability,
        "samples": total,
        "rows_in_files": rows,
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
        "machine": {"cpu": next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                                 if line.startswith("model name")), platform.machine()),
                    "cores": os.cpu_count(), "kernel": platform.release()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8, help="samples per series and generation")
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--protocol", default="1.0")
    parser.add_argument("--durability", default="sync")
    parser.add_argument("--dir", default=None, help="where the scratch folder goes")
    print(json.dumps(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
