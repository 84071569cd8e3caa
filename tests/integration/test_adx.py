"""Batches to Azure Data Explorer: the real binary, real storage (Azurite), and a strict stand-in for the cluster.

Every test ends with the stand-in's own checks: headers, tokens, sizes, mappings, rows of every blob.
"""
import collections
import contextlib
import http.client
import json
import re
import threading
import time

import azurite
import pytest
from forebay_harness import Forebay, Sample, Series, metric_sum, proper_case, wait_for
from kusto_fake import KustoFake
from kusto_fixtures import make_kusto, storage  # noqa: F401

pytestmark = pytest.mark.skipif(not azurite.available(), reason="azurite is not there: ./dev setup")

SECRET = "se cret&=+"
FAST = {"upload": {"retry_initial": "20ms", "retry_max": "200ms"}}


@pytest.fixture
def start(make_forebay, tmp_path):
    """start(kusto, **sink options): a node that sends everything there."""
    (tmp_path / "secret").write_text(SECRET + "\n")

    def start(kusto, config=None, **sink):
        auth = sink.pop("auth", {"secret_file": str(tmp_path / "secret")} if kusto.auth else {})
        one = kusto.sink(**sink)
        one["adx"]["auth"].update(auth)
        return make_forebay({**FAST, "databases": [{"name": "Metrics", "sinks": [one]}], **(config or {})})

    return start


def send(node, values, metric="kept_total"):
    samples = [Sample(float(v), 1_700_000_000_000 + v) for v in values]
    response = node.writer().send_v1([Series({"__name__": metric, "host": "a,\"b'\\"}, samples)])
    assert response.status == 204, response.text


def deliver(node):
    """Seals and uploads everything, however many tries it takes."""
    with node.admin(120) as client:
        client.post("/-/flush")
    wait_for("the delivery", lambda: not list((node.data / "batches").glob("*.batch")), 60)


def values(kusto, table="KeptTotal"):
    return sorted(int(float(row.values[3])) for row in kusto.rows("Metrics", table))


def assert_no_secrets(node, kusto):
    status = json.dumps(node.status()) if node.running else ""
    manifests = "".join(path.read_text(errors="replace") for path in node.data.rglob("*.batch"))
    for text in (node.log, status, manifests, node.metrics_text() if node.running else ""):
        assert not re.search(r"sig=(?!\*\*\*)", text), text[:2000]
        assert SECRET not in text and "se%20cret" not in text
        assert not [token for token in kusto.tokens if token in text]


def test_rows_are_there_once_with_the_tag_of_their_batch(make_kusto, start):
    kusto = make_kusto()
    node = start(kusto)
    send(node, range(500))
    send(node, range(500, 600), metric="other_total")
    deliver(node)
    assert values(kusto) == list(range(500))
    rows = kusto.rows("Metrics", "KeptTotal")
    assert json.loads(rows[0].values[2]) == {"host": "a,\"b'\\"}
    assert len({row.tags for row in rows}) == 1 and rows[0].tags[0].startswith("ingest-by:")
    assert values(kusto, "OtherTotal") == list(range(500, 600))
    assert node.metric("forebay_upload_rows_total", sink="adx") == 600
    assert_no_secrets(node, kusto)


def test_tables_are_made_once_and_again_after_a_restart_not_at_all(make_kusto, start):
    kusto = make_kusto()
    node = start(kusto)
    for i in range(3):
        send(node, range(10 * i, 10 * i + 10))
        deliver(node)
    assert kusto.count("mgmt") == 3 + 1  # details, mappings, table, mapping
    node.restart()
    send(node, range(30, 40))
    deliver(node)
    assert kusto.count("mgmt") == 4 + 2
    assert values(kusto) == list(range(40))


def test_containers_are_used_evenly(make_kusto, start):
    kusto = make_kusto()
    node = start(kusto)
    for i in range(6):
        send(node, [i])
        deliver(node)
    assert sorted(kusto.used.values()) == [2, 2, 2]


