"""Hosts in network namespaces of their own, on one bridge, whose lines can be cut, slowed and spoiled.

    clients and the test itself --+
    node-0 -----------------------+-- bridge (a namespace too)
    node-1 -----------------------+

Nothing of it is seen from outside: every interface lies in one of its namespaces. The test enters that of the clients, so
that its own connections come from there; processes that it starts inherit it, those of a host get Host.prefix before
their command. Faults are packets dropped by nftables, a rate by a token bucket, and delay, disorder and doubles by
wire.py. Names hold the pid and start time of their maker: what a killed test left is swept at the next start.
Where namespaces are not allowed, open_network() gives Loopback and prints why; faults are then none.
"""
import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from processes import wait_for

PREFIX = "forebay-test"
SUBNET = "10.88.0"
CLIENT_NUMBER = 100
FIRST_NODE_NUMBER = 11
NAMES = pathlib.Path("/run/netns")
CLONE_NEWNET = 0x40000000
PROGRAMS = ("ip", "nft", "tc", "ethtool", "nsenter")


def run(*command, text=None):
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def start_time(pid):
    """Ticks after boot at which a process began; None when there is none. With the pid it names a process for good."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text[text.rindex(")") + 2:].split()[19])


def enter(namespace_file):
    """The calling thread, and those that it starts from then on, are in that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace_file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def remove_namespace(name):
    """With the processes that still run in it, which the maker started."""
    for pid in run("ip", "netns", "pids", name).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    run("ip", "netns", "delete", name)


def sweep():
    """Removes what tests left that were killed. Returns the names."""
    swept = []
    for path in sorted(NAMES.glob(f"{PREFIX}-*")) if NAMES.exists() else []:
        match = re.fullmatch(rf"{PREFIX}-(\d+)\.(\d+)-.*", path.name)
        if match and start_time(int(match[1])) != int(match[2]):
            remove_namespace(path.name)
            swept.append(path.name)
    return swept


def impossible():
    """Why there can be no namespaces; empty when there can."""
    if os.environ.get("FOREBAY_TEST_LOOPBACK"):
        return "FOREBAY_TEST_LOOPBACK is set"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        with Network(["probe"]) as probe:
            probe.block("clients", "probe")
    except OSError as reason:
        return str(reason)
    return ""


def open_network(names):
    reason = impossible()
    if not reason:
        return Network(names)
    print(f"on loopback, without faults of lines: {reason}", file=sys.stderr)
    return Loopback(names, reason)


class Host:
    def __init__(self, name, address, prefix=()):
        self.name = name
        self.address = address
        self.prefix = list(prefix)


class Loopback:
    """The same hosts as addresses 127.0.0.x of this machine."""

    def __init__(self, names, reason):
        self.reason = reason
        self.hosts = {name: Host(name, f"127.0.{os.getpid() % 200 + 1}.{FIRST_NODE_NUMBER + number}")
                      for number, name in enumerate(names)}
        self.client_address = f"127.0.{os.getpid() % 200 + 1}.{CLIENT_NUMBER}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def heal(self):
        pass


