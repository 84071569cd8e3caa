#!/usr/bin/env python3
"""./dev demo: everything at work on this machine. A Prometheus scrapes itself, a node of Forebay and the machine (by the
node exporter) and writes to the node, which delivers to a ClickHouse; where to look is printed.

Usage: tests/demo/demo.py [--seconds S] [--dir FOLDER]
Runs until Ctrl-C, or for so many seconds. Then Prometheus stops writing, the node delivers what it has, and every row is
accounted for: exit status 0 when ClickHouse has what the node accepted, each once. The folder goes, unless --dir names
one. The ports are free ones. Ages are short, so that something is seen at once: rows are in ClickHouse after 15 s.
"""
import argparse
import contextlib
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"))

from clickhouse import ClickHouse, have_clickhouse  # noqa: E402
from forebay_harness import Forebay  # noqa: E402
from processes import TOOLS, Process, Prometheus, free_port, program  # noqa: E402

CONFIG = {"generation": {"max_age": "5s"}, "batch": {"max_age": "10s"}}
SCRAPE_INTERVAL = "2s"
EVERY_SECONDS = 10
# Debian's Prometheus looks for its pages where its package would put them.
PAGES = TOOLS[0].parent / "share" / "prometheus" / "web"


def say(text=""):
    print(text, flush=True)


class NodeExporter(Process):
    def __init__(self, folder):
        super().__init__("node-exporter", folder)
        self.address = f"127.0.0.1:{free_port()}"

    def start(self):
        self.spawn([program("prometheus-node-exporter"), f"--web.listen-address={self.address}"])
        self.wait_ready(f"http://{self.address}/metrics")
        return self


class Demo:
    """The four programs, started in the order in which they need each other."""

    def __init__(self, folder, stack):
        self.server = stack.enter_context(ClickHouse(folder / "clickhouse").start())
        sink = {"clickhouse": {"dsn": self.server.dsn("Metrics")}}
        self.node = stack.enter_context(
            Forebay(folder / "forebay", {**CONFIG, "databases": [{"name": "Metrics", "sinks": [sink]}]}).start())
        self.machine = stack.enter_context(NodeExporter(folder / "node-exporter").start())
        self.prometheus = stack.enter_context(Prometheus(
            folder / "prometheus", [self.node.write_url],
            {"forebay": [self.node.admin_address], "machine": [self.machine.address]}, SCRAPE_INTERVAL,
            arguments=[f"--web.local-assets={PAGES}"] if PAGES.exists() else []).start())

    def where(self):
        load = "sum(rate(forebay_receive_received_samples_total[1m]))"
        say(f"""
Forebay      {self.node.admin_url}/status           what it does
             {self.node.admin_url}/metrics          its own metrics
             {self.node.write_url}     remote write: send your own
Prometheus   {self.prometheus.url}/classic/graph?g0.expr={load.replace(" ", "+")}&g0.tab=0
ClickHouse   curl '{self.server.url}/?database=Metrics' --data 'SELECT Timestamp, Labels, Value FROM NodeLoad1 ORDER BY Timestamp DESC LIMIT 5'
Logs         {self.node.folder.parent}/*/*.log

Ctrl-C ends all of it.
""")

    def rows_in_clickhouse(self):
        # System tables know only parts, and older servers not their rows without a look.
        names = self.server.tables("Metrics")
        union = " UNION ALL ".join(f"SELECT count() AS n FROM Metrics.{name}" for name in names)
        return len(names), self.server.number(f"SELECT sum(n) FROM ({union})") if names else 0

    def line(self):
        for process in (self.server, self.node, self.machine, self.prometheus):
            process.expect_running()
        tables, rows = self.rows_in_clickhouse()
        samples = self.node.metric("forebay_receive_samples_total")
        say(f"{time.strftime('%H:%M:%S')}  {samples:9.0f} samples accepted  {rows:9} rows of {tables} tables in ClickHouse")

    def account(self):
        """Whether ClickHouse has what was accepted, once nobody sends any more."""
        self.prometheus.terminate()
        self.node.flush()
        sums = {state: self.node.metric("forebay_conservation_rows", side="out", state=state)
                for state in ("uploaded", "pending", "refused", "quarantined", "dead_lettered")}
        _, rows = self.rows_in_clickhouse()
        accepted = self.node.metric("forebay_conservation_rows", side="in") - sums["refused"] - self.node.metric(
            "forebay_conservation_rows", side="out", state="deduplicated") - self.node.metric(
            "forebay_conservation_rows", side="out", state="dropped")
        exact = rows == accepted == sums["uploaded"] and sums["pending"] == 0
        say(f"{accepted:.0f} rows accepted, {rows} in ClickHouse, {sums['refused']:.0f} refused: "
            f"{'exact' if exact else 'NOT exact, ' + str(sums)}")
        return exact


def run(options, folder):
    with contextlib.ExitStack() as stack:
        say("starting ClickHouse, Forebay, the node exporter and Prometheus")
        demo = Demo(folder, stack)
        demo.where()
        end = time.monotonic() + options.seconds if options.seconds else float("inf")
        try:
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(EVERY_SECONDS, left))
                demo.line()
        except KeyboardInterrupt:
            say("ending")
        return 0 if demo.account() else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0, help="end after so long; 0: at Ctrl-C")
    parser.add_argument("--dir", type=pathlib.Path, help="folder of all files, kept")
    options = parser.parse_args()
    if not have_clickhouse():
        sys.exit("demo: no ClickHouse: ./dev setup unpacks it, on x86-64")
    Process.own_group = True  # at Ctrl-C the node has to deliver first
    # Ended as by Ctrl-C: whoever stops it with a signal gets no processes left behind.
    # By both signals: a shell starts what is in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            folder = options.dir or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forebay-demo-")))
            return run(options, folder.resolve())
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