# Each: (place, fault). One batch must be there once, whatever the fault.
FAULTS = {
    "token refused once": ("token", dict(status=500)),
    "token throttled": ("token", dict(status=429, headers={"Retry-After": "0"})),
    "metadata broken": ("metadata", dict(status=500)),
    "cluster 401": ("mgmt", dict(status=401)),
    "cluster 503 with html": ("mgmt", dict(status=503, body=b"<html>busy</html>", times=2)),
    "configuration 401": ("configuration", dict(status=401)),
    "configuration 403": ("configuration", dict(status=403)),
    "configuration 429 without a body": ("configuration", dict(status=429)),
    "configuration that is not JSON": ("configuration", dict(status=200, body=b"<html>")),
    "configuration without containers": ("configuration", dict(status=200, body=b"{}")),
    "queued 503": ("queued", dict(status=503, times=3)),
    "queued 401": ("queued", dict(status=401)),
    "queued reset before": ("queued", dict(action="reset")),
    "queued answer lost": ("queued", dict(action="lost")),
    "queued answer lost often": ("queued", dict(action="lost", times=4)),
    "queued stalls": ("queued", dict(action="stall", body="2")),
    "queued without an operation": ("queued", dict(status=200, body=b'{"ingestionOperationId":""}')),
    "status 404 for a while": ("status", dict(status=404, times=3)),
    "status 503": ("status", dict(status=503, times=3)),
    "status not JSON": ("status", dict(status=200, body=b"gone", times=2)),
    "status reset": ("status", dict(action="reset", times=2)),
    "storage busy": ("storage.put", dict(status=503, times=2)),
    "storage refuses the signature": ("storage.put", dict(status=403, body=b"<Error>AuthenticationFailed</Error>")),
    "storage answer lost": ("storage.put", dict(action="lost")),
    "storage reset": ("storage.put", dict(action="reset", times=2)),
    "container gone": ("storage.put", dict(status=404, times=2)),
    "storage dislikes the request": ("storage.put", dict(status=400)),
}


@pytest.fixture(scope="module")
def faulty(storage, tmp_path_factory):
    """One node and one cluster for all faults, since most of a test is their start."""
    kusto = KustoFake(storage)
    kusto.containers = [f"faulty-{i}" for i in range(3)]
    kusto.queues = ["faulty-queue-0", "faulty-queue-1"]
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "secret").write_text(SECRET)
    sink = kusto.sink(request_timeout="1s")
    sink["adx"]["auth"]["secret_file"] = str(folder / "secret")
    with kusto:
        node = Forebay(folder, {**FAST, "databases": [{"name": "Metrics", "sinks": [sink]}]}).start()
        yield node, kusto
        node.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_every_row_is_there_once_in_spite_of(faulty, name):
    node, kusto = faulty
    place, fault = FAULTS[name]
    metric = "fault_" + re.sub(r"\W", "_", name)
    if place in ("token", "metadata", "configuration"):
        with kusto.lock:
            kusto.tokens.clear()  # the next call is answered 401
        node.restart()
    kusto.inject(place, **fault)
    send(node, range(50), metric=metric)
    deliver(node)
    table = proper_case(metric)
    assert values(kusto, table) == list(range(50))
    with kusto.lock:
        assert [f.times for f in kusto.faults] == [0] * len(kusto.faults), "the fault was not met"
        kusto.faults.clear()
    assert node.metric("forebay_upload_dead_letter_batches_total") == 0
    kusto.check()
    assert_no_secrets(node, kusto)


@pytest.mark.parametrize("spelling", ["yaml", "docs", "counters"])
def test_either_spelling_of_the_status_is_understood(make_kusto, start, spelling):
    kusto = make_kusto(auth=False)
    kusto.status_spelling = spelling
    kusto.polls = 3
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    assert values(kusto) == list(range(20))
    assert kusto.count("status") == 4


