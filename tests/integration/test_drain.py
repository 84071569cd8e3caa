"""A node that leaves brings all it has off its volume: to the other members, else into its sinks. No row is lost or doubled."""
import json
import shutil
import signal
import threading
import time

import conservation
import failpoints
import pytest
from accounting import PROMETHEUS, Account, Senders
from cluster import Cluster, Load
from forebay_harness import Sample, Series, wait_for
from kubernetes_api import NAMESPACE, FakeKubernetes
from test_transfer_http import lines, post, segment

# A drain must not wait for ages that the configuration names: without one nothing would go within a test.
LONG = {"batch": {"max_age": "10m"}, "generation": {"max_age": "10m"}}
STOP = {"drain": {"timeout": "20s", "stop_timeout": "3s"}}
POINTS = [name for name in failpoints.all_names() if name.startswith("drain.")]


def drain(node, timeout="30s"):
    with node.admin() as client:
        response = client.post(f"/-/drain?timeout={timeout}" if timeout else "/-/drain")
    return response.status, json.loads(response.body)


def assert_empty(node):
    """Of a stopped node: its volume holds no row."""
    left = [path for folder in ("segments", "batches", "dlq", "quarantine")
            for path in (node.data / folder).rglob("*") if path.is_file()]
    assert not left, left
    journals = node.run("wal", "cat", "--no-header", *(node.data / "journal").glob("*.log"))
    assert journals.returncode == 0 and not journals.stdout.strip(), journals.stdout[:2000] + journals.stderr


def settle(account, *nodes, timeout=60):
    """Flushes until nothing is pending on these nodes, which may give each other what they flush. Checks all rows."""
    def flushed():
        for node in nodes:
            node.flush()
        return not sum(node.metric("forebay_conservation_rows", state="pending") for node in nodes)

    wait_for("everything to be uploaded", flushed, timeout)
    return account.verify(nodes[0])


def test_scale_down_from_three_to_one_strands_nothing(make_forebay):
    cluster = Cluster(make_forebay, {**LONG, **STOP})
    nodes = [cluster[f"node-{n}"] for n in range(3)]
    with Load(cluster, tables=9):
        cluster.account.wait_acknowledged(3000, 30)
        # As a StatefulSet does it: one after the other, the last one first, while all are written to.
        for node in (nodes[2], nodes[1]):
            began = time.monotonic()
            assert node.terminate() == 0, node.tail()
            assert time.monotonic() - began < 15, node.tail()
            assert_empty(node)
            cluster.account.wait_acknowledged(200, 10)
    settle(cluster.account, nodes[0])
    drained = [line for node in nodes[1:] for line in node.log_lines("drained: nothing is left on the volume")]
    assert len(drained) == 2
    assert sum(int(line["handed_over_rows"]) for line in drained) > 0, drained


def test_a_drain_on_request_refuses_clients_and_can_be_called_off(make_forebay):
    cluster = Cluster(make_forebay, {**LONG, **STOP})
    leaver, rest = cluster["node-1"], [cluster["node-0"], cluster["node-2"]]
    with Load(cluster, tables=9):
        cluster.account.wait_acknowledged(2000, 30)
        status, report = drain(leaver)
        assert status == 200 and report["state"] == "drained", report
        assert report["left"]["rows"] == 0 and report["handed_over_rows"] > 0, report
        with leaver.admin() as client:
            ready = client.get("/readyz")
        assert ready.status == 503 and "draining" in ready.text
        with leaver.writer(timeout=5) as writer:
            refused = writer.send_v1([Series({"__name__": "up"}, [Sample(1.0, 1000)])])
        assert refused.status == 503 and int(refused.headers["retry-after"]) >= 1, refused.status
        assert leaver.metric("forebay_drain_state") == 2
        assert leaver.status()["drain"]["state"] == "drained"
        # Again: the same answer, nothing begins anew.
        assert drain(leaver, None)[0] == 200
        # Others own its tables meanwhile, without any call that failed.
        before = leaver.metric("forebay_transfer_received_rows_total")
        cluster.account.wait_acknowledged(1000, 20)
        for node in rest:
            node.flush()
        assert leaver.metric("forebay_transfer_received_rows_total") == before
        assert sum(node.metric("forebay_transfer_failures_total") for node in cluster) == 0
        with leaver.admin() as client:
            assert client.request("DELETE", "/-/drain").status == 200
        taken_before = leaver.metric("forebay_receive_received_samples_total")
        wait_for("new rows", lambda: leaver.metric("forebay_receive_received_samples_total") > taken_before, 20)
        assert leaver.metric("forebay_drain_state") == 0
    cluster.drain()


