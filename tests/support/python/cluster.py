"""Three real nodes on loopback that know each other by a list, with one account of all their rows."""

from accounting import Account
from forebay_harness import merge, wait_for
from oracle import Oracle
from processes import free_port

NAMES = ("node-0", "node-1", "node-2")


class Union(Oracle):
    """The rows of several nodes' sinks together."""

    def __init__(self, roots):
        super().__init__(roots[0])
        self.roots = roots

    def finished(self):
        return sorted(path for root in self.roots for path in root.glob("*/*/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"))


class Cluster:
    """make: the fixture make_forebay. Thresholds are small, so that all ways are gone within seconds."""

    def __init__(self, make, config=None, names=NAMES, start=True):
        self.ports = {name: free_port() for name in names}
        members = [{"name": name, "address": f"127.0.0.1:{port}"} for name, port in self.ports.items()]
        base = {
            "generation": {"max_age": "200ms"},
            "batch": {"max_age": "3s"},
            "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
            "cluster": {"discovery": "static", "members": members,
                        "transfer": {"timeout": "2s", "unhealthy_for": "300ms"}},
        }
        self.nodes = {}
        for name, port in self.ports.items():
            mine = {"cluster": {"member": name}, "listen": {"transfer": f"127.0.0.1:{port}"}}
            self.nodes[name] = make(merge(merge(base, config or {}), mine), name=name, start=start)
        self.account = Account()
        self.account.oracle = Union([node.out for node in self])

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
