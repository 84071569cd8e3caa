"""Nodes that know each other by a list, with one account of all their rows: on loopback, or in a network of netns.py."""

import os
import signal

from accounting import PROMETHEUS, Account, Senders
from forebay_harness import merge, wait_for
from oracle import Oracle
from processes import free_port

NAMES = ("node-0", "node-1", "node-2")
INGEST, ADMIN, TRANSFER = 9090, 9091, 9092


class Union(Oracle):
    """The rows of several nodes' sinks together."""

    def __init__(self, roots):
        super().__init__(roots[0])
        self.roots = list(roots)

    def finished(self):
        return sorted(path for root in self.roots for path in root.glob("*/*/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"))


class Cluster:
    """make: the fixture make_forebay, or what does the same. Thresholds are small, so that all ways are gone within seconds.

    network: hosts named like the nodes; without one they are on 127.0.0.1. journal: of the account.
    """

    def __init__(self, make, config=None, names=NAMES, start=True, network=None, journal=None):
        self.network = network
        self.listen = {name: self.addresses(name) for name in names}
        base = {
            "generation": {"max_age": "200ms"},
            "batch": {"max_age": "3s"},
            "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
            "drain": {"timeout": "20s", "stop_timeout": "3s"},
            "cluster": {"discovery": "static", "members": self.members(names),
                        "transfer": {"timeout": "2s", "unhealthy_for": "300ms"}},
        }
        self.nodes = {}
        for name, listen in self.listen.items():
            mine = {"cluster": {"member": name}, "listen": listen}
            node = make(merge(merge(base, config or {}), mine), name=name, start=False)
            node.prefix = list(network.hosts[name].prefix) if network else []
            self.nodes[name] = node
        self.account = Account(journal)
        self.account.oracle = Union([node.out for node in self])
        if start:
            self.start()

    def addresses(self, name):
        if self.network:
            host = self.network.hosts[name].address
            return {"ingest": f"{host}:{INGEST}", "admin": f"{host}:{ADMIN}", "transfer": f"{host}:{TRANSFER}"}
        return {"transfer": f"127.0.0.1:{free_port()}"}

    def members(self, names=NAMES):
        return [{"name": name, "address": self.listen[name]["transfer"]} for name in names]

    def start(self, timeout=30.0):
        """All at the same time."""
        for node in self:
            node.start(wait=False)
        self.wait_ready(timeout)

    def wait_ready(self, timeout=30.0):
        for node in self:
            node.wait_listening(timeout)
            node.wait_ready(f"{node.admin_url}/readyz", timeout)

    def __iter__(self):
        return iter(self.nodes.values())

    def __getitem__(self, name):
        return self.nodes[name]

    def metric(self, name, **labels):
        return sum(node.metric(name, **labels) for node in self)

    def tables(self):
        """{table: names of the nodes that uploaded rows of it}."""
        found = {}
        for name, node in self.nodes.items():
            for path in node.out.glob("*/*/[0-9]*"):
                found.setdefault(path.parent.name, set()).add(name)
        return found

    def wait_settled(self, timeout=60):
        """Until each node has delivered all by itself, as its policy says."""
        wait_for("the uploads", lambda: not self.metric("forebay_conservation_rows", state="pending"), timeout)

    def drain(self, timeout=60):
        """Until everything acknowledged is in some node's sink. Returns the account as text."""
        self.settle(timeout)
        return self.account.verify(next(iter(self)))

    def settle(self, timeout=60):
        """Until no node has anything left.

        A flush uploads what lies on a node; what was being given to another one may be there by then: once more.
        """
        def flushed():
            answers = []
            for node in self:
                with node.admin() as client:
                    answers.append(client.post("/-/flush?timeout=5s").status)
            pending = self.metric("forebay_conservation_rows", state="pending")
            return all(status == 200 for status in answers) and not pending

        wait_for("the ends of all recoveries", lambda: self.metric("forebay_wal_recovering") == 0, timeout)
        wait_for("everything to be uploaded", flushed, timeout)


class Load:
    """Senders to every node of a cluster."""

    def __init__(self, cluster, seed=0, profile=PROMETHEUS, pause=0.01, targets=None, **options):
        self.senders = [Senders(node, cluster.account, count=1, seed=seed * 100 + number, profile=profile, pause=pause, **options)
                        for number, node in enumerate(targets or cluster)]

    def __enter__(self):
        for senders in self.senders:
            senders.__enter__()
        return self

    def __exit__(self, *failure):
        for senders in self.senders:
            senders.__exit__(*failure)


def stop_for(node, seconds, sleep):
    """SIGSTOP, and SIGCONT after a time."""
    os.kill(node.pid, signal.SIGSTOP)
    try:
        sleep(seconds)
    finally:
        os.kill(node.pid, signal.SIGCONT)