def test_peers_that_die_during_a_drain_cost_nothing(make_forebay):
    cluster = Cluster(make_forebay, {**LONG, **STOP, "cluster": {"transfer": {"max_batch": "1KiB", "workers": 1}}})
    leaver, dying, staying = cluster["node-0"], cluster["node-1"], cluster["node-2"]
    with Load(cluster, tables=9):
        cluster.account.wait_acknowledged(3000, 30)
    status, _ = drain(leaver, None)
    assert status == 202
    dying.kill9()
    time.sleep(1)
    dying.start()
    status, report = drain(leaver, "40s")
    assert status == 200, report
    assert leaver.terminate() == 0
    assert_empty(leaver)
    settle(cluster.account, dying, staying)
    assert sum(node.metric("forebay_transfer_gave_up_rows_total") for node in (dying, staying)) == 0


@failpoints.needed
@pytest.mark.parametrize("point", POINTS + ["transfer.after_answer", "delete.after_segments"])
def test_a_kill_in_the_middle_of_a_drain_costs_and_doubles_nothing(make_forebay, point):
    # With short generations there are rows of peers, which a drain uploads.
    ages = {**LONG, "generation": {"max_age": "200ms"}} if point.startswith("delete") else LONG
    cluster = Cluster(make_forebay, {**ages, **STOP}, start=False)
    leaver = cluster["node-1"]
    leaver.env["FOREBAY_FAILPOINT"] = f"{point}:1"
    for node in cluster:
        node.start()
    with Load(cluster, tables=9):
        cluster.account.wait_acknowledged(1500, 20)
    leaver.process.send_signal(signal.SIGTERM)
    wait_for(f"the end of the node at {point}", lambda: not leaver.running, 30)
    assert leaver.process.returncode == -9, leaver.tail()
    del leaver.env["FOREBAY_FAILPOINT"]
    leaver.start()
    assert leaver.terminate() == 0
    assert_empty(leaver)
    settle(cluster.account, cluster["node-0"], cluster["node-2"])


def block(node):
    """Its sink's folder becomes a file: no upload succeeds."""
    shutil.rmtree(node.out, ignore_errors=True)
    node.out.write_text("in the way")


def unblock(node):
    node.out.unlink()


