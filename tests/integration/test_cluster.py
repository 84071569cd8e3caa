"""Three nodes give each other's tables to their owners: no row is lost or there twice, whatever is killed on the way."""
import os
import shutil
import time

import conservation
import failpoints
import pytest
from accounting import PROMETHEUS, Senders
from authority import Authority
from cluster import Cluster, Load, stop_for
from forebay_harness import wait_for

POINTS = [name for name in failpoints.all_names() if name.startswith("transfer.")]


def check_conservation(cluster):
    """Each node's account holds, and what left for peers is what came from peers, when none of them was restarted."""
    taken = given = 0
    for node in cluster:
        rows = conservation.check(node)
        taken += sum(states["from_peers"] for states in rows.values())
        given += sum(states["transferred"] for states in rows.values())
    return given, taken


def issue(folder):
    """A new authority and a certificate of it, as the nodes' files in `folder`."""
    authority = Authority(folder / "fresh")
    certificate, key = authority.issue("node", "DNS:forebay.test")
    for file, name in ((authority.file, "ca.crt"), (certificate, "tls.crt"), (key, "tls.key")):
        os.replace(file, folder / name)
    shutil.rmtree(authority.folder)


def test_certificates_are_read_again_when_they_change(make_forebay, tmp_path):
    issue(tmp_path)
    tls = {"cert_file": str(tmp_path / "tls.crt"), "key_file": str(tmp_path / "tls.key"),
           "ca_file": str(tmp_path / "ca.crt"), "server_name": "forebay.test"}
    cluster = Cluster(make_forebay, {"cluster": {"transfer_tls": tls}})
    with Load(cluster, tables=9):
        wait_for("rows from peers", lambda: all(node.metric("forebay_transfer_received_rows_total") for node in cluster))
        assert cluster.metric("forebay_transfer_failures_total") == 0
        issue(tmp_path)
        # This one knows nothing of the old authority; the others have it in memory.
        late = cluster["node-2"]
        late.restart()
        wait_for("rows from and to the node with the new certificates",
                 lambda: late.metric("forebay_transfer_received_rows_total") and late.metric(
                     "forebay_transfer_sent_rows_total"), 30)
    cluster.drain()


def test_each_table_ends_at_one_owner_and_every_row_once(make_forebay):
    cluster = Cluster(make_forebay)
    with Load(cluster, tables=9):
        time.sleep(4)
    # Not flushed: what is left is uploaded where it belongs, by its age.
    cluster.wait_settled(30)
    tables = cluster.tables()
    assert len(tables) == 9
    assert all(len(nodes) == 1 for nodes in tables.values()), tables
    assert len({name for nodes in tables.values() for name in nodes}) > 1, "one node owns all of nine tables"
    account = cluster.account.verify(cluster["node-0"])
    given, taken = check_conservation(cluster)
    assert given == taken > 0, (given, taken, account)
    # A node's log names no trouble, and nothing came a second time.
    assert cluster.metric("forebay_transfer_failures_total") == 0
    assert cluster.metric("forebay_transfer_received_segments_total", outcome="duplicate") == 0
    uploaded = cluster.metric("forebay_upload_rows_total")
    assert uploaded == cluster.account.oracle.rows


def test_without_transfers_every_node_uploads_what_it_received(make_forebay):
    cluster = Cluster(make_forebay, {"cluster": {"transfer": {"enabled": False}}})
    with Load(cluster, tables=4):
        cluster.account.wait_acknowledged(2000, 20)
    cluster.drain()
    assert all(len(nodes) == 3 for nodes in cluster.tables().values()), cluster.tables()
    assert check_conservation(cluster) == (0, 0)


def test_what_came_from_a_peer_goes_no_further(make_forebay):
    # node-0 gives everything to a node that it takes for the owner, which takes another one for it.
    cluster = Cluster(make_forebay, {"batch": {"max_age": "2s"}}, start=False)
    members = {member["name"]: member for member in cluster.members()}
    views = {"node-0": ["node-1"], "node-1": ["node-2"], "node-2": ["node-2"]}
    for name, seen in views.items():
        cluster[name].config["cluster"]["members"] = [members[other] for other in seen]
        cluster[name].start()
    with Senders(cluster["node-0"], cluster.account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
        cluster.account.wait_acknowledged(2000, 20)
    cluster.wait_settled(30)
    assert {name for nodes in cluster.tables().values() for name in nodes} == {"node-1"}
    cluster.account.verify(cluster["node-0"])


@failpoints.needed
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_between_any_two_steps_costs_and_doubles_nothing(make_forebay, point):
    cluster = Cluster(make_forebay, start=False)
    victim = cluster["node-1"]
    for node in cluster:
        if node is victim:
            node.env["FOREBAY_FAILPOINT"] = f"{point}:3"
        node.start()
    with Load(cluster, tables=9):
        wait_for(f"the end of the node at {point}", lambda: not victim.running, 30)
        # The others find it gone, with calls that it has not answered.
        time.sleep(1)
        del victim.env["FOREBAY_FAILPOINT"]
        victim.start()
        cluster.account.wait_acknowledged(1000, 20)
    cluster.drain()
    assert cluster.metric("forebay_transfer_gave_up_rows_total") == 0


def test_a_peer_that_stands_still_keeps_nothing_for_itself(make_forebay):
    cluster = Cluster(make_forebay)
    victim = cluster["node-2"]
    with Load(cluster, tables=9):
        cluster.account.wait_acknowledged(500, 20)
        stop_for(victim, 4, time.sleep)
        cluster.account.wait_acknowledged(500, 20)
    cluster.drain()
    assert cluster.metric("forebay_transfer_gave_up_rows_total") == 0


def test_without_its_owner_a_table_is_uploaded_where_it_is(make_forebay):
    cluster = Cluster(make_forebay, {"cluster": {"transfer": {"unhealthy_for": "1m"}}})
    cluster["node-2"].kill9()
    alive = [cluster["node-0"], cluster["node-1"]]
    with Senders(alive[0], cluster.account, count=1, tables=9, profile=PROMETHEUS, pause=0.01):
        cluster.account.wait_acknowledged(2000, 20)
    wait_for("the uploads", lambda: sum(states["pending"] for node in alive
                                        for states in conservation.check(node).values()) == 0, 30)
    cluster.account.verify(alive[0])
    assert alive[0].metric("forebay_transfer_failures_total") >= 1
    assert alive[0].metric("forebay_upload_rows_total") > 0
    cluster["node-2"].start()


def test_a_clean_stop_leaves_nothing_open(make_forebay):
    cluster = Cluster(make_forebay)
    with Load(cluster, tables=9):
        for node in cluster:
            cluster.account.wait_acknowledged(500, 20)
            node.restart()
    cluster.drain()
    assert cluster.metric("forebay_transfer_gave_up_rows_total") == 0
