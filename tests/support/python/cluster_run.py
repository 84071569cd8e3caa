"""Rounds of trouble for several nodes and the lines between them, under load, with one account of every sample.

A round is one set of nodes and one account. Senders write to each node all the while; nodes are killed at random moments
and at named points, ended cleanly, stopped; lines are cut on one side or both, lose packets, become slow, late and
unordered; members leave the records of DNS and come back. From time to time and at the end everything is healed, the
senders pause, and the nodes are drained: the rows in the union of their files must be the acknowledged ones, each once, and
the rows of each node's own account must add up. The same seed gives the same choices.
"""
import dataclasses
import pathlib
import random
import subprocess
import time

import chaos_run
import conservation
import failpoints
from cluster import NAMES, TRANSFER, Cluster, Load, stop_for
from dnsmasq import DOMAIN, SERVICE, Dnsmasq
from drained import check_leftovers
from forebay_harness import Forebay, merge

# A peer is left alone for longer than rows wait for their upload: a row that is wrongly taken for not given is soon doubled.
CONFIG = merge(chaos_run.CONFIG, {"generation": {"max_age": "100ms"}, "batch": {"max_age": "500ms"},
                                  "cluster": {"transfer": {"unhealthy_for": "700ms"}}})
# Of every line, both ways: calls take so long that kills fall into them.
DELAY_MS = 20
SETTLE_EVERY = 50
READY_SECONDS = chaos_run.READY_SECONDS

KILLS_ONLY = {"kill": 1}
NODE_TROUBLE = {"kill": 12, "kill two": 2, "failpoint": 5, "terminate": 2, "pause": 2}
LINE_TROUBLE = {"cut": 4, "cut one way": 4, "loss": 3, "slow": 3, "disorder": 2, "members": 3}
EVERYTHING = {**NODE_TROUBLE, **LINE_TROUBLE}


@dataclasses.dataclass
class Totals(chaos_run.Totals):
    transferred: int = 0  # rows, by the metrics of processes that lived to be asked
    unknown: int = 0  # times that a segment was sent whole and not answered, of the same
    killed: int = 0

    def kills(self):
        return self.killed

    def verdict(self):
        return f"{self.transferred} rows to peers, {self.unknown} segments in doubt for a time\n" + f"{self.killed} kills, {self.acknowledged} acknowledged, {self.lost} lost, {self.duplicated} doubled"