class Network:
    made = 0

    def __init__(self, names):
        self.reason = ""
        Network.made += 1
        self.base = f"{PREFIX}-{os.getpid()}.{start_time(os.getpid())}-{Network.made}"
        self.switch = f"{self.base}-switch"
        self.namespaces = []
        self.hosts = {}
        for number, name in enumerate(["clients", *names]):
            address = f"{SUBNET}.{FIRST_NODE_NUMBER + number - 1 if number else CLIENT_NUMBER}"
            self.hosts[name] = Host(name, address, ["nsenter", f"--net={NAMES / self.namespace(name)}", "--"])
        self.client_address = self.hosts["clients"].address
        self.ports = {name: number for number, name in enumerate(self.hosts)}
        self.before = None
        self.rules = {}  # host -> rules of its input
        self.shaped = set()
        self.wires = {}  # host -> process

    def namespace(self, name):
        return f"{self.base}-{name}"

    # ---- making and removing

    def __enter__(self):
        sweep()
        self.before = open("/proc/thread-self/ns/net", "rb")
        try:
            self.add_namespace(self.switch)
            run("ip", "-n", self.switch, "link", "add", "name", "sw0", "type", "bridge", "stp_state", "0")
            run("ip", "-n", self.switch, "link", "set", "sw0", "up")
            for name in self.hosts:
                self.add_host(name)
            with open(NAMES / self.namespace("clients"), "rb") as clients:
                enter(clients)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        enter(self.before)
        self.before.close()
        for wire in self.wires.values():
            wire.kill()
            wire.wait()
        self.wires = {}
        while self.namespaces:
            remove_namespace(self.namespaces.pop())

    def add_namespace(self, name):
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def add_host(self, name):
        namespace, port = self.namespace(name), f"p{self.ports[name]}"
        self.add_namespace(namespace)
        run("ip", "-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "-n", self.switch, "link", "set", port, "master", "sw0", "up")
        run("ip", "-n", namespace, "address", "add", f"{self.hosts[name].address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run(*self.hosts[name].prefix, "nft", "-f", "-",
            text="table inet faults { chain input { type filter hook input priority 0; policy accept; }; }\n")

    # ---- faults. Each adds to those that are there; heal() ends all.

    def block(self, source, target):
        """Nothing gets from source to target; answers to what target sends come from source too, so they are lost."""
        self.add_rule(target, f"ip saddr {self.hosts[source].address} counter drop")

    def partition(self, *names):
        """These on one side, all other nodes on the other; clients reach everybody."""
        others = [name for name in self.nodes() if name not in names]
        for one in names:
            for other in others:
                self.block(one, other)
                self.block(other, one)

    def lose(self, name, percent):
        """So many packets from other nodes do not arrive at this one, and at others from it."""
        for other in self.nodes():
            if other != name:
                rule = f"numgen random mod 1000 < {int(percent * 10)} counter drop"
                self.add_rule(name, f"ip saddr {self.hosts[other].address} {rule}")
                self.add_rule(other, f"ip saddr {self.hosts[name].address} {rule}")

    def add_rule(self, host, rule):
        self.rules.setdefault(host, []).append(rule)
        run(*self.hosts[host].prefix, "nft", "add", "rule", "inet", "faults", "input", *rule.split())

    def dropped(self):
        """Packets that the rules of now have dropped."""
        return sum(int(packets) for host in self.rules for packets in re.findall(
            r"counter packets (\d+)", run(*self.hosts[host].prefix, "nft", "list", "chain", "inet", "faults", "input")))

    def slow(self, name, kilobits):
        """What the host sends leaves at this rate."""
        run("tc", "-n", self.namespace(name), "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{kilobits}kbit",
            "burst", "8kb", "latency", "500ms")
        self.shaped.add(name)

    def disturb(self, name, delay_ms=0, jitter_ms=0, duplicate=0, seed=0):
        """Packets to and from the host come later by delay and up to jitter more, so out of order; some percent twice."""
        assert name not in self.wires
        number = self.ports[name]
        # A wire hands on frames as they are: nobody below it computes checksums or cuts what is too long.
        for host in self.hosts.values():
            run(*host.prefix, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        run("ip", "-n", self.switch, "link", "add", f"w{number}", "type", "veth", "peer", "name", f"x{number}")
        run("ip", "-n", self.switch, "link", "set", f"x{number}", "up")
        wire = subprocess.Popen(
            ["nsenter", f"--net={NAMES / self.switch}", "--", sys.executable, "-B", pathlib.Path(__file__).with_name("wire.py"),
             f"p{number}", f"x{number}", "--delay-ms", str(delay_ms), "--jitter-ms", str(jitter_ms),
             "--duplicate", str(duplicate), "--seed", str(seed)], stdout=subprocess.PIPE)
        self.wires[name] = wire
        assert wire.stdout.readline() == b"ready\n"
        run("ip", "-n", self.switch, "link", "set", f"p{number}", "nomaster")
        run("ip", "-n", self.switch, "link", "set", f"w{number}", "master", "sw0", "up")

    def unblock(self):
        """No packet is dropped any more."""
        for host in self.rules:
            run(*self.hosts[host].prefix, "nft", "flush", "chain", "inet", "faults", "input")
        self.rules = {}

    def heal(self):
        self.unblock()
        for name in self.shaped:
            run("tc", "-n", self.namespace(name), "qdisc", "delete", "dev", "eth0", "root")
        self.shaped = set()
        for name, wire in self.wires.items():
            number = self.ports[name]
            run("ip", "-n", self.switch, "link", "delete", f"w{number}")
            run("ip", "-n", self.switch, "link", "set", f"p{number}", "master", "sw0")
            wire.kill()
            wire.wait()
            wire.stdout.close()
        self.wires = {}

    def nodes(self):
        return [name for name in self.hosts if name != "clients"]

    def wait_reachable(self, name):
        """Until a packet gets there and back: the bridge has learnt where the host is."""
        wait_for(f"{name} on the network", lambda: subprocess.run(
            ["ping", "-c1", "-W1", self.hosts[name].address], capture_output=True, check=False).returncode == 0)
