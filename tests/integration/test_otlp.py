"""OpenTelemetry in: the exporters of the real SDK through a SIGKILL, and answers that no SDK shows."""

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

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = pathlib.Path(os.environ.get("FOREBAY_OTEL_MODULES", ROOT / "build" / "tools" / "otel"))
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
    node.flush()
    node.out = tmp_path / "out"
    assert [row["_database"] for row in node.rows("OtelLogs")] == ["Other"]
    check(node)
