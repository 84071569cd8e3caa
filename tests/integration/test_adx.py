"""Batches to Azure Data Explorer: the real binary, real storage (Azurite), and a strict stand-in for the cluster.

Every test ends with the stand-in's own checks: headers, tokens, sizes, mappings, rows of every blob.
"""
import collections
import contextlib
import gzip
import http.client
import json
import os
import random
import re
import threading
import time

import azurite
import pytest
from authority import Authority
from conservation import check
from forebay_harness import Forebay, Sample, Series, metric_sum, proper_case, wait_for
from kusto_fake import KustoFake
from kusto_fixtures import make_kusto, storage  # noqa: F401
from log_segments import LOG_FIELDS, log_row, log_segment, post_segment

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
    """A sample of each number."""
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
    "token for an unknown client": ("token", dict(status=400, body=b'{"error":"invalid_client"}')),
    "token that is not JSON": ("token", dict(status=200, body=b"<html>")),
    "token slow": ("token", dict(action="stall", body="2")),
    "cluster redirects": ("mgmt", dict(status=302, headers={"Location": "https://kusto.example.com/"})),
    "cluster 403": ("mgmt", dict(status=403)),
    "cluster 401 often": ("mgmt", dict(status=401, times=5)),
    "configuration 429 with a wish": ("configuration", dict(status=429, headers={"Retry-After": "1"})),
    "configuration drips": ("configuration", dict(action="drip")),
    "configuration 502 empty": ("configuration", dict(status=502)),
    "queued 504 with JSON": ("queued", dict(status=504, body=json.dumps({"error": {
        "code": "Timeout", "@permanent": False}}).encode())),
    "queued 500 packed": ("queued", dict(status=500, body=gzip.compress(b"broken"), headers={"Content-Encoding": "gzip"})),
    "queued head without a body": ("queued", dict(action="half")),
    "queued then closed": ("queued", dict(action="hangup")),
    "status then closed": ("status", dict(action="hangup", times=2)),
    "status 429": ("status", dict(status=429, headers={"Retry-After": "0"}, times=2)),
    "status of an unknown kind": ("status", dict(status=200, times=2, body=json.dumps({
        "status": {}, "details": [{"sourceId": "x", "status": "Musing"}]}).encode())),
    "status stalls": ("status", dict(action="stall", body="2")),
    "storage 500": ("storage.put", dict(status=500, times=3)),
    "storage is slow": ("storage.put", dict(action="stall", body="2")),
    "storage redirects": ("storage.put", dict(status=307, headers={"Location": "https://blob.example.com/"})),
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


@pytest.mark.parametrize("role", ["engine", "dm", "login", "storage"])
def test_every_row_is_there_once_though_nobody_listens_for_a_time_at(faulty, role):
    node, kusto = faulty
    node.restart()
    with kusto.away(role):
        send(node, range(50), metric=f"away_{role}")
        with node.admin(60) as client:
            client.post("/-/flush?timeout=1s")
        assert values(kusto, proper_case(f"away_{role}")) == []
    deliver(node)
    assert values(kusto, proper_case(f"away_{role}")) == list(range(50))


def one_bad(kusto, bad):
    """A signature for each container, a bad one for the first."""
    good = kusto.signature
    return lambda name: bad(name) if name == kusto.containers[0] else good(name)


BAD_CONTAINERS = {
    "expired": lambda storage: lambda name: storage.container_signature(name, "rwl", seconds=-60),
    "read-only": lambda storage: lambda name: storage.container_signature(name, "r"),
    "forged": lambda storage: lambda name: storage.container_signature(name, "rwl")[:-6] + "AAA%3D",
}


@pytest.mark.parametrize("kind", BAD_CONTAINERS)
def test_a_container_that_takes_nothing_is_passed_over(make_kusto, start, storage, kind):  # noqa: F811
    kusto = make_kusto(auth=False)
    kusto.signature = one_bad(kusto, BAD_CONTAINERS[kind](storage))
    node = start(kusto)
    for i in range(4):
        send(node, [i])
        deliver(node)
    assert values(kusto) == list(range(4))
    assert set(kusto.used) == set(kusto.containers[1:])
    assert_no_secrets(node, kusto)


