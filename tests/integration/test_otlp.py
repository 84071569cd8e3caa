"""OpenTelemetry in: the exporters of the real SDK through a SIGKILL, and answers that no SDK shows."""

import csv
import gzip
import json
import os
import pathlib
import shutil
import subprocess

import grpc
import pytest
from authority import Authority
from conservation import check
from forebay_harness import HttpClient, wait_for
from log_segments import LOG_FIELDS, log_row, log_segment, post_segment

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = pathlib.Path(os.environ.get("FOREBAY_OTEL_MODULES", ROOT / "build" / "tools" / "otel"))
DOCUMENTS = ROOT / "tests" / "data" / "otlp"
EMITTER = ROOT / "tests" / "support" / "otel" / "emit.js"
BATCHES, RECORDS = 20, 50
NUMBERS = list(range(BATCHES * RECORDS))
SIGNALS = ("logs", "traces", "metrics")
RESOURCE = {"service.name": "shop", "service.instance.id": "i-1", "host.name": 'größe "1"'}


def url_of(node, transport, signal):
    if transport == "grpc":
        return f"http://{node.config['listen']['otlp_grpc']}"
    return f"{node.ingest_url}/v1/{signal}"


def start(make_forebay, **config):
    node = make_forebay(config={"listen": {"otlp_grpc": "127.0.0.1:0"}, **config})
    address = wait_for("the gRPC port", lambda: [line["address"] for line in node.log_lines("listening")
                                                 if line.get("name") == "otlp_grpc"], 10)
    node.config["listen"]["otlp_grpc"] = address[0]
    return node


class Emitter:
    def __init__(self, node, signal, transport):
        arguments = [signal, transport, url_of(node, transport, signal), BATCHES, RECORDS, 60]
        self.process = subprocess.Popen(["node", str(EMITTER), *map(str, arguments)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, "OTEL_MODULES": str(MODULES)})

    def wait_for_batches(self, count):
        for _ in range(count):
            line = self.process.stdout.readline()
            assert line.startswith("sent"), f"{line}{self.process.stderr.read()}"

    def end(self):
        _, errors = self.process.communicate(timeout=90)
        assert self.process.returncode == 0, errors


def nanos(second, nano):
    """RFC 3339 of 2025-11-01T12:26:40Z + second, and nano."""
    fraction = f".{nano:09}".rstrip("0") if nano else ""
    return f"2025-11-01T12:26:{40 + second}{fraction}Z"


def check_logs(rows):
    rows = sorted(rows, key=lambda row: json.loads(row["Attributes"])["number"])
    assert [json.loads(row["Attributes"]) for row in rows] == [{"number": i, "flag": True} for i in NUMBERS]
    for i, row in enumerate(rows):
        body = f'line "{i}",\nnext' if i % 2 else {"list": [i, "ä", True, 0.5], "text": f"t{i}"}
        assert json.loads(row["Body"]) == body
        assert (row["Timestamp"], row["ObservedTimestamp"]) == (nanos(0, i), nanos(1, i))
        assert (row["SeverityText"], row["SeverityNumber"], row["TraceId"]) == ("INFO", "9", "")
        assert RESOURCE.items() <= json.loads(row["Resource"]).items()  # the SDK adds itself


def check_traces(rows):
    rows = sorted(rows, key=lambda row: json.loads(row["Attributes"])["number"])
    assert [json.loads(row["Attributes"]) for row in rows] == [{"number": i} for i in NUMBERS]
    for i, row in enumerate(rows):
        assert (row["Timestamp"], row["EndTimestamp"], row["Duration"]) == (nanos(0, i), nanos(2, i + 5), "2000000005")
        assert (row["Name"], row["Kind"], row["ServiceName"]) == (f"work {i}", "Server", "shop")
        assert (row["StatusCode"], row["StatusMessage"]) == ("Error", 'broke, "badly"')
        assert len(row["TraceId"]) == 32 and len(row["SpanId"]) == 16
        assert json.loads(row["Events"]) == [{"timestamp": nanos(0, i + 1), "name": "went", "attributes": {"step": i}}]
        assert RESOURCE.items() <= json.loads(row["Resource"]).items()  # the SDK adds itself
        assert json.loads(row["Scope"]) == {"name": "lib", "version": "1.0"}
    assert len({row["SpanId"] for row in rows}) == len(rows)


