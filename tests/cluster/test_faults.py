"""One trouble at a time, in the middle of a load: what it does to the ways of the rows, and that it costs none.

Each test ends with the account of every row: acknowledged = rows in the union of the nodes' files, and with each node's own.
"""
import random
import shutil
import time

import conservation
import failpoints
import pytest
from accounting import BALANCED, PROMETHEUS
from cluster import NAMES, TRANSFER, Cluster, Load
from dnsmasq import DOMAIN, SERVICE, Dnsmasq
from forebay_harness import wait_for
from nginx import Nginx

TABLES = 9
# A peer is left alone for longer than rows wait for their upload: a row that is wrongly taken for not given is soon doubled.
CONFIG = {"batch": {"max_age": "700ms"}, "cluster": {"transfer": {"unhealthy_for": "2s"}}}
CALL_SECONDS = 2  # cluster.transfer.timeout of cluster.py


@pytest.fixture
def cluster(make_forebay, network):
    return Cluster(make_forebay, CONFIG, network=network)


def load(cluster, **options):
    return Load(cluster, tables=TABLES, **{"profile": PROMETHEUS, **options})


def finish(cluster):
    """After the senders have ended: all is healed, drained, and accounted for."""
    if cluster.network:
        cluster.network.heal()
    text = cluster.drain()
    for node in cluster:
        conservation.check(node)
    assert cluster.metric("forebay_transfer_gave_up_rows_total") == 0
    return text


def wait_transferred(cluster, rows, timeout=30):
    """Until peers have taken so many rows more."""
    target = cluster.metric("forebay_transfer_sent_rows_total") + rows
    wait_for("transfers", lambda: cluster.metric("forebay_transfer_sent_rows_total") >= target, timeout)


def wait_failures(node, timeout=20):
    before = node.metric("forebay_transfer_failures_total")
    wait_for(f"failed calls of {node.name}", lambda: node.metric("forebay_transfer_failures_total") > before, timeout)


def test_behind_a_load_balancer_each_table_ends_at_one_owner(make_forebay, network, tmp_path):
    cluster = Cluster(make_forebay, {"batch": {"max_age": "2s"}}, network=network)
    hosts = network.hosts
    prefix = hosts["clients"].prefix if "clients" in hosts else []
    with Nginx(tmp_path / "nginx", cluster, network.client_address, prefix).start() as nginx:
        with load(cluster, profile=BALANCED, targets=[nginx] * 3):
            time.sleep(5)
    cluster.wait_settled()
    received = [node.metric("forebay_receive_received_samples_total") for node in cluster]
    assert min(received) > 0.8 * max(received), f"the load is not spread: {received}"
    tables = cluster.tables()
    assert len(tables) == TABLES
    assert all(len(nodes) == 1 for nodes in tables.values()), tables
    given = sum(states["transferred"] for node in cluster for states in conservation.check(node).values())
    taken = sum(states["from_peers"] for node in cluster for states in conservation.check(node).values())
    assert given == taken > 0
    assert cluster.metric("forebay_transfer_failures_total") == 0
    cluster.account.verify(cluster["node-0"])


def test_a_node_cut_off_from_its_peers_goes_on_alone(cluster, lines):
    alone = cluster["node-2"]
    with load(cluster):
        wait_transferred(cluster, 300)
        lines.partition("node-2")
        wait_failures(alone)
        uploaded = alone.metric("forebay_upload_rows_total")
        wait_for("uploads of the node that is alone", lambda: alone.metric("forebay_upload_rows_total") > uploaded + 500)
        lines.heal()
        before = alone.metric("forebay_transfer_received_rows_total")
        wait_for("transfers to it", lambda: alone.metric("forebay_transfer_received_rows_total") > before, 30)
    finish(cluster)


@pytest.mark.parametrize("source, target", [("node-0", "node-1"), ("node-1", "node-0")])
def test_a_line_that_works_one_way_only_leaves_nothing_open(cluster, lines, source, target):
    with load(cluster):
        wait_transferred(cluster, 300)
        # Late, so that at any time some call has been sent whole and is not answered.
        lines.disturb("node-1", delay_ms=150)
        caller, called, chance = cluster["node-0"], cluster["node-1"], random.Random()
        for _ in range(10):
            taken = called.metric("forebay_transfer_received_rows_total")
            wait_for("calls", lambda: called.metric("forebay_transfer_received_rows_total") > taken)
            time.sleep(chance.uniform(0, 0.6))  # anywhere in the next one
            # The calls of one arrive and its answers do not, or the other way round.
            lines.block(source, target)
            time.sleep(CALL_SECONDS + 0.3)
            lines.unblock()
            if caller.metric("forebay_transfer_sent_segments_total", outcome="undecided"):
                break
        else:
            pytest.fail("no call was cut off behind its last byte: this run shows nothing")
        lines.heal()
        wait_transferred(cluster, 300)
    finish(cluster)


