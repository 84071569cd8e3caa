#!/usr/bin/env python3
"""Forebay, vmagent and Prometheus as receivers of the same remote write, side by side: CPU per sample, memory, disk, latency.

Usage: tests/bench/peers.py [--rounds N] [--seconds S] [--programs NAME,...] [--matrix | --payload NAME,...] [--out FILE]
FOREBAY_BIN names the binary (build/release/forebay). In turns, `rounds` times: a program is started, learns the series, is
loaded as fast as it takes by `forebay load`, then in an open loop at 50 % and 80 % of what it took, where latencies count
from when a request was due. Forebay seals once it has 8 samples of every series (the payload says, where it differs). CPU is
that of the process from /proc/PID/stat, per accepted sample, until it has nothing left to do. Who is durable how:

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
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))

from authority import Authority  # noqa: E402
from bench_node import BINARY, ROOT, Node, check_account, commit, count_rows, cpu_seconds, file_system, machine, peak_rss, tree_bytes  # noqa: E402
from forebay_harness import metric_sum, parse_metrics  # noqa: E402
from nginx import Server  # noqa: E402
from processes import Process, free_port, program, wait_for  # noqa: E402

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
    "1 sample a generation": {"generation": 1}, "30 samples a generation": {"generation": 30},
    "TLS": {"tls": True},
}
# Not for `forebay load`: samples per series until Forebay seals; whether connections are encrypted.
GENERATION, TLS = "generation", "tls"


class Forebay:
    """One of our nodes."""

    def __init__(self, folder, durability, tls):
        files = {"listen.tls.cert_file": tls.certificate, "listen.tls.key_file": tls.key} if tls else {}
        self.node = Node(folder, durability, files)
        self.pid, self.folder = self.node.pid, self.node.folder
        self.url = f"http{'s' if tls else ''}://{self.node.ingest}/api/v1/write"

    def seal(self):
        self.node.flush(upload=False)

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

    def __init__(self, folder, name, command, metric, data, tls=None):
        super().__init__(name, folder)
        self.port = free_port()
        self.count, self.data = metric, self.folder / data
        self.base = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.context = tls.context if tls else None
        self.url = f"{self.base}/api/v1/write"
        self.spawn([word.format(port=self.port, folder=self.folder) for word in command])
        wait_for(f"{name} at {self.base}", self.answers)

    def answers(self):
        self.expect_running()
        try:
            self.samples()
        except OSError:
            return False
        return True

    def samples(self):
        with urllib.request.urlopen(f"{self.base}/metrics", timeout=30, context=self.context) as answer:
            return metric_sum(parse_metrics(answer.read().decode()), self.count)

    def seal(self):
        """It has its own pace."""

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


def vmagent(folder, remote, tls):
    encrypted = ["-tls", f"-tlsCertFile={tls.certificate}", f"-tlsKeyFile={tls.key}"] if tls else []
    return Peer(folder, "vmagent", [program("vmagent"), "-httpListenAddr=127.0.0.1:{port}", "-remoteWrite.tmpDataPath={folder}/queue",
                                    f"-remoteWrite.url={remote}", *encrypted], "vmagent_rows_inserted_total", "queue", tls)


def prometheus(folder, tls):
    (pathlib.Path(folder) / "agent.yml").write_text("{}")
    web = pathlib.Path(folder) / "web.yml"
    web.write_text(f"tls_server_config: {{cert_file: {tls.certificate}, key_file: {tls.key}}}" if tls else "{}")
    return Peer(folder, "prometheus", [program("prometheus"), "--enable-feature=agent", "--web.enable-remote-write-receiver",
                                       "--config.file={folder}/agent.yml", f"--web.config.file={web}",
                                       "--web.listen-address=127.0.0.1:{port}", "--storage.agent.path={folder}/wal"],
                "prometheus_agent_samples_appended_total", "wal", tls)


PROGRAMS = {
    "forebay sync": lambda folder, sink, tls: Forebay(folder, "sync", tls),
    "forebay write": lambda folder, sink, tls: Forebay(folder, "write", tls),
    "vmagent queue": lambda folder, sink, tls: vmagent(folder, f"http://127.0.0.1:{free_port()}/api/v1/write", tls),
    "vmagent forward": lambda folder, sink, tls: vmagent(folder, f"http://127.0.0.1:{sink.port}/api/v1/write", tls),
    "prometheus agent": lambda folder, sink, tls: prometheus(folder, tls),
}
NO_V2 = {"vmagent queue", "vmagent forward", "prometheus agent"}  # of Debian 12


class Certificate:
    """For all programs."""

    def __init__(self, folder):
        authority = Authority(folder)
        self.certificate, self.key = authority.issue("server")
        self.authority, self.context = authority.file, authority.client_context()


def load(url, payload, *more):
    shape = [word for name, value in payload.items() for word in (f"--{name}", value)]
    command = [BINARY, "load", "--url", url, *shape, "--json", *more]
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout)


def saturate(target, payload, series_samples, seconds):
    """Loads generation after generation, for so many seconds. Returns the sum of the reports and the last one."""
    accepted, took, body_bytes, latencies = 0, 0.0, 0, []
    while took < seconds:
        report = load(target.url, payload, "--samples", payload["series"] * series_samples)
        target.seal()
        accepted += report["samples"]["accepted"]
        took += report["samples"]["accepted"] / report["samples_per_second"]
        body_bytes += report["body_bytes"]
        latencies.append(report["latency_ms"])
    median = {key: statistics.median(one[key] for one in latencies) for key in ("p50", "p99")}
    return accepted, accepted / took, body_bytes, median


def run(name, payload, options, sink):
    payload = dict(payload)
    series_samples = payload.pop(GENERATION, 8)
    encrypted = payload.pop(TLS, False)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        tls = Certificate(pathlib.Path(folder) / "authority") if encrypted else None
        if tls:
            payload["ca"] = tls.authority
        target = PROGRAMS[name](folder, sink, tls)
        accepted = load(target.url, payload, "--samples", payload["series"] * payload["samples-per-series"])["samples"]["accepted"]
        target.settle()
        before, disk = cpu_seconds(target.pid), target.disk()
        done, pace, body_bytes, latency = saturate(target, payload, max(series_samples, payload["samples-per-series"]), options.seconds)
        target.settle()
        accepted += done
        figures = {
            "samples_per_second": round(pace),
            "cpu_ns_per_sample": round((cpu_seconds(target.pid) - before) / done * 1e9),
            "disk_bytes_per_sample": round((target.disk() - disk) / done, 1),
            "wire_bytes_per_sample": round(body_bytes / done, 1),
            "closed_p50_ms": latency["p50"], "closed_p99_ms": latency["p99"],
        }
        for share in (50, 80):
            report = load(target.url, payload, "--rate", int(pace * share / 100), "--duration", f"{options.seconds}s")
            accepted += report["samples"]["accepted"]
            figures[f"p50_ms_at_{share}"], figures[f"p99_ms_at_{share}"] = report["latency_ms"]["p50"], report["latency_ms"]["p99"]
        target.settle()
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


def compiler():
    cache = (ROOT / "build/release/CMakeCache.txt").read_text()
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.M).group(1)
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    parser.add_argument("--programs", type=lambda text: text.split(","), default=list(PROGRAMS), help=", ".join(PROGRAMS))
    parser.add_argument("--payload", type=lambda text: text.split(","), default=["reference"],
                        help=", ".join(PAYLOADS).replace("%", "%%"))
    parser.add_argument("--matrix", action="store_true", help="all payloads")
    parser.add_argument("--out", default=str(ROOT / "tests/bench/results/peers.json"))
    parser.add_argument("--dir", default=None, help="where the scratch folder goes")
    options = parser.parse_args()
    for kind, known in (("programs", PROGRAMS), ("payload", PAYLOADS)):
        if unknown := set(getattr(options, kind)) - set(known):
            sys.exit(f"peers: no {kind} {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    version = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout.strip()
    report = {"date": datetime.date.today().isoformat(), "machine": machine(), "compiler": compiler(), "version": version, "commit": commit(),
              "file_system": file_system(options.dir or tempfile.gettempdir()), "seconds": options.seconds, "results": {}}
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        sink = Server("throw-away", pathlib.Path(folder), "127.0.0.1", free_port())
        sink.run(THROW_AWAY.format(port=sink.port))
        try:
            for name in PAYLOADS if options.matrix else options.payload:
                report["results"][name] = compare(name, options, sink)
                # After each: a matrix takes hours.
                pathlib.Path(options.out).write_text(json.dumps(report, indent=1) + "\n")
        finally:
            sink.stop()


if __name__ == "__main__":
    main()
