"""A node under measurement: started with a file sink, its CPU from /proc/PID/stat, its rows counted in the files."""
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("FOREBAY_BIN", str(ROOT / "build/release/forebay"))
SIDE_TABLES = {"MetricMetadata", "Exemplars", "NativeHistograms"}  # beside the samples
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
    """Rows of samples in all CSV files, header lines left out. The rows of this load hold no line feeds."""
    rows = 0
    for path in pathlib.Path(folder).rglob("*.csv.gz"):
        if SIDE_TABLES & set(path.parts):
            continue
        inflate = zlib.decompressobj(31)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                rows += inflate.decompress(chunk).count(b"\n")
        rows += inflate.flush().count(b"\n") - 1
    return rows


class Node:
    def __init__(self, folder, durability, more=()):
        """more: settings beside those below, {path: value}. In a folder of a node before: that node again."""
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
            **dict(more),
        }
        command = [BINARY, "serve"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        # The daemon refuses FOREBAY_* variables that it does not know.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FOREBAY_")}
        self.process = subprocess.Popen(command, stderr=self.log, env=environment)
        self.pid = self.process.pid
        ports, wanted = {}, 3 if "listen.otlp_grpc" in settings else 2
        for _ in range(200):
            text = (self.folder / "serve.log").read_text()
            ports = dict(re.findall(r"msg=listening name=(\w+) address=(\S+)", text))
            if len(ports) == wanted:
                break
            time.sleep(0.05)
        if len(ports) != wanted:
            sys.exit(f"the node did not start:\n{text}")
        self.ingest, self.admin, self.otlp_grpc = ports["ingest"], ports["admin"], ports.get("otlp_grpc")

    def flush(self, upload):
        url = f"http://{self.admin}/-/flush?upload={'true' if upload else 'false'}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=600) as answer:
            assert json.load(answer)["ok"]

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))

    def status(self):
        with urllib.request.urlopen(f"http://{self.admin}/api/v1/status", timeout=30) as answer:
            return json.load(answer)

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


def load(node, *arguments, url=None):
    """Runs `forebay load` against the node. Returns its report. url: of another protocol."""
    command = [BINARY, "load", "--url", url or f"http://{node.ingest}/api/v1/write", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def check_account(accepted, rows):
    if rows != accepted:
        sys.exit(f"the account does not hold: {accepted} samples accepted, {rows} rows in files")


def file_system(folder):
    """Type of the folder's volume, with what is unusual of it."""
    folder, best = pathlib.Path(folder).resolve(), ("/", "unknown", "")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        if folder.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind, device)
    journal = pathlib.Path(f"/sys/fs/ext4/{pathlib.Path(best[2]).name}/journal_task")
    if journal.exists() and "none" in journal.read_text():
        return best[1] + " without a journal"
    return best[1]


def commit():
    """Of this tree; empty where it is no clone."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
               platform.machine())
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}