def test_over_a_bad_line_rows_still_get_to_their_owners(cluster, lines):
    with load(cluster):
        for name in NAMES:
            lines.lose(name, 5)  # both ways and at both ends: 10 percent between any two
        wait_transferred(cluster, 2000, 60)
        assert lines.dropped() > 0
    finish(cluster)


def test_over_a_slow_line_rows_are_delivered_here_or_there(cluster, lines):
    with load(cluster, pause=0):
        lines.slow("node-0", 1000)
        lines.slow("node-1", 1000)
        cluster.account.wait_acknowledged(6000, 30)
    finish(cluster)


def test_over_a_line_that_is_late_and_out_of_order_rows_still_get_to_their_owners(cluster, lines):
    with load(cluster):
        lines.disturb("node-1", delay_ms=20, jitter_ms=30, duplicate=10)
        taken = cluster["node-1"].metric("forebay_transfer_received_rows_total")
        wait_for("transfers over it", lambda: cluster["node-1"].metric("forebay_transfer_received_rows_total") > taken + 500, 60)
    finish(cluster)


@pytest.mark.skipif(not failpoints.compiled_in(), reason="the binary's clock cannot be set wrong: use the dev build")
def test_clocks_hours_apart_cost_and_double_nothing(make_forebay, network):
    cluster = Cluster(make_forebay, CONFIG, network=network, start=False)
    hour = 3600 * 1000
    cluster["node-0"].env["FOREBAY_TEST_CLOCK_MS"] = str(-hour)
    cluster["node-1"].env["FOREBAY_TEST_CLOCK_MS"] = str(hour)
    cluster.start()
    with load(cluster):
        wait_transferred(cluster, 500)
        for name in NAMES:
            cluster[name].kill9()
            time.sleep(0.3)
            cluster[name].start()
        wait_transferred(cluster, 500)
        # The clock of one is set right by two hours at once.
        late = cluster["node-1"]
        late.kill9()
        late.env["FOREBAY_TEST_CLOCK_MS"] = str(-hour)
        late.start()
        wait_transferred(cluster, 500)
    finish(cluster)
    assert all(len(nodes) >= 1 for nodes in cluster.tables().values())


def test_members_that_come_and_go_take_and_leave_their_tables(make_forebay, lines, tmp_path):
    if shutil.which("dnsmasq") is None:
        pytest.skip("no dnsmasq")
    hosts = {f"{name}.{DOMAIN}": lines.hosts[name].address for name in NAMES}
    dns = Dnsmasq(tmp_path / "dns", 53, lines.client_address, hosts)
    cluster = Cluster(make_forebay, {"batch": {"max_age": "2s"}, "cluster": {"discovery": "dns", "members": [], "dns": {
        "service": SERVICE, "servers": f"{lines.client_address}:53", "interval": "200ms", "timeout": "300ms"}}},
        network=lines, start=False)
    (tmp_path / "resolv.conf").write_text(f"nameserver {lines.client_address}\n")
    for node in cluster:
        node.prefix = [*node.prefix, "unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
                       str(tmp_path / "resolv.conf")]

    def members(*names):
        dns.serve([(f"{name}.{DOMAIN}", TRANSFER) for name in names])
        wait_for("the members", lambda: all(node.metric("forebay_cluster_members", state="ready") == len(names)
                                            for node in cluster))

    def taken(name):
        return cluster[name].metric("forebay_transfer_received_rows_total")

    try:
        dns.serve([(f"{name}.{DOMAIN}", TRANSFER) for name in NAMES[:2]])
        cluster.start()
        with load(cluster):
            members(*NAMES[:2])
            wait_transferred(cluster, 500)
            # It takes clients and owns nothing yet: what it gets goes to the others.
            assert taken("node-2") == 0
            assert cluster["node-2"].metric("forebay_transfer_sent_rows_total") > 0
            members(*NAMES)
            wait_for("tables of the new one", lambda: taken("node-2") > 300)
            members("node-1", "node-2")
            time.sleep(1)  # calls under way
            before = taken("node-0")
            wait_transferred(cluster, 500)
            assert taken("node-0") == before
            members(*NAMES)
            wait_for("tables of the one that is back", lambda: taken("node-0") > before)
        finish(cluster)
    finally:
        dns.stop_if_running()