def check_metrics(node):
    def samples(table, **labels):
        found = [row for row in node.rows(table) if labels.items() <= row["Labels"].items()]
        return sorted((int(row["Labels"]["number"]), float(row["Value"])) for row in found)

    assert samples("WorkDoneTotal", job="shop", instance="i-1", otel_scope_name="lib") == [(i, i + 0.5) for i in NUMBERS]
    assert samples("WorkTimeSecondsBucket", le="1") == [(i, 0) for i in NUMBERS]
    assert samples("WorkTimeSecondsBucket", le="10") == [(i, 1) for i in NUMBERS]
    assert samples("WorkTimeSecondsBucket", le="+Inf") == [(i, 1) for i in NUMBERS]
    assert samples("WorkTimeSecondsSum") == [(i, 5) for i in NUMBERS]
    assert samples("WorkTimeSecondsCount") == [(i, 1) for i in NUMBERS]
    infos = node.rows("TargetInfo")
    assert len(infos) == BATCHES and all(row["Labels"]["host_name"] == 'größe "1"' for row in infos)


@pytest.mark.skipif(shutil.which("node") is None or not MODULES.exists(), reason="needs node and build/tools/otel")
@pytest.mark.parametrize("transport", ["proto", "http", "grpc"])
def test_records_of_the_sdk_arrive_once_and_equal_through_a_kill(make_forebay, transport):
    node = start(make_forebay)
    emitters = [Emitter(node, signal, transport) for signal in SIGNALS]
    for emitter in emitters:
        emitter.wait_for_batches(BATCHES // 4)
    node.restart(kill=True)
    for emitter in emitters:
        emitter.end()
    node.flush()
    check_logs(node.rows("OtelLogs"))
    check_traces(node.rows("OtelTraces"))
    check_metrics(node)
    check(node)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_what_the_load_generator_sent_is_there_once(make_forebay, transport):
    node = start(make_forebay)
    url = node.ingest_url if transport == "http" else url_of(node, "grpc", "")
    streams, records = 700, 2800  # four rounds of two requests
    for signal in SIGNALS:
        outcome = node.run("load", "--protocol", f"otlp-{transport}", "--signal", signal, "--url", url, "--series", streams,
                           "--tables", 2, "--samples", records, "--values", "unique", "--step", "1s", "--start", "1760000000000",
                           "--json")
        report = json.loads(outcome.stdout)
        assert outcome.returncode == 0, report
        assert report["samples"] == {"sent": records, "accepted": records, "refused": 0, "unknown": 0}
        assert report["requests"] == (4 if signal == "metrics" else 8)
        assert set(report["statuses"]) == ({"200"} if transport == "http" else {"0"})
    node.flush()
    logs = sorted(node.rows("OtelLogs"), key=lambda row: row["Body"])
    assert [int(json.loads(row["Body"])[:16]) for row in logs] == list(range(records))
    assert [row["Timestamp"] for row in logs[::streams]] == [f"2025-10-09T08:53:2{n}Z" for n in range(4)]
    spans = sorted(node.rows("OtelTraces"), key=lambda row: row["SpanId"])
    assert [int(row["SpanId"], 16) - 1 for row in spans] == list(range(records))
    assert {row["Duration"] for row in spans} == {"25000000"}
    rows = [row for row in node.rows() if "SeriesId" in row and row["Labels"].get("handler")]
    assert sorted(float(row["Value"]) for row in rows) == list(range(records))
    assert len({row["_table"] for row in rows}) == 2
    check(node)
    with node.admin() as client:
        client.post("/-/drain")
    wait_for("a refusal", lambda: post(node, "logs", b"{}").status == 503, 10)
    outcome = node.run("load", "--protocol", f"otlp-{transport}", "--signal", "logs", "--url", url, "--samples", 512, "--series", 512,
                       "--no-retry", "--json")
    report = json.loads(outcome.stdout)
    assert outcome.returncode == 2 and report["samples"] == {"sent": 512, "accepted": 0, "refused": 512, "unknown": 0}
    assert report["statuses"] == ({"503": 1} if transport == "http" else {"14": 1})


def post(node, signal, body, content_type="application/json", **headers):
    with HttpClient(node.ingest_url, 30) as client:
        return client.post(f"/v1/{signal}", body, {"Content-Type": content_type, **headers})


LOG = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1", "body": {"stringValue": "a"}}]}]}]}


def test_answers_of_http(make_forebay):
    """What the specification says of answers, over a real connection: see also the unit tests of the handler."""
    node = start(make_forebay, http={"max_body": "64KiB", "max_decoded_body": "64KiB"},
                 limits={"in_flight_bodies": "64KiB"})
    document = json.dumps(LOG).encode()
    assert post(node, "logs", document).status == 200
    assert post(node, "logs", gzip.compress(document), **{"Content-Encoding": "gzip"}).status == 200
    bomb = gzip.compress(b" " * (1 << 20) + document)
    large = post(node, "logs", bomb, **{"Content-Encoding": "gzip"})
    assert (large.status, json.loads(large.body)["code"]) == (413, 8)
    assert post(node, "logs", b"x" * (65 << 10)).status == 413
    assert post(node, "logs", b"{").status == 400
    assert post(node, "logs", document, "text/plain").status == 415
    assert post(node, "metrics", b"{}").body == b"{}"
    with HttpClient(node.ingest_url, 30) as client:
        assert client.get("/v1/logs").status == 405
    node.flush()
    # The two good ones differ in what was sent, so each is stored.
    assert len(node.rows("OtelLogs")) == 2
    check(node)


def test_documents_in_the_shapes_of_the_specification_s_examples(make_forebay):
    """tests/data/otlp: each field that its logs.json, metrics.json and trace.json have, integers as numbers, ids in upper case."""
    node = start(make_forebay, otlp={"logs": {"columns": "full"}})
    assert [post(node, signal, (DOCUMENTS / f"{name}.json").read_bytes()).body for signal, name in
            (("logs", "logs"), ("traces", "trace"))] == [b"{}", b"{}"]
    partial = json.loads(post(node, "metrics", (DOCUMENTS / "metrics.json").read_bytes()).body)["partialSuccess"]
    assert partial["rejectedDataPoints"] == "1" and "orders.amount.torn" in partial["errorMessage"]
    node.flush()

    began, ended = "2023-11-14T22:13:20.25Z", "2023-11-14T22:13:21.25Z"
    resource, scope = {"service.name": "orders"}, {"name": "orders.http", "version": "2.1.0",
                                                   "attributes": {"scope.kind": "instrumentation"}}
    [log] = node.rows("OtelLogs")
    assert {key: log[key] for key in ("Timestamp", "ObservedTimestamp", "TraceId", "SpanId", "SeverityText", "SeverityNumber")} == {
        "Timestamp": began, "ObservedTimestamp": "2023-11-14T22:13:20.75Z", "TraceId": "0af7651916cd43dd8448eb211c80319c",
        "SpanId": "b7ad6b7169203331", "SeverityText": "Information", "SeverityNumber": "0"}
    assert [json.loads(log[key]) for key in ("Body", "Resource", "Scope", "Attributes")] == [
        "An order was placed", resource, scope,
        {"text": "a text", "flag": True, "count": 12, "ratio": 0.125, "list": ["one", "two"], "map": {"inner": "deep"}}]

    [span] = node.rows("OtelTraces")
    assert {key: span[key] for key in ("Timestamp", "EndTimestamp", "Duration", "TraceId", "SpanId", "ParentSpanId", "Name", "Kind",
                                       "StatusCode", "ServiceName")} == {
        "Timestamp": began, "EndTimestamp": ended, "Duration": "1000000000", "TraceId": "0af7651916cd43dd8448eb211c80319c",
        "SpanId": "b7ad6b7169203331", "ParentSpanId": "b7ad6b7169203330", "Name": "it's the server's span", "Kind": "Server",
        "StatusCode": "Unset", "ServiceName": "orders"}
    assert [json.loads(span[key]) for key in ("Attributes", "Resource", "Scope")] == [{"route": "/orders"}, resource, scope]

    def samples(table, label=None):
        found = node.rows(table)
        for row in found:
            assert row["Timestamp"] == began
            assert {"job": "orders", "route": "/orders", "otel_scope_name": "orders.http"}.items() <= row["Labels"].items()
        return {row["Labels"].get(label): float(row["Value"]) for row in found}

    assert samples("OrdersPlaced", "otel_temporality") == {"delta": 7}  # a delta is no total
    assert samples("OrdersOpenRatio") == {None: 11}
    assert samples("OrdersAmountBucket", "le") == {"1": 1, "2": 2, "+Inf": 3}
    assert (samples("OrdersAmountSum"), samples("OrdersAmountCount")) == ({None: 4.5}, {None: 3})
    assert samples("OrdersSize", "quantile") == {"0.5": 4, "1": 9}
    assert (samples("OrdersSizeSum"), samples("OrdersSizeCount")) == ({None: 20}, {None: 4})
    assert not [row for row in node.rows() if "Torn" in row["_table"]]
    [delay] = node.rows("NativeHistograms")
    assert {key: delay[key] for key in ("Timestamp", "StartTimestamp", "MetricName", "Schema", "Count", "Sum", "ZeroCount")} == {
        "Timestamp": began, "StartTimestamp": "2023-11-14T22:13:19.25Z", "MetricName": "orders_delay", "Schema": "0", "Count": "6",
        "Sum": "10", "ZeroCount": "1"}
    # A bucket of OTLP is above its lower bound, one of Prometheus below its upper: the index is one more.
    buckets = {key: [one for one in json.loads(delay[key]) if one[1]] for key in ("PositiveBuckets", "NegativeBuckets")}
    assert buckets == {"PositiveBuckets": [[3, 2]], "NegativeBuckets": [[1, 3]]}
    kinds = {row["MetricName"]: (row["Type"], row["Help"]) for row in node.rows("MetricMetadata")}
    assert kinds["orders_open_ratio"] == ("gauge", "Orders that are open") and kinds["orders_delay"] == ("histogram", "Delays")
    check(node)


def test_logs_of_adx_mon_s_collectors_and_of_otlp_are_rows_of_one_table(make_forebay, tmp_path):
    sinks = [{"file": {"root": str(tmp_path / "forebay" / "out")}}]
    node = start(make_forebay, otlp={"logs": {"database": "Logs"}},
                 databases=[{"name": name, "sinks": sinks} for name in ("Metrics", "Logs")])
    rows = [log_row(number, f"of a collector, {number}") for number in range(3)]
    assert post_segment(node, "Logs_OtelLogs_2f24a73200006003.wal", log_segment(rows)) == 202
    # What the first row says, as OTLP.
    records = [{"timeUnixNano": "1793491200500000000", "observedTimeUnixNano": "1793491200750000000", "traceId": f"{0:031x}f",
                "spanId": f"{0:015x}f", "severityText": "WARN", "severityNumber": 13, "body": {"stringValue": f"of OTLP, {n}"},
                "attributes": [{"key": "n", "value": {"intValue": n}}, {"key": "text", "value": {"stringValue": "a,b"}}]}
               for n in range(2)]
    resource = {"attributes": [{"key": "k8s.pod", "value": {"stringValue": "p0"}}]}
    document = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}
    assert post(node, "logs", json.dumps(document).encode()).status == 200
    node.flush()
    found = []
    for path in sorted(node.out.glob("Logs/OtelLogs/*/*/*/*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            found += [dict(zip(LOG_FIELDS, fields, strict=True)) for fields in csv.reader(text) if fields[0] != "Timestamp"]
    assert sorted(row["Body"].strip('"') for row in found) == [f"of OTLP, {n}" for n in range(2)] + [
        f"of a collector, {n}" for n in range(3)]
    [collected] = [row for row in found if row["Body"] == "of a collector, 0"]
    [sent] = [row for row in found if row["Body"] == '"of OTLP, 0"']
    same = ("Timestamp", "ObservedTimestamp", "SeverityText", "SeverityNumber", "Resource", "Attributes")
    assert {key: sent[key] for key in same} == {key: collected[key] for key in same}
    assert {path.name for path in node.out.glob("Logs/*")} == {"OtelLogs"}
    states = check(node)["Logs"]
    assert (states["from_peers"], states["received"], states["uploaded"]) == (3, 2, 5)


def test_a_drain_refuses_with_503_and_a_stop_keeps_what_was_acknowledged(make_forebay):
    node = start(make_forebay)
    assert post(node, "logs", json.dumps(LOG).encode()).status == 200
    node.restart()
    assert post(node, "logs", json.dumps(LOG).encode()).status == 200  # known: stored once
    node.flush()
    assert len(node.rows("OtelLogs")) == 1
    with node.admin() as client:
        client.post("/-/drain")
    refused = wait_for("a refusal", lambda: (response := post(node, "logs", b"{}")).status == 503 and response, 10)
    assert json.loads(refused.body)["code"] == 14
    check(node)


REQUEST = bytes.fromhex("0a0b120912072a050a03616263")  # body "abc"
EXPORT = "/opentelemetry.proto.collector.{}Service/Export"
METHODS = {"logs": EXPORT.format("logs.v1.Logs"), "traces": EXPORT.format("trace.v1.Trace"),
           "metrics": EXPORT.format("metrics.v1.Metrics")}


class Grpc:
    """Calls with bytes, so that bad messages can be sent too."""

    def __init__(self, address, credentials=None):
        options = [("grpc.max_send_message_length", -1), ("grpc.ssl_target_name_override", "127.0.0.1")]
        self.channel = (grpc.secure_channel(address, credentials, options) if credentials
                        else grpc.insecure_channel(address, options))

    def call(self, message, signal="logs", **options):
        """(status, details, google.rpc.Status) of a call; of one that went well the answer stands second."""
        try:
            return "OK", self.channel.unary_unary(METHODS[signal])(message, timeout=20, wait_for_ready=True, **options), None
        except grpc.RpcError as error:
            trailers = {key: value for key, value in error.trailing_metadata() or ()}
            return error.code().name, error.details(), trailers.get("grpc-status-details-bin", b"")


def test_answers_of_grpc(make_forebay, tmp_path):
    node = start(make_forebay, http={"max_body": "64KiB", "max_decoded_body": "64KiB"})
    client = Grpc(node.config["listen"]["otlp_grpc"])
    for signal in SIGNALS:
        assert client.call(b"", signal) == ("OK", b"", None)
    assert client.call(REQUEST)[:2] == ("OK", b"")
    # Long enough that gRPC compresses it.
    assert client.call(2 * REQUEST + b"\x7a\x64" + 100 * b"x", compression=grpc.Compression.Gzip)[:2] == ("OK", b"")
    assert client.call(REQUEST)[:2] == ("OK", b"")  # known
    partial = client.call(bytes.fromhex("0a07120512034a0161"))  # a trace id of one byte
    assert partial[0] == "OK" and partial[1][2:4] == b"\x08\x01" and b"bad_id" in partial[1]
    bad, text, status = client.call(b"\x0a\x7f")
    assert bad == "INVALID_ARGUMENT" and "ExportLogsServiceRequest" in text and status[:2] == b"\x08\x03"
    # Too large for good: no RetryInfo, so that nobody sends it again.
    assert client.call(b"\x7a" * (65 << 10))[0] == "RESOURCE_EXHAUSTED"
    too_large, text, status = client.call(b"\x00" * (1 << 20), compression=grpc.Compression.Gzip)
    assert too_large == "RESOURCE_EXHAUSTED" and "max_decoded_body" in text and b"RetryInfo" not in status
    assert client.call(REQUEST, compression=grpc.Compression.Deflate)[0] == "UNIMPLEMENTED"
    node.flush()
    assert [json.loads(row["Body"]) for row in node.rows("OtelLogs")] == 3 * ["abc"]
    assert node.metric("forebay_receive_deduplicated_logs_total") == 1
    with node.admin() as admin:
        admin.post("/-/drain")
    refused = wait_for("a refusal", lambda: (answer := client.call(b""))[0] == "UNAVAILABLE" and answer, 10)
    assert b"type.googleapis.com/google.rpc.RetryInfo" in refused[2]
    check(node)


def test_more_calls_at_once_than_there_is_room_for_are_told_to_come_again(make_forebay):
    node = start(make_forebay)
    # Small when sent and 8 MiB to inflate, so that calls come faster than they end.
    body = gzip.compress(REQUEST + b"\x7a" + b"\x80\x80\x80\x04" + bytes(8 << 20))
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(node.config["listen"]["otlp_grpc"], options) for _ in range(3)]
    waiting, refused = list(range(240)), 0
    for _ in range(20):
        calls = {key: channels[key % 3].unary_unary(METHODS["logs"]).future(body, timeout=60, metadata=[("idempotency-key", str(key))])
                 for key in waiting}
        waiting = []
        for key, call in calls.items():
            if call.code() == grpc.StatusCode.OK:
                continue
            trailers = dict(call.trailing_metadata() or ())
            assert call.code() == grpc.StatusCode.UNAVAILABLE, call.details()
            assert b"type.googleapis.com/google.rpc.RetryInfo" in trailers["grpc-status-details-bin"]
            waiting.append(key)
        refused += len(waiting)
        if not waiting:
            break
    for channel in channels:
        channel.close()
    assert refused > 0 and not waiting, f"{refused} refused, {len(waiting)} never taken"
    node.flush()
    assert len(node.rows("OtelLogs")) == 240
    check(node)


def test_grpc_has_the_tls_credentials_and_tenants_of_the_ingest_port(make_forebay, tmp_path):
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("server")
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    node = make_forebay(config={
        "listen": {"otlp_grpc": "127.0.0.1:0", "auth": {"bearer_file": str(tokens)},
                   "tls": {"cert_file": str(certificate), "key_file": str(key)}},
        "databases": [{"name": name, "sinks": [{"file": {"root": str(tmp_path / "out")}}]} for name in ("Metrics", "Other")],
    })
    address = wait_for("the gRPC port", lambda: [line["address"] for line in node.log_lines("listening")
                                                 if line.get("name") == "otlp_grpc"], 10)[0]
    client = Grpc(address, grpc.ssl_channel_credentials(authority.file.read_bytes()))
    assert client.call(REQUEST)[0] == "UNAUTHENTICATED"
    assert client.call(REQUEST, metadata=[("authorization", "Bearer wrong")])[0] == "UNAUTHENTICATED"
    metadata = [("authorization", "Bearer secret"), ("x-scope-orgid", "Other")]
    assert client.call(REQUEST, metadata=metadata)[0] == "OK"
    load = ["load", "--protocol", "otlp-grpc", "--signal", "logs", "--url", f"https://{address}", "--series", 10, "--samples", 10,
            "--ca", authority.file, "--tenant", "Other"]
    assert node.run(*load, "--bearer", "secret").returncode == 0
    refused = node.run(*load, "--bearer", "wrong")
    assert refused.returncode == 2 and "x 16" in refused.stdout  # UNAUTHENTICATED
    node.flush()
    node.out = tmp_path / "out"
    assert [row["_database"] for row in node.rows("OtelLogs")] == 11 * ["Other"]
    check(node)
