#!/usr/bin/env python3
"""Forebay, vmagent and Prometheus as receivers of the same remote write, side by side: CPU per sample, memory, disk, latency.

Usage: tests/bench/peers.py [--rounds N] [--seconds S] [--programs NAME,...] [--matrix | --payload NAME,...] [--out FILE]
FOREBAY_BIN names the binary (build/release/forebay). In turns, `rounds` times: a program is started, learns the series, is
loaded as fast as it takes by `forebay load`, then in an open loop at 50 % and 80 % of what it took, where latencies count
from when a request was due. CPU is that of the process from /proc/PID/stat, per accepted sample, until it has nothing left to
do. Who is durable how:

  forebay sync      an answer is fsynced; sealed into segments, file sink after the measurement
  forebay write     an answer is with the kernel; the same
  vmagent queue     an answer is in memory; blocks go to its queue on disk, since nobody listens at the remote
  vmagent forward   an answer is in memory; blocks go to a receiver that throws them away (nginx, 204)
  prometheus agent  an answer is in its log, with the kernel

A run counts only if the program's own count of samples is what was answered with success; for Forebay, the rows in the files.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))

from bench_node import BINARY, ROOT, Node, check_account, count_rows, cpu_seconds, machine, peak_rss, tree_bytes  # noqa: E402
from forebay_harness import metric_sum, parse_metrics  # noqa: E402
from nginx import Server  # noqa: E402
from processes import Process, free_port, program  # noqa: E402

THROW_AWAY = """
    client_max_body_size 0;
    client_body_buffer_size 32m;
    server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}