class Round:
    """network: of netns.py, entered, with hosts named NAMES; Loopback has no trouble of lines. delay_ms: None: by the seed."""

    def __init__(self, folder, seed, totals, network, kinds=None, config=None, mean_ms=300, members_by_dns=True,
                 delay_ms=None):
        self.folder = pathlib.Path(folder)
        self.chance = random.Random(seed)
        self.totals = totals
        self.network = network
        self.mean = mean_ms / 1000
        self.kinds = dict(kinds or EVERYTHING)
        self.dns = None
        if network.reason:
            self.drop(LINE_TROUBLE)
        elif members_by_dns and "members" in self.kinds:
            self.dns = self.make_dns()
        else:
            self.drop(["members"])
        if not failpoints.compiled_in():
            self.drop(["failpoint"])
        self.delay_ms = self.chance.choice([0, DELAY_MS]) if delay_ms is None else delay_ms
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cluster = Cluster(self.make_node, merge(merge(CONFIG, config or {}), self.discovery()), start=False,
                               network=network, journal=self.folder / "account.journal")
        if self.dns:
            for node in self.cluster:
                node.prefix = node.prefix + self.own_resolver()
        self.healed_at = None  # time at which the trouble of the lines ends

    def drop(self, kinds):
        for kind in kinds:
            self.kinds.pop(kind, None)

    def make_node(self, config, name, start):
        assert not start
        return Forebay(self.folder / name, config)

    # ---- discovery

    def make_dns(self):
        hosts = {f"{name}.{DOMAIN}": self.network.hosts[name].address for name in NAMES}
        return Dnsmasq(self.folder / "dns", 53, self.network.client_address, hosts)

    def discovery(self):
        if not self.dns:
            return {}
        return {"cluster": {"discovery": "dns", "members": [], "dns": {
            "service": SERVICE, "servers": f"{self.network.client_address}:53", "interval": "200ms", "timeout": "300ms"}}}

    def own_resolver(self):
        """Names of peers are asked for at the rig's server too, which needs a resolv.conf of its own."""
        path = self.folder / "resolv.conf"
        path.write_text(f"nameserver {self.network.client_address}\noptions timeout:1 attempts:2\n")
        return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(path)]

    def serve(self, names):
        self.dns.serve([(f"{name}.{DOMAIN}", TRANSFER) for name in names])

    # ---- the round

    def run(self, kills, deadline=None):
        """Until processes were killed so often, or the time (of time.monotonic) has come."""
        try:
            if self.dns:
                self.serve(NAMES)
            self.cluster.start(READY_SECONDS)
            self.heal()
            while kills > 0 and not chaos_run.past(deadline):
                share = min(kills, SETTLE_EVERY)
                self.run_share(share, deadline)
                kills -= share
        finally:
            self.end()

    def end(self):
        for node in self.cluster:
            node.stop()
        if self.dns:
            self.dns.stop_if_running()
        self.network.heal()
        self.cluster.account.close()
        self.cluster.account.look(next(iter(self.cluster)))
        self.totals.add(self.cluster.account)

    def run_share(self, kills, deadline):
        end = self.totals.killed + kills
        with Load(self.cluster, seed=self.chance.randrange(1 << 20), profile=None, tables=9, bad=0.02):
            while self.totals.killed < end and not chaos_run.past(deadline):
                self.heal_when_due()
                kind = self.chance.choices(list(self.kinds), list(self.kinds.values()))[0]
                getattr(self, kind.replace(" ", "_"))()
                self.totals.ends[kind] = self.totals.ends.get(kind, 0) + 1
                self.start_dead()
            self.heal()
            self.cluster.wait_ready(READY_SECONDS)
        self.settle()

    def settle(self):
        self.totals.transferred += int(self.cluster.metric("forebay_transfer_sent_rows_total"))
        self.totals.unknown += int(self.cluster.metric("forebay_transfer_sent_segments_total", outcome="undecided"))
        self.cluster.drain(120)
        assert self.cluster.metric("forebay_transfer_gave_up_rows_total") == 0, "a transfer was given up"
        for node in self.cluster:
            rows = conservation.check(node)
            assert all(states["pending"] == 0 for states in rows.values()), f"{node.name}: flushed, and rows are pending: {rows}"
            check_leftovers(node)
        self.totals.passed += 1

    def start_dead(self):
        """Nobody waits for them: some are killed again before they are ready."""
        for node in self.cluster:
            if not node.running:
                assert node.process.poll() in (0, -9), f"exit status {node.process.poll()}\n{node.tail()}"
                node.start(wait=False)
                self.totals.passed += 1
        self.cluster.account.look(next(iter(self.cluster)))

    def some(self):
        return self.chance.choice(list(self.cluster))

    # ---- trouble of nodes

    def kill(self):
        time.sleep(min(0.05 + self.chance.expovariate(1 / self.mean), 1.5))
        self.some().kill9()
        self.totals.killed += 1

    def kill_two(self):
        time.sleep(self.chance.uniform(0, self.mean))
        for node in self.chance.sample(list(self.cluster), 2):
            node.kill9()
            self.totals.killed += 1

    def failpoint(self):
        node, point = self.some(), self.chance.choice(failpoints.of_nodes())
        node.kill9()
        self.totals.killed += 1
        node.env["FOREBAY_FAILPOINT"] = f"{point}:{self.chance.randrange(1, 6)}"
        node.start(wait=False)
        try:
            if point.startswith(("shutdown", "drain")):
                node.wait_listening(READY_SECONDS)  # from then on it knows the signal
                time.sleep(self.chance.uniform(0, self.mean))
                node.process.terminate()
            status = node.wait_exit(chaos_run.FAILPOINT_SECONDS)
            assert status in (0, -9), f"{point}: exit status {status}\n{node.tail()}"
        except subprocess.TimeoutExpired:
            node.kill9()  # nothing came by
        self.totals.killed += 1
        del node.env["FOREBAY_FAILPOINT"]

    def terminate(self):
        node = self.some()
        node.wait_listening(READY_SECONDS)
        time.sleep(self.chance.uniform(0, self.mean))
        status = node.terminate()
        assert status == 0, f"SIGTERM: exit status {status}\n{node.tail()}"

    def pause(self):
        stop_for(self.some(), self.chance.choice([0.05, 0.5, 3.0]), time.sleep)

    # ---- trouble of lines: it stays while other things happen

    def cut(self):
        self.network.partition(self.some_name())
        self.heal_later()

    def cut_one_way(self):
        source, target = self.chance.sample(NAMES, 2)
        self.network.block(source, target)
        self.heal_later()

    def loss(self):
        self.network.lose(self.some_name(), 10)
        self.heal_later()

    def slow(self):
        self.network.slow(self.some_name(), 1000)
        self.heal_later()

    def disorder(self):
        name = self.some_name()
        if name not in self.network.wires:  # they are late already
            self.network.disturb(name, delay_ms=5, jitter_ms=self.chance.choice([5, 40]), duplicate=5,
                                 seed=self.chance.randrange(1 << 20))
        self.heal_later()

    def members(self):
        self.serve(self.chance.sample(NAMES, self.chance.randrange(1, len(NAMES) + 1)))
        self.heal_later()

    def some_name(self):
        return self.chance.choice(NAMES)

    def heal_later(self):
        self.healed_at = time.monotonic() + self.chance.uniform(0.5, 4)

    def heal_when_due(self):
        if self.healed_at is not None and time.monotonic() > self.healed_at:
            self.heal()

    def heal(self):
        self.healed_at = None
        self.network.heal()
        if self.delay_ms and not self.network.reason:
            for name in NAMES:
                self.network.disturb(name, delay_ms=self.delay_ms)
        if self.dns:
            self.serve(NAMES)