@pytest.mark.parametrize("code, kind", [("General_InternalServerError", "Transient"), ("BadRequest_MessageExhausted", "Exhausted"),
                                        ("Unheard_Of", "Strange"), ("BadRequest_MappingReferenceWasNotFound", "Permanent"),
                                        ("Download_Forbidden", "Permanent")])
def test_a_failure_that_no_row_is_to_blame_for_is_sent_again(make_kusto, start, code, kind):
    kusto = make_kusto(auth=False)
    kusto.failures = [{"errorCode": code, "failureStatus": kind}] * 2
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    wait_for("the rows", lambda: values(kusto) == list(range(20)))
    assert node.metric("forebay_upload_dead_letter_batches_total") == 0


def test_rows_that_the_cluster_refuses_for_good_are_in_the_dead_letters(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.failures = [{"errorCode": "Stream_WrongNumberOfFields", "failureStatus": "Permanent", "details": "5 for 4"}]
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    reason = next((node.data / "dlq").rglob("reason.json")).read_text()
    assert "Stream_WrongNumberOfFields" in reason and "5 for 4" in reason
    assert values(kusto) == []


def test_a_table_with_columns_of_other_types_is_drift(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.tables[("Metrics", "KeptTotal")] = {"Timestamp": "datetime", "Value": "string"}
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    assert node.metric("forebay_adx_schema_conflicts_total") == 1


def test_blocks_of_4_mib_in_parallel_make_one_blob(make_kusto, start):
    kusto = make_kusto(auth=False)
    node = start(kusto, {"http": {"max_body": "64MiB", "max_decoded_body": "256MiB"}}, compression_level=0)
    import random
    generator = random.Random(7)
    series = [Series({"__name__": "big_total", "pod": f"{generator.getrandbits(900):x}"},
                     [Sample(float(i), 1_700_000_000_000 + i)]) for i in range(30000)]
    for at in range(0, len(series), 5000):
        assert node.writer().send_v1(series[at:at + 5000]).status == 204
    kusto.inject("storage.put", status=503, after=1, times=2)  # of a block
    deliver(node)
    assert values(kusto, "BigTotal") == list(range(30000))
    (stored, raw), = kusto.blob_sizes
    assert stored > 4 << 20 and raw > 8 << 20
    assert kusto.count("storage.put") >= 2 + 1 + stored // (4 << 20)


def test_small_batches_are_streamed_when_latency_matters(make_kusto, start):
    kusto = make_kusto(auth=False)
    node = start(kusto, delivery="lowest_latency", streaming_max="100KiB")
    send(node, range(200))
    send(node, range(5000), metric="many_total")
    deliver(node)
    assert values(kusto) == list(range(200))
    assert values(kusto, "ManyTotal") == list(range(5000))
    assert {row.path for row in kusto.rows("Metrics", "KeptTotal")} == {"streamed"}
    assert {row.path for row in kusto.rows("Metrics", "ManyTotal")} == {"queued"}
    assert node.metric("forebay_adx_streamed_batches_total") == 1


STREAMING = {  # name: (fault, requests that stream, kind)
    "off": (dict(status=400, body=json.dumps({"error": {
        "code": "BadRequest_StreamingIngestionPolicyNotEnabled", "@permanent": True, "@failureCode": 400}})), 1, "off"),
    "throttled": (dict(status=429), 1, "throttled"),
    "too large": (dict(status=413), 1, "too_large"),
    "not there": (dict(status=404), 1, "not_there"),
    "broken": (dict(status=503, times=3), 3, "broken"),
    # libcurl itself repeats a request on a connection that it had before: more resets than tries.
    "no answer": (dict(action="reset", times=100), 3, "no_answer"),
}


@pytest.mark.parametrize("name", STREAMING)
def test_what_cannot_be_streamed_is_queued(make_kusto, start, name):
    kusto = make_kusto(auth=False)
    fault, requests, kind = STREAMING[name]
    kusto.inject("streaming", **fault)
    node = start(kusto, delivery="lowest_latency")
    send(node, range(50))
    deliver(node)
    assert values(kusto) == list(range(50))
    assert len(kusto.ids["streaming"]) == requests
    assert {row.path for row in kusto.rows("Metrics", "KeptTotal")} == {"queued"}
    assert node.metric("forebay_adx_streaming_faults_total", kind=kind) == 1
    kusto.faults.clear()
    # A table that is left to the queue stays there; a single request that was too large says nothing of the next.
    send(node, range(50, 60))
    deliver(node)
    assert values(kusto) == list(range(60))
    assert len(kusto.ids["streaming"]) == requests + (1 if kind in ("too_large", "broken", "no_answer") else 0)


def test_without_the_rest_api_batches_go_the_classic_way(make_kusto, start):
    kusto = make_kusto(auth=False, rest=False)
    node = start(kusto)
    send(node, range(50))
    deliver(node)
    assert kusto.take_classic() == 1
    assert values(kusto) == list(range(50))
    assert kusto.count("queued") == 0
    assert_no_secrets(node, kusto)


def test_the_emulator_gets_commands(make_kusto, start):
    kusto = make_kusto(auth=False, emulator=True)
    kusto.inject("mgmt", action="lost", match=lambda request: b".ingest" in request.body)
    node = start(kusto)
    send(node, range(50))
    deliver(node)
    assert values(kusto) == list(range(50))
    assert {row.path for row in kusto.rows("Metrics", "KeptTotal")} == {"inline"}
    assert kusto.count("configuration") == 0


@pytest.mark.parametrize("kind", ["token", "managed_identity", "workload_identity"])
def test_tokens_come_from(make_kusto, start, tmp_path, kind):
    kusto = make_kusto()
    (tmp_path / "token").write_text("federated" if kind == "workload_identity" else kusto.new_token("https://kusto.kusto.windows.net"))
    auth = {"kind": kind, "token_file": str(tmp_path / "token"),
            "identity_endpoint": kusto.login_url + "/metadata/identity/oauth2/token"}
    node = start(kusto, auth=auth)
    send(node, range(10))
    deliver(node)
    assert values(kusto) == list(range(10))
    assert kusto.count("token") == (0 if kind == "token" else 1)
    assert_no_secrets(node, kusto)


def test_a_token_is_renewed_before_it_ends(make_kusto, start):
    kusto = make_kusto()
    kusto.token_life = 2
    node = start(kusto)
    seen = collections.Counter()
    for i in range(8):
        send(node, [i])
        deliver(node)
        time.sleep(0.4)
    seen.update(status for _, place, status in kusto.requests if place != "token")
    assert values(kusto) == list(range(8))
    assert kusto.count("token") >= 2 and seen[401] == 0


def test_an_untrusted_endpoint_gets_no_token(make_kusto, make_forebay):
    kusto = make_kusto()
    node = make_forebay({"databases": [{"name": "Metrics", "sinks": [
        {"adx": {"endpoint": "https://kusto.example.com"}}]}]}, start=False)
    node.opaque = True
    node.start(wait=False)
    assert node.wait_exit(20) != 0
    assert "trusted_hosts" in node.log and "kusto.example.com" in node.log
    assert kusto.requests == []


def test_a_stop_ends_the_wait_for_an_operation(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.polls = 10**9
    node = start(kusto, {"drain": {"stop_timeout": "2s"}})
    send(node, range(10))

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException, TimeoutError), node.admin(20) as client:
            client.post("/-/flush")

    flush = threading.Thread(target=ask, daemon=True)
    flush.start()
    wait_for("a look at the operation", lambda: kusto.count("status") > 0)
    assert node.terminate(15) == 0
    flush.join(10)
    assert values(kusto) == list(range(10))
    kusto.polls = 1
    node.start()
    wait_for("the second try", lambda: not list((node.data / "batches").glob("*.batch")))
    assert values(kusto) == list(range(10))
    assert metric_sum(node.metrics(), "forebay_upload_batches_total", outcome="already_there") == 1
