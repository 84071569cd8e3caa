"""Real programs under test and beside it: start in a folder, wait until ready, stop by their own pid."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
TOOLS = [ROOT / "build" / "tools" / "usr" / folder for folder in ("bin", "sbin")]


def program(name):
    """Path of a program of tests/packages-tools.txt, as ./dev unpacked it, or of the system's."""
    unpacked = [folder / name for folder in TOOLS if (folder / name).exists()]
    path = str(unpacked[0]) if unpacked else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        raise FileNotFoundError(f"{name} is not there: run ./dev setup")
    return path


def free_port():
    """A port that was free a moment ago, for programs that cannot say which one they took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, predicate, timeout=30.0, interval=0.05):
    """Calls predicate until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(interval)


def http_status(url, timeout=5):
    """Status of a GET, 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Process:
    """One child process with its output in `log_path`; each start appends to it.

    own_group: Ctrl-C of the terminal is not for it, but for the program that started it and ends it.
    """

    own_group = False

    def __init__(self, name, folder):
        self.name = name
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.folder / f"{name}.log"
        self.process = None
        self.log_start = 0  # of the current run, in bytes

    def spawn(self, command, env=None, unset=None):
        """unset: beginning of inherited variables that are left out; env is added to the others."""
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        inherited = {k: v for k, v in os.environ.items() if not (unset and k.startswith(unset))}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env={**inherited, **(env or {})}, start_new_session=self.own_group)

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def log(self):
        """Everything written so far, of all runs."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def run_log(self):
        """What the current run wrote."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[self.log_start:].decode("utf-8", "replace")

    def tail(self, lines=40):
        return "\n".join(self.log.splitlines()[-lines:])

    def expect_running(self):
        if not self.running:
            status = self.process.poll() if self.process else None
            raise AssertionError(f"{self.name} has ended with status {status}:\n{self.tail()}")

    def wait_ready(self, url, timeout=30.0):
        def ready():
            self.expect_running()
            return http_status(url) == 200

        try:
            wait_for(f"{self.name} at {url}", ready, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail()}") from None

    def wait_exit(self, timeout=60.0):
        """The exit status, negative for a signal."""
        return self.process.wait(timeout)

    def terminate(self, timeout=60.0):
        """SIGTERM, then waits. Returns the exit status."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def kill9(self):
        """SIGKILL, then waits until the kernel has cleaned up."""
        if self.running:
            self.process.kill()
        return self.wait_exit()

    def stop(self):
        """Ends it whatever its state, for the end of a test."""
        if not self.running:
            return
        try:
            self.terminate(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill9()

    def cpu_seconds(self):
        """User and system time of the process so far, from /proc."""
        text = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        fields = text[text.rindex(")") + 2:].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Scraper(Process):
    """What Prometheus and vmagent have in common: targets in files, so that they can go without a reload.

    targets: job name to a list of host:port, or to {"targets": [...], "path": "/metrics"}.
    """

    def __init__(self, name, folder, targets, interval):
        super().__init__(name, folder)
        self.targets = {job: one if isinstance(one, dict) else {"targets": one} for job, one in targets.items()}
        self.interval = interval

    def scrape_configs(self):
        return [{"job_name": job, "scrape_interval": self.interval, "scrape_timeout": self.interval,
                 "metrics_path": one.get("path", "/metrics"),
                 "file_sd_configs": [{"files": [str(self.targets_file(job))]}]}
                for job, one in self.targets.items()]

    def targets_file(self, job):
        return self.folder / f"targets-{job}.json"

    def write_targets(self, none=False):
        """Renames into place: a file half written would be an error for the reader."""
        for job, one in self.targets.items():
            temporary = self.folder / f"{job}.tmp"
            temporary.write_text(json.dumps([] if none else [{"targets": one["targets"]}]))
            temporary.rename(self.targets_file(job))

    def stop_scraping(self):
        """Takes the targets away; the scraper notices some seconds later and writes stale markers."""
        self.write_targets(none=True)


class Prometheus(Scraper):
    """Scrapes `targets` (its own port is job "prometheus") and writes to `remote_write` URLs.

    remote_write: URLs, or dicts with `url` and any other keys of Prometheus' remote_write section.
    """

    def __init__(self, folder, remote_write=(), targets=None, interval="1s", features=(), arguments=()):
        self.port = free_port()
        super().__init__("prometheus", folder, {"prometheus": [f"127.0.0.1:{self.port}"], **(targets or {})}, interval)
        self.url = f"http://127.0.0.1:{self.port}"
        self.features = list(features)
        self.arguments = list(arguments)
        # JSON is YAML.
        self.config = {
            "global": {"scrape_interval": interval},
            "scrape_configs": self.scrape_configs(),
            "remote_write": [dict(one) if isinstance(one, dict) else {"url": one} for one in remote_write],
        }

    def start(self):
        self.write_targets()
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps(self.config, indent=1))
        command = [program("prometheus"), f"--config.file={path}", f"--web.listen-address=127.0.0.1:{self.port}",
                   f"--storage.tsdb.path={self.folder / 'tsdb'}", "--log.level=info", *self.arguments]
        command += [f"--enable-feature={','.join(self.features)}"] if self.features else []
        self.spawn(command)
        self.wait_ready(f"{self.url}/-/ready")
        return self

    def api(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return document["data"]

    def raw_samples(self, selector, begin, end):
        """Every stored sample with begin < t <= end (seconds) of a series selector, stale markers left out.

        Returns {labels as a frozenset of pairs, __name__ among them: {timestamp in ms: float}}.
        """
        result = self.api("query", query=f"{selector}[{int((end - begin) * 1000)}ms]", time=f"{end:.3f}")
        return {
            frozenset(series["metric"].items()): {
                round(time_ * 1000): float(value) for time_, value in series.get("values", [])}
            for series in result["result"]
        }

    def metric(self, name, **labels):
        """Sum of one of its own metrics, read from its /metrics page."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            return metric_sum(parse_metrics(answer.read().decode()), name, **labels)


class VmAgent(Scraper):
    """Scrapes `targets` and writes to `remote_write` URLs."""

    def __init__(self, folder, remote_write=(), targets=None, interval="1s", arguments=()):
        super().__init__("vmagent", folder, targets or {}, interval)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.remote_write = list(remote_write)
        self.arguments = list(arguments)
        self.config = {"global": {"scrape_interval": interval}, "scrape_configs": self.scrape_configs()}

    def start(self):
        self.write_targets()
        path = self.folder / "scrape.yml"
        path.write_text(json.dumps(self.config, indent=1))
        self.spawn([program("vmagent"), f"-promscrape.config={path}", f"-httpListenAddr=127.0.0.1:{self.port}",
                    f"-remoteWrite.tmpDataPath={self.folder / 'queue'}", "-remoteWrite.flushInterval=200ms",
                    "-promscrape.fileSDCheckInterval=1s",
                    *[f"-remoteWrite.url={url}" for url in self.remote_write], *self.arguments])
        self.wait_ready(f"{self.url}/health")
        return self

    def metric(self, name, **labels):
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            return metric_sum(parse_metrics(answer.read().decode()), name, **labels)


def parse_metrics(text):
    """Text format 0.0.4 as {(name, ((label, value), ...) sorted): float}. A series twice is an error."""
    result = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, labels, rest = line, [], ""
        brace, blank = line.find("{"), line.find(" ")
        if brace >= 0 and brace < blank:
            name, at = line[:brace], brace + 1
            while line[at] != "}":
                equals = line.index('="', at)
                key, at, value = line[at:equals].lstrip(","), equals + 2, []
                while line[at] != '"':
                    if line[at] == "\\":
                        at += 1
                        value.append({"n": "\n"}.get(line[at], line[at]))
                    else:
                        value.append(line[at])
                    at += 1
                at += 1
                labels.append((key, "".join(value)))
            rest = line[at + 1:]
        else:
            name, rest = line[:blank], line[blank:]
        key = (name, tuple(sorted(labels)))
        assert key not in result, f"the series {key} is there twice"
        result[key] = float(rest.split()[0])
    return result


def metric_sum(metrics, name, **labels):
    """Sum over the series of `name` that have these labels; 0 when there is none."""
    return sum(value for (found, pairs), value in metrics.items()
               if found == name and labels.items() <= dict(pairs).items())
