"""Rounds of trouble for one node under load, with the account of every sample at the end.

A round is one storage directory, one account and a number of kills -9, at random moments and at named failpoints; between
them SIGTERM, SIGSTOP and a full volume. Senders of all retry profiles go on all the while. After
each start: the node is ready in time and the files hold nothing that is wrong. From time to time and at the end the
senders pause, the node is drained, and everything of drained.py must hold. The same seed gives the same choices.
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

import failpoints
from accounting import Account, Senders
from drained import settle
from forebay_harness import Forebay, merge

# Small limits, so that rotation, sealing, batches and uploads happen all the time.
CONFIG = {
    "generation": {"max_age": "300ms", "max_memory": "8MiB"},
    "batch": {"min_bytes": "100KB", "max_bytes": "1MB", "max_age": "700ms"},
    "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
    # Writes are taken again from twice of it, which the small volume must be able to give.
    "storage": {"reserve": "4MiB"},
}
READY_SECONDS = 30  # a sanitizer's build on a busy machine
FAILPOINT_SECONDS = 2.5
SETTLE_EVERY = 25
TMPFS_SIZE = "96m"

KILLS = ("kill", "failpoint", "kill while full")
KILLS_ONLY = {"kill": 1}
EVERYTHING = {"kill": 12, "failpoint": 5, "terminate": 2, "pause": 2, "full": 1}


@dataclasses.dataclass
class Totals:
    """Of all rounds."""

    passed: int = 0  # starts and drains that were checked
    failed: int = 0  # rounds that found something
    ends: dict = dataclasses.field(default_factory=dict)  # event -> times
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    lost: int = 0
    duplicated: int = 0
    refused_and_delivered: int = 0

    def add(self, account):
        result = account.oracle.compare(account, complete=True)
        self.sent += result.sent
        self.acknowledged += result.acknowledged
        self.refused += result.refused
        self.lost += len(result.lost)
        self.duplicated += len(result.duplicated)
        self.refused_and_delivered += len(result.refused_and_delivered)

    def kills(self):
        return sum(self.ends.get(kind, 0) for kind in KILLS)

    def __str__(self):
        ends = ", ".join(f"{count} {what}" for what, count in sorted(self.ends.items()))
        return (f"{self.kills()} kills ({ends})\n"
                f"samples: {self.sent} sent, {self.acknowledged} acknowledged, {self.refused} refused; {self.lost} lost, "
                f"{self.duplicated} duplicated, {self.refused_and_delivered} refused and yet delivered\n"
                f"{self.passed} passed, {self.failed} failed")


class Round:
    """kinds: events by weight. tmpfs: storage.dir on a small volume, which "full" needs."""

    def __init__(self, folder, seed, totals, kinds=None, config=None, tmpfs=False, mean_ms=300, senders=3):
        self.chance = random.Random(seed)
        self.totals = totals
        self.kinds = dict(kinds or EVERYTHING)
        if not failpoints.compiled_in():
            self.kinds.pop("failpoint", None)
        if not tmpfs:
            self.kinds.pop("full", None)
        self.mean = mean_ms / 1000
        self.sender_count = senders
        self.node = Forebay(folder, merge(CONFIG, config or {}))
        self.volume = Tmpfs(self.node.data, TMPFS_SIZE) if tmpfs else contextlib.nullcontext()
        self.account = Account(pathlib.Path(folder) / "account.journal")

    def run(self, kills, deadline=None):
        """Until the process was killed so often, or the time (of time.monotonic) has come."""
        with self.volume:
            try:
                self.node.start(timeout=READY_SECONDS)
                while kills > 0 and not past(deadline):
                    share = min(kills, SETTLE_EVERY)
                    self.run_share(share, deadline)
                    kills -= share
            finally:
                self.node.stop()
                self.account.close()
                if self.account.oracle is not None:
                    self.totals.add(self.account)

    def run_share(self, kills, deadline):
        end = self.totals.kills() + kills
        with Senders(self.node, self.account, count=self.sender_count, seed=self.chance.randrange(1 << 30),
                     profile=None, bad=0.05):
            while self.totals.kills() < end and not past(deadline):
                kind = self.chance.choices(list(self.kinds), list(self.kinds.values()))[0]
                getattr(self, kind)()
                self.totals.ends[kind] = self.totals.ends.get(kind, 0) + 1
                if not self.node.running:
                    self.start()
        settle(self.node, self.account)
        self.totals.passed += 1

    def start(self):
        """Starts, waits until it is ready, and looks at the files."""
        self.node.start(timeout=READY_SECONDS)
        self.account.look(self.node)
        self.totals.passed += 1

    def kill(self):
        time.sleep(min(0.05 + self.chance.expovariate(1 / self.mean), 1.5))
        self.node.kill9()

    def failpoint(self):
        point = self.chance.choice(failpoints.names())
        self.node.kill9()
        self.node.env["FOREBAY_FAILPOINT"] = f"{point}:{self.chance.randrange(1, 6)}"
        self.node.start(wait=False)
        try:
            if point.startswith("shutdown"):
                self.node.wait_listening(READY_SECONDS)  # from then on it knows the signal
                time.sleep(self.chance.uniform(0, self.mean))
                self.node.process.send_signal(signal.SIGTERM)
            status = self.node.wait_exit(FAILPOINT_SECONDS)
            assert status in (0, -signal.SIGKILL), f"{point}: exit status {status}\n{self.node.tail()}"
        except subprocess.TimeoutExpired:
            self.node.kill9()  # nothing came by
        del self.node.env["FOREBAY_FAILPOINT"]

    def terminate(self):
        time.sleep(self.chance.uniform(0, self.mean))
        status = self.node.terminate()
        assert status == 0, f"SIGTERM: exit status {status}\n{self.node.tail()}"

    def pause(self):
        self.node.process.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.05, 0.5))
        self.node.process.send_signal(signal.SIGCONT)

    def full(self):
        """The volume is full for a while, half of the times with a kill in that state."""
        with self.volume.filled():
            time.sleep(self.chance.uniform(0.1, 1.0))
            if self.chance.random() < 0.5:
                self.node.kill9()
                self.totals.ends["kill while full"] = self.totals.ends.get("kill while full", 0) + 1
                self.node.start(wait=False)
                self.node.wait_listening(READY_SECONDS)
                time.sleep(self.chance.uniform(0.1, 0.5))
        self.node.wait_ready(f"{self.node.admin_url}/readyz", READY_SECONDS)


def past(deadline):
    return deadline is not None and time.monotonic() > deadline


class Tmpfs:
    """A small volume of its own while the block runs; needs the right to mount."""

    def __init__(self, path, size):
        self.path = pathlib.Path(path)
        self.size = size

    @staticmethod
    def possible():
        """Why there can be none; empty when there can."""
        if os.geteuid() != 0:
            return "only root may mount"
        probe = pathlib.Path(tempfile.mkdtemp(prefix="forebay-mount-"))
        try:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", probe], capture_output=True, text=True,
                                  check=False)
            if done.returncode != 0:
                return f"mount: {done.stderr.strip()}"
            subprocess.run(["umount", probe], check=True)
            return ""
        finally:
            probe.rmdir()

    def __enter__(self):
        self.path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.path], check=True)

    @contextlib.contextmanager
    def filled(self):
        """Nothing is free."""
        ballast = self.path / "ballast"
        with open(ballast, "wb") as file:
            for size in (1 << 20, 1 << 12):
                while shutil.disk_usage(self.path).free >= size:
                    try:
                        file.write(bytes(size))
                        file.flush()
                    except OSError:
                        break
        try:
            yield
        finally:
            ballast.unlink()