def test_a_container_that_is_not_there_is_passed_over(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.containers[1:1] = ["not-there"]
    node = start(kusto)
    for i in range(4):
        send(node, [i])
        deliver(node)
    assert values(kusto) == list(range(4))
    assert "not-there" not in kusto.used


def test_containers_that_were_expired_are_fetched_anew(make_kusto, start, storage):  # noqa: F811
    kusto = make_kusto(auth=False)
    good = kusto.signature
    kusto.signature = lambda name: storage.container_signature(name, "rwl", seconds=3)
    node = start(kusto)
    send(node, [0])
    deliver(node)
    kusto.signature = good
    time.sleep(3)
    send(node, [1])
    deliver(node)
    assert values(kusto) == [0, 1]
    assert kusto.count("configuration") == 2 and kusto.count("storage.put", 403) == 0


def test_other_containers_are_used_when_the_service_says_so(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.refresh = "00:00:01"
    node = start(kusto)
    send(node, [0])
    deliver(node)
    before, kusto.containers = kusto.containers, kusto.containers[:1]
    time.sleep(1)
    kusto.used.clear()
    for i in range(1, 4):
        send(node, [i])
        deliver(node)
    assert set(kusto.used) == {before[0]}
    assert values(kusto) == list(range(4))


CONFIGURATIONS = {
    "no limit of blobs": lambda body: body["ingestionSettings"].pop("maxBlobsPerBatch"),
    "limit of no blob": lambda body: body["ingestionSettings"].update(maxBlobsPerBatch=0),
    "limit of one": lambda body: body["ingestionSettings"].update(maxBlobsPerBatch=1),
    "no settings": lambda body: body.pop("ingestionSettings"),
    "an odd interval": lambda body: body["containerSettings"].update(refreshInterval="soon"),
    "a day": lambda body: body["containerSettings"].update(refreshInterval="1.00:00:00"),
    "half a second": lambda body: body["containerSettings"].update(refreshInterval="00:00:30.5"),
    "nulls": lambda body: body["containerSettings"].update(lakeFolders=None, preferredUploadMethod=None),
}


def test_odd_configurations_are_understood(make_kusto, start):
    kusto = make_kusto(auth=False)
    node = start(kusto)
    for number, edit in enumerate(CONFIGURATIONS.values()):
        kusto.edit_configuration = lambda body, edit=edit: (edit(body), body)[1]
        node.restart()
        send(node, [number])
        deliver(node)
        assert values(kusto) == list(range(number + 1)), list(CONFIGURATIONS)[number]


@pytest.mark.parametrize("preferred, containers, used", [("Storage", 0, "lake"), ("Lake", 2, "lake"), ("Storage", 2, "storage")])
def test_rows_go_to_a_lake_when_the_service_wants_it(make_kusto, start, preferred, containers, used):
    kusto = make_kusto(containers=containers)
    kusto.lakes, kusto.preferred = ["work space"], preferred
    kusto.inject(f"{used}.put", status=503)
    node = start(kusto)
    send(node, range(50))
    deliver(node)
    assert values(kusto) == list(range(50))
    assert (kusto.count("lake.patch") > 0) == (used == "lake")
    assert (kusto.count("storage.put") > 0) == (used == "storage")
    assert_no_secrets(node, kusto)


@pytest.mark.parametrize("fault", [dict(status=400, body=json.dumps({"error": {
    "code": "BadRequest_InvalidBlob", "@permanent": True}}).encode()), dict(status=413)])
def test_a_batch_that_is_refused_when_it_is_announced_is_a_dead_letter(make_kusto, start, fault):
    kusto = make_kusto(auth=False)
    kusto.inject("queued", **fault)
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    assert str(fault["status"]) in next((node.data / "dlq").rglob("reason.json")).read_text()
    check(node)


def test_an_operation_that_never_ends_is_sent_again_and_is_there_once(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.polls = 10**9
    node = start(kusto, status_timeout="1s")
    send(node, range(20))
    with node.admin(60) as client:
        client.post("/-/flush?timeout=1s")
    wait_for("the second announcement", lambda: kusto.count("queued") >= 2)
    kusto.polls = 1
    deliver(node)
    assert values(kusto) == list(range(20))
    assert node.metric("forebay_upload_batches_total", outcome="already_there") == 1


@pytest.mark.parametrize("delivery, path", [("exactly_once", "queued"), ("lowest_latency", "streamed")])
def test_names_with_odd_characters_reach_the_cluster_as_they_are(make_kusto, start, delivery, path):
    name = "odd db#1?%/ü'\\"
    kusto = make_kusto(databases=(name,))
    node = start(kusto, database=name, delivery=delivery)
    send(node, range(20))
    deliver(node)
    assert {row.path for row in kusto.rows(name, "KeptTotal")} == {path}
    assert len(kusto.rows(name, "KeptTotal")) == 20


def test_everything_goes_over_tls_and_a_foreign_certificate_gets_nothing(make_kusto, start, tmp_path):
    authority = Authority(tmp_path / "authority")
    kusto = make_kusto(authority=authority)
    node = start(kusto, auth={"secret_file": str(tmp_path / "secret")}, ca_file=str(Authority(tmp_path / "other").file))
    send(node, range(20))
    with node.admin(60) as client:
        client.post("/-/flush?timeout=1s")
    wait_for("a failed try", lambda: node.metric("forebay_upload_retries_total") > 0)
    assert kusto.requests == []
    assert "certificate" in json.dumps(node.status())
    node.config["databases"][0]["sinks"][0]["adx"]["ca_file"] = str(authority.file)
    node.restart()
    deliver(node)
    assert values(kusto) == list(range(20))
    assert_no_secrets(node, kusto)


def test_every_row_is_there_once_in_a_mix_of_all_faults(make_kusto, start):
    """FOREBAY_TEST_ADX_MIX: batches. FOREBAY_TEST_SEED repeats a run."""
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    kusto = make_kusto()
    node = start(kusto, request_timeout="1s", status_timeout="3s")
    batches = int(os.environ.get("FOREBAY_TEST_ADX_MIX", "12"))
    for i in range(batches):
        for place, fault in chance.sample(list(FAULTS.values()), 3):
            kusto.inject(place, **{**fault, "after": chance.randrange(2)})
        send(node, range(20 * i, 20 * i + 20), metric=f"mixed_{i % 3}")
        with node.admin(60) as client:
            client.post("/-/flush?timeout=1s")
    with kusto.lock:
        kusto.faults.clear()
    deliver(node)
    rows = sorted(n for i in range(3) for n in values(kusto, f"Mixed{i}"))
    assert rows == list(range(20 * batches))
    assert node.metric("forebay_upload_dead_letter_batches_total") == 0
    check(node)
    assert_no_secrets(node, kusto)
    assert node.terminate(20) == 0


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
    send(node, [1])
    deliver(node)
    wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    reason = next((node.data / "dlq").rglob("reason.json")).read_text()
    assert "Stream_WrongNumberOfFields" in reason and "5 for 4" in reason
    assert values(kusto) == []


@pytest.mark.parametrize("delivery", ["exactly_once", "lowest_latency"])
def test_rows_that_are_to_blame_stand_alone_in_the_dead_letters(make_kusto, start, delivery):
    bad = {17, 18, 250}
    kusto = make_kusto(auth=False)
    kusto.refuses = lambda values: float(values[3]) in bad
    # On the way announcements are lost, so ranges come twice, and the whole is begun anew.
    kusto.inject("queued", action="lost", after=3, times=5)
    node = start(kusto, delivery=delivery, request_timeout="2s")
    send(node, range(300))
    deliver(node)
    assert values(kusto) == [n for n in range(300) if n not in bad]
    kept = next((node.data / "dlq").rglob("rejected.adx.csv")).read_text().splitlines()
    assert kept[0] == "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real"
    assert {float(line.rsplit(",", 1)[1]) for line in kept[1:]} == bad
    assert "Stream_ClosedQuoteMissing" in next((node.data / "dlq").rglob("rejected.adx.json")).read_text()
    assert node.metric("forebay_upload_rejected_rows_total") == 3
    assert node.metric("forebay_upload_dead_letter_batches_total") == 0
    check(node)


def test_rows_that_are_refused_together_and_taken_in_halves_are_no_dead_letters(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.failures = [{"errorCode": "Stream_ClosedQuoteMissing", "failureStatus": "Permanent"}]
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    assert values(kusto) == list(range(20))
    assert node.metric("forebay_upload_rejected_rows_total") == 0 and not list((node.data / "dlq").rglob("rejected.*"))
    check(node)


def test_a_batch_of_bad_rows_alone_is_a_dead_letter_as_a_whole(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.refuses = lambda values: True
    node = start(kusto)
    send(node, range(4))
    deliver(node)
    assert node.metric("forebay_upload_dead_letter_batches_total") == 1
    assert list((node.data / "dlq").rglob("*.wal")) and not list((node.data / "dlq").rglob("rejected.*"))
    check(node)


def test_a_table_with_columns_of_other_types_is_drift(make_kusto, start):
    kusto = make_kusto(auth=False)
    kusto.tables[("Metrics", "KeptTotal")] = {"Timestamp": "datetime", "Value": "string"}
    node = start(kusto)
    send(node, range(20))
    deliver(node)
    wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    assert node.metric("forebay_schema_drift_batches_total") == 1


def test_blocks_of_4_mib_in_parallel_make_one_blob(make_kusto, start):
    kusto = make_kusto(auth=False)
    node = start(kusto, {"http": {"max_body": "64MiB", "max_decoded_body": "256MiB"}}, compression_level=0)
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
    "refused in the body": (dict(status=200, body=json.dumps({"error": {
        "code": "General_InternalServerError", "@permanent": False}}).encode(), times=3), 3, "broken"),
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


def test_logs_of_collectors_have_their_columns_though_their_segments_name_none(make_kusto, start):
    kusto = make_kusto(auth=False)
    node = start(kusto)
    rows = [log_row(number, json.dumps(f"line {number}, with \"quotes\"")) for number in range(5)]
    assert post_segment(node, "Metrics_App_2f24a73200006003.wal", log_segment(rows[:2], rows[2:])) == 202
    deliver(node)
    assert list(kusto.tables[("Metrics", "App")]) == LOG_FIELDS
    found = sorted(kusto.rows("Metrics", "App"))
    assert [row.values[5:7] for row in found] == [("13", json.dumps(f"line {n}, with \"quotes\"")) for n in range(5)]
    check(node)


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