def test_what_cannot_go_is_reported_and_goes_at_the_next_start(make_forebay):
    node = make_forebay({**LONG, "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
                         "drain": {"timeout": "2s", "stop_timeout": "1s", "on_stop": "always"}})
    account = Account()
    with Senders(node, account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
        account.wait_acknowledged(500, 20)
    block(node)
    status, report = drain(node)
    assert status == 202 and report["state"] == "overdue", report
    rows = conservation.check(node)["Metrics"]["pending"]
    assert rows > 0 and report["left"]["rows"] == rows, report
    assert report["left"]["segments"] == 3 and report["left"]["bytes"] > 0 and report["left"]["oldest_seconds"] > 0
    assert any("cannot be uploaded" in why for why in report["left"]["why"]), report
    assert node.metric("forebay_drain_left_rows") == rows and node.metric("forebay_drain_state") == 3
    assert node.terminate() == 0
    said = node.log_lines("stopped before all was brought away: it stays on the volume and goes at the next start")
    assert len(said) == 1 and int(said[0]["rows"]) == rows and "cannot be uploaded" in said[0]["why"], said
    unblock(node)
    node.start()
    node.flush()
    account.verify(node)


def test_a_sink_that_comes_back_ends_an_overdue_drain(make_forebay):
    node = make_forebay({**LONG, "upload": {"retry_initial": "20ms", "retry_max": "200ms"}, "drain": {"timeout": "1s"}})
    account = Account()
    with Senders(node, account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
        account.wait_acknowledged(200, 20)
    block(node)
    assert drain(node)[1]["state"] == "overdue"
    unblock(node)
    wait_for("the end of the drain", lambda: node.metric("forebay_drain_state") == 2, 30)
    account.verify(node)


def test_a_second_signal_ends_at_once_and_loses_nothing(make_forebay):
    node = make_forebay({**LONG, "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
                         "drain": {"timeout": "60s", "stop_timeout": "60s", "on_stop": "always"}})
    account = Account()
    with Senders(node, account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
        account.wait_acknowledged(500, 20)
    block(node)
    node.process.send_signal(signal.SIGTERM)
    wait_for("the drain", lambda: node.metric("forebay_drain_state") == 1, 10)
    began = time.monotonic()
    assert node.terminate() == 128 + signal.SIGTERM
    assert time.monotonic() - began < 3
    unblock(node)
    node.start()
    node.flush()
    account.verify(node)


def test_a_node_alone_stops_without_a_batch_for_every_table(make_forebay):
    node = make_forebay(LONG)
    account = Account()
    with Senders(node, account, count=1, tables=20, profile=PROMETHEUS, pause=0.01):
        account.wait_acknowledged(500, 20)
    assert node.terminate() == 0
    assert not node.rows(), "a restart uploads what is due, and nothing was"
    node.start()
    node.flush()
    account.verify(node)


def test_without_drains_on_stop_a_member_keeps_its_rows_for_the_next_start(make_forebay):
    cluster = Cluster(make_forebay, {**LONG, "drain": {"on_stop": "never"}, "cluster": {"transfer": {"enabled": False}}})
    with Load(cluster, tables=3):
        cluster.account.wait_acknowledged(500, 20)
    assert cluster["node-1"].terminate() == 0
    assert not cluster["node-1"].rows()
    cluster["node-1"].start()
    cluster.drain()


def test_without_transfers_a_drain_uploads_here(make_forebay):
    cluster = Cluster(make_forebay, {**LONG, **STOP, "cluster": {"transfer": {"enabled": False}}})
    with Load(cluster, tables=3):
        cluster.account.wait_acknowledged(500, 20)
    assert cluster["node-1"].terminate() == 0
    assert_empty(cluster["node-1"])
    assert cluster["node-1"].rows()
    settle(cluster.account, cluster["node-0"], cluster["node-2"])


def test_what_came_from_peers_is_uploaded_and_not_handed_on(make_forebay):
    cluster = Cluster(make_forebay, {**STOP, "batch": {"max_age": "10m"}})
    leaver = cluster["node-1"]
    with Load(cluster, tables=9):
        wait_for("rows from peers", lambda: leaver.metric("forebay_transfer_received_rows_total") > 300, 30)
    from_peers = leaver.metric("forebay_transfer_received_rows_total")
    status, report = drain(leaver)
    assert status == 200, report
    assert report["uploaded_rows"] >= from_peers, report
    cluster.drain()


# ---- the annotation of the pod


@pytest.fixture
def kubernetes(tmp_path):
    with FakeKubernetes() as api:
        (tmp_path / "token").write_text(api.token + "\n")
        (tmp_path / "namespace").write_text(NAMESPACE)
        api.config = {"discovery": "kubernetes", "member": "forebay-0",
                      "kubernetes": {"api_server": api.url, "token_file": str(tmp_path / "token"), "ca_file": "",
                                     "namespace_file": str(tmp_path / "namespace")}}
        api.put_pod("forebay-0", ip="127.0.0.1")
        yield api


def annotation(api):
    with api.lock:
        return api.pods["forebay-0"]["metadata"]["annotations"].get("shutdown-completed")


def test_the_annotation_drains_and_its_end_is_written_once_it_is_true(make_forebay, kubernetes):
    kubernetes.verbs.discard("patch")  # the role is mended later
    node = make_forebay({**LONG, **STOP, "cluster": kubernetes.config, "listen": {"transfer": "127.0.0.1:0"},
                         "upload": {"retry_initial": "20ms", "retry_max": "200ms"}})
    account = Account()
    with Senders(node, account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
        account.wait_acknowledged(300, 20)
    block(node)
    kubernetes.put_pod("forebay-0", ip="127.0.0.1", annotations={"shutdown-requested": "2026-11-01T00:00:00Z"})
    wait_for("the drain", lambda: node.metric("forebay_drain_state") == 1, 15)
    time.sleep(0.5)
    assert kubernetes.count("patch", 403) == 0, "nothing is completed yet"
    unblock(node)
    wait_for("a refusal", lambda: kubernetes.count("patch", 403) > 0, 15)
    assert node.metric("forebay_drain_state") == 2 and annotation(kubernetes) is None
    kubernetes.verbs.add("patch")
    wait_for("the annotation", lambda: annotation(kubernetes), 15)
    assert time.strptime(annotation(kubernetes)[:19], "%Y-%m-%dT%H:%M:%S")
    assert kubernetes.count("patch", 200) == 1
    account.verify(node)
    # It stays, drained, until it is deleted.
    assert node.running and node.metric("forebay_drain_state") == 2


def test_a_node_that_starts_with_the_annotation_drains_again(make_forebay, kubernetes):
    node = make_forebay({**LONG, **STOP, "cluster": kubernetes.config, "listen": {"transfer": "127.0.0.1:0"}})
    account = Account()
    with Senders(node, account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
        account.wait_acknowledged(300, 20)
    node.kill9()
    kubernetes.put_pod("forebay-0", ip="127.0.0.1", annotations={"shutdown-requested": ""})
    node.start(wait=False)
    node.wait_listening()
    wait_for("the annotation", lambda: annotation(kubernetes), 20)
    account.verify(node)


# ---- a full node


def test_a_full_node_refuses_clients_and_takes_what_peers_hand_over(make_forebay):
    """From the high watermark to storage.max_disk itself."""
    cluster = Cluster(make_forebay, {"batch": {"max_age": "10m"}}, start=False)
    full = cluster["node-0"]
    full.config["storage"].update({"max_disk": "8MiB", "high_watermark": 5, "low_watermark": 4})
    for node in cluster:
        node.start(wait=False)
    for node in cluster:
        node.wait_listening()
    block(full)
    with Load(cluster, tables=9):
        wait_for("a full node", lambda: full.metric("forebay_disk_full") == 1, 30)
        before = full.metric("forebay_transfer_received_rows_total")
        clients = full.metric("forebay_receive_received_samples_total")
        wait_for("rows of peers", lambda: full.metric("forebay_transfer_received_rows_total") > before, 20)
        assert full.metric("forebay_receive_received_samples_total") == clients
    unblock(full)
    cluster.drain()


# ---- segments of adx-mon's collectors


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.25])
def test_a_large_segment_is_stored_whole_or_not_at_all_when_a_drain_begins(make_forebay, delay):
    # Its parts are journaled one by one. What is refused after some of them comes again by another way.
    node = make_forebay({**LONG, **STOP})
    body = segment("Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000")
    copies = 16_000_000 // len(body)
    answers = []

    def transfer():
        try:
            answers.append(post(node, "Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000.wal", body[:8] + body[8:] * copies).status)
        except (BrokenPipeError, ConnectionResetError):
            answers.append(429)  # whoever only sends may not come to read it

    sender = threading.Thread(target=transfer)
    sender.start()
    time.sleep(delay)
    status, report = drain(node, "60s")
    sender.join()
    assert status == 200, report
    rows = sum(states["from_peers"] for states in conservation.check(node).values())
    expected = copies * len(lines("Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000"))
    assert (answers, rows) in (([202], expected), ([429], 0)), (answers, rows, expected)