"""
REFERENCE = {"series": 100_000, "tables": 200, "labels": 10, "samples-per-series": 1, "series-per-request": 2000, "connections": 4}
PAYLOADS = {
    "reference": {},
    "7 labels": {"labels": 7}, "12 labels": {"labels": 12}, "20 labels": {"labels": 20},
    "4 samples": {"samples-per-series": 4}, "20 samples": {"samples-per-series": 20},
    "10 tables": {"tables": 10}, "300 tables": {"tables": 300}, "5000 tables": {"tables": 5000}, "20000 tables": {"tables": 20000},
    "churn 1 %": {"churn": 1}, "churn 10 %": {"churn": 10},
    "remote write 2.0": {"protocol": "2.0"},
    "100 series a request": {"series-per-request": 100}, "500 series a request": {"series-per-request": 500},
    "10000 series a request": {"series-per-request": 10_000},
    "1 connection": {"connections": 1}, "16 connections": {"connections": 16}, "256 connections": {"connections": 256},
    "1000000 series": {"series": 1_000_000},
}


class Forebay:
    """One of our nodes."""

    def __init__(self, folder, durability):
        self.node = Node(folder, durability)
        self.pid, self.folder = self.node.pid, self.node.folder
        self.url = f"http://{self.node.ingest}/api/v1/write"

    def settle(self):
        self.node.flush(upload=False)

    def disk(self):
        return tree_bytes(self.folder / "data")

    def end(self, accepted):
        self.node.flush(upload=True)
        self.node.stop()
        check_account(accepted, count_rows(self.folder / "out"))


class Peer(Process):
    """Another program; `metric` of its /metrics counts samples."""

    def __init__(self, folder, name, command, metric, data, path="/api/v1/write"):
        super().__init__(name, folder)
        self.port = free_port()
        self.count, self.data = metric, self.folder / data
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = self.base + path
        self.spawn([word.format(port=self.port, folder=self.folder) for word in command])
        self.wait_ready(f"{self.base}/metrics")

    def samples(self):
        with urllib.request.urlopen(f"{self.base}/metrics", timeout=30) as answer:
            return metric_sum(parse_metrics(answer.read().decode()), self.count)

    def settle(self):
        """Until it spends less than a tenth of a core."""
        before, quiet = cpu_seconds(self.pid), 0
        while quiet < 3:
            time.sleep(0.5)
            now = cpu_seconds(self.pid)
            quiet = quiet + 1 if now - before < 0.05 else 0
            before = now

    def disk(self):
        return tree_bytes(self.data)

    def end(self, accepted):
        counted = self.samples()
        self.stop()
        if counted != accepted:
            sys.exit(f"{self.name}: {accepted} samples accepted, it counts {counted:.0f}")


def vmagent(folder, remote):
    return Peer(folder, "vmagent", [program("vmagent"), "-httpListenAddr=127.0.0.1:{port}", "-remoteWrite.tmpDataPath={folder}/queue",
                                    f"-remoteWrite.url={remote}"], "vmagent_rows_inserted_total", "queue")


def prometheus(folder):
    (pathlib.Path(folder) / "agent.yml").write_text("{}")
    return Peer(folder, "prometheus", [program("prometheus"), "--enable-feature=agent", "--web.enable-remote-write-receiver",
                                       "--config.file={folder}/agent.yml", "--web.listen-address=127.0.0.1:{port}",
                                       "--storage.agent.path={folder}/wal"], "prometheus_agent_samples_appended_total", "wal")


PROGRAMS = {
    "forebay sync": lambda folder, sink: Forebay(folder, "sync"),
    "forebay write": lambda folder, sink: Forebay(folder, "write"),
    "vmagent queue": lambda folder, sink: vmagent(folder, f"http://127.0.0.1:{free_port()}/api/v1/write"),
    "vmagent forward": lambda folder, sink: vmagent(folder, f"http://127.0.0.1:{sink.port}/api/v1/write"),
    "prometheus agent": lambda folder, sink: prometheus(folder),
}
NO_V2 = {"vmagent queue", "vmagent forward", "prometheus agent"}  # of Debian 12


def load(url, payload, *more):
    shape = [word for name, value in payload.items() for word in (f"--{name}", value)]
    command = [BINARY, "load", "--url", url, *shape, "--json", *more]
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout)


def run(name, payload, options, sink):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        target = PROGRAMS[name](folder, sink)
        accepted = load(target.url, payload, "--samples", payload["series"] * payload["samples-per-series"])["samples"]["accepted"]
        target.settle()
        figures = {}
        for phase, share in (("", None), ("50", 0.5), ("80", 0.8)):
            pace = [] if share is None else ["--rate", int(figures["samples_per_second"] * share)]
            before, disk = cpu_seconds(target.pid), target.disk()
            report = load(target.url, payload, *pace, "--duration", f"{options.seconds}s")
            target.settle()
            done = report["samples"]["accepted"]
            accepted += done
            if share is None:
                figures["samples_per_second"] = round(report["samples_per_second"])
                figures["cpu_ns_per_sample"] = round((cpu_seconds(target.pid) - before) / done * 1e9)
                figures["disk_bytes_per_sample"] = round((target.disk() - disk) / done, 1)
                figures["wire_bytes_per_sample"] = round(report["body_bytes"] / done, 1)
                figures["closed_p50_ms"], figures["closed_p99_ms"] = report["latency_ms"]["p50"], report["latency_ms"]["p99"]
            else:
                figures[f"p50_ms_at_{phase}"], figures[f"p99_ms_at_{phase}"] = report["latency_ms"]["p50"], report["latency_ms"]["p99"]
        figures["peak_rss_mib"] = round(peak_rss(target.pid) / (1 << 20))
        target.end(accepted)
        return figures


def compare(payload_name, options, sink):
    payload = {**REFERENCE, **PAYLOADS[payload_name]}
    names = [name for name in options.programs if not (payload.get("protocol") == "2.0" and name in NO_V2)]
    rounds = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names:
            rounds[name].append(run(name, payload, options, sink))
            print(f"{payload_name}, round {number + 1}, {name}: {rounds[name][-1]}", file=sys.stderr, flush=True)
    table = {name: {figure: round(statistics.median(one[figure] for one in runs), 2) for figure in runs[0]} for name, runs in rounds.items()}
    print(f"\n{payload_name}: {payload}")
    columns = list(next(iter(table.values())))
    print(f"{'':18}" + "".join(f"{column:>23}" for column in columns))
    for name, figures in table.items():
        print(f"{name:18}" + "".join(f"{figures[column]:>23}" for column in columns))
    if "forebay sync" in table:
        own = table["forebay sync"]["cpu_ns_per_sample"]
        ratios = {name: round(own / figures["cpu_ns_per_sample"], 2) for name, figures in table.items() if not name.startswith("forebay")}
        print(f"CPU of forebay sync against: {ratios}", flush=True)
    return {"payload": payload, "median": table, "rounds": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    parser.add_argument("--programs", type=lambda text: text.split(","), default=list(PROGRAMS), help=", ".join(PROGRAMS))
    parser.add_argument("--payload", type=lambda text: text.split(","), default=["reference"], help=", ".join(PAYLOADS))
    parser.add_argument("--matrix", action="store_true", help="all payloads")
    parser.add_argument("--out", default=str(ROOT / "tests/bench/results/peers.json"))
    parser.add_argument("--dir", default=None, help="where the scratch folder goes")
    options = parser.parse_args()
    for kind, known in (("programs", PROGRAMS), ("payload", PAYLOADS)):
        if unknown := set(getattr(options, kind)) - set(known):
            sys.exit(f"peers: no {kind} {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        sink = Server("throw-away", pathlib.Path(folder), "127.0.0.1", free_port())
        sink.run(THROW_AWAY.format(port=sink.port))
        try:
            results = {name: compare(name, options, sink) for name in (PAYLOADS if options.matrix else options.payload)}
        finally:
            sink.stop()
    version = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout.strip()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    pathlib.Path(options.out).write_text(json.dumps({
        "date": datetime.date.today().isoformat(), "machine": machine(), "version": version, "commit": commit,
        "seconds": options.seconds, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
