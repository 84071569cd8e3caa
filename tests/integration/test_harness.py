"""The helpers themselves: what they encode is what others decode, and their programs start and stop."""

import gzip
import math
import struct
import subprocess
import time

import pytest
from forebay_harness import (AWKWARD_VALUES, STALE, Exemplar, Exporter, Forebay, Histogram, HttpClient, Metadata,
                             Prometheus, Sample, Series, VmAgent, encode_v1, encode_v2, metric_sum, millis,
                             parse_log, parse_metrics, program, proper_case, read_rows, samples_of, snappy,
                             snappy_literals, value_key, wait_for, xxhash64)
from processes import Process


def decode(data):
    """Protobuf fields as a list of (number, value); length-delimited values stay bytes."""
    fields, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        else:
            length = number()
            value, at = data[at:at + length], at + length
        fields.append((key >> 3, value))
    return fields


@pytest.mark.parametrize("data", [b"", b"a", b"x" * 59, b"y" * 60, b"z" * 61, bytes(range(256)) * 700])
def test_snappy_blocks_are_read_by_the_library(data):
    library = pytest.importorskip("snappy")
    assert library.decompress(snappy_literals(data)) == data
    assert library.decompress(snappy(data)) == data


def test_a_version_1_request_has_the_fields_of_the_specification():
    series = Series({"__name__": "up", "job": "a"}, [Sample(1.5, 1234), Sample(STALE, -5)],
                    [Exemplar([("trace_id", "t")], 2.0, 7)])
    (field, body), (metadata_field, metadata) = decode(encode_v1([series], [("up", Metadata(2, "H", "U"))]))
    assert (field, metadata_field) == (1, 3)
    labels = [decode(value) for number, value in decode(body) if number == 1]
    assert labels == [[(1, b"__name__"), (2, b"up")], [(1, b"job"), (2, b"a")]]
    samples = [decode(value) for number, value in decode(body) if number == 2]
    assert samples == [[(1, struct.unpack("<Q", struct.pack("<d", 1.5))[0]), (2, 1234)],
                       [(1, 0x7FF0000000000002), (2, 2**64 - 5)]]
    assert [n for n, _ in decode(body)] == [1, 1, 2, 2, 3]
    assert decode(metadata) == [(1, 2), (2, b"up"), (4, b"H"), (5, b"U")]


def test_a_version_2_request_shares_its_symbols():
    series = [Series({"__name__": "up", "job": "up"}, [Sample(0.0, 1, 2)], metadata=Metadata(1, "help")),
              Series([], label_refs=[1, 999], created_timestamp=4)]
    fields = decode(encode_v2(series))
    assert [value for number, value in fields if number == 4] == [b"", b"__name__", b"up", b"job", b"help"]
    first, second = (decode(value) for number, value in fields if number == 5)
    assert first == [(1, bytes([1, 2, 3, 2])), (2, bytes([0x10, 1, 0x18, 2])), (5, bytes([8, 1, 0x18, 4]))]
    assert second == [(1, bytes([1, 0xE7, 7])), (6, 4)]


def test_a_histogram_has_zigzag_schema_spans_and_deltas():
    histogram = Histogram(timestamp=9, count=3, sum=1.0, schema=-1, zero_count=1, positive_spans=[(-2, 2)],
                          positive=[1, -1])
    (_, encoded), = [field for field in decode(decode(encode_v1([Series({}, histograms=[histogram])]))[0][1])]
    fields = dict(decode(encoded))
    assert (fields[1], fields[4], fields[6], fields[15]) == (3, 1, 1, 9)
    assert decode(fields[11]) == [(1, 3), (2, 2)]
    assert fields[12] == bytes([2, 1])


@pytest.mark.parametrize("metric, table", [
    ("http_requests_total", "HttpRequestsTotal"), ("a::b", "AB"), ("_x", "X"), ("a_1b", "A1b"), ("up", "Up"),
    ("ünï", "N"), ("a.b c", "ABC")])
def test_table_names_are_those_of_adx_mon(metric, table):
    assert proper_case(metric) == table


def test_times_are_read_exactly():
    assert millis("1970-01-01T00:00:00Z") == 0
    assert millis("2026-11-01T00:00:00.12Z") == 1793491200120
    assert millis("1969-12-31T23:59:59.999Z") == -1
    with pytest.raises(AssertionError):
        millis("2026-11-01 00:00:00")


def test_log_lines_are_parsed_in_both_formats():
    text = 'ts=x level=info msg=listening name=ingest address=127.0.0.1:1\nnoise\n{"msg":"a b","n":"1"}\n' \
           'msg="disk \\"full\\"" free=0\n'
    assert parse_log(text) == [
        {"ts": "x", "level": "info", "msg": "listening", "name": "ingest", "address": "127.0.0.1:1"},
        {"msg": "a b", "n": "1"}, {"msg": 'disk "full"', "free": "0"}]


def test_metrics_are_parsed_with_awkward_labels():
    metrics = parse_metrics('# HELP a x\na{l="q\\"c,}\\n\\\\",m="2"} 3\na{m="2"} 4 17\nb +Inf\nc NaN\n')
    assert metrics[("a", (("l", 'q"c,}\n\\'), ("m", "2")))] == 3
    assert metric_sum(metrics, "a", m="2") == 7
    assert metrics[("b", ())] == math.inf and math.isnan(metrics[("c", ())])
    with pytest.raises(AssertionError):
        parse_metrics("a 1\na 2\n")


@pytest.mark.parametrize("schema_name, schema", [
    ("schema.csv", "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real,Host:string\n"),
    ("../../../h1.schema.json", '{"columns":[{"name":"Timestamp"},{"name":"SeriesId"},{"name":"Labels"},'
                       '{"name":"Value"},{"name":"Host"}]}')])
def test_rows_are_read_with_the_columns_of_the_schema_file(tmp_path, schema_name, schema):
    folder = tmp_path / "Metrics" / "Up" / "2026" / "11" / "01"
    folder.mkdir(parents=True)
    (folder / schema_name).write_text(schema)
    (folder / "b1.csv.gz").write_bytes(gzip.compress(
        b'Timestamp,SeriesId,Labels,Value,Host\n'
        b'2026-11-01T00:00:00.5Z,-1,"{""a"":""x\\ny""}",1.5,"h,1"\n2026-11-01T00:00:00Z,-1,"{""a"":""x\\ny""}",2,h\n'))
    (folder / "b2.csv.gz.tmp").write_bytes(b"unfinished")
    rows = read_rows(tmp_path)
    assert [row["Host"] for row in rows] == ["h,1", "h"]
    assert rows[0]["Labels"] == {"a": "x\ny"} and rows[0]["_database"] == "Metrics"
    assert read_rows(tmp_path, table="Down") == []
    assert samples_of(rows) == {
        ("Up", frozenset({("a", "x\ny")})): [(1793491200000, 2.0), (1793491200500, 1.5)]}


@pytest.mark.parametrize("data, expected", [
    (b"", 0xEF46DB3751D8E999), (b"a", 0xD24EC4F1A98C6E5B), (b"abc", 0x44BC2CF5AD770999),
    (b"xxhash", 0x32DD38952C4BC720), (b"Call me Ishmael. Some years ago--never mind how long precisely-",
                                      0x02A2E85470D6FD96)])
def test_xxhash64_has_the_published_values(data, expected):
    assert xxhash64(data) == expected


def test_values_are_compared_exactly():
    assert [value_key(text) for text in ("", "NaN", "-0", "0", "Infinity", "1e-09")] == \
        ["stale", "NaN", "-0.0", "0.0", "inf", "1e-09"]
    assert value_key(float("nan")) == "NaN" and value_key(0.1 + 0.2) != value_key("0.3")


def test_the_exporter_is_clean_and_its_series_come_and_go():
    with Exporter() as exporter, HttpClient(f"http://{exporter.address}") as client:
        pages = [client.get("/metrics").text for _ in range(10)]
    check = subprocess.run([program("promtool"), "check", "metrics"], input=pages[0], text=True, capture_output=True)
    assert "error" not in check.stderr.lower(), check.stderr
    parsed = [parse_metrics(page) for page in pages]
    texts = {dict(pairs).get("text") for name, pairs in parsed[0] if name == "demo_awkward_info"}
    assert texts == set(AWKWARD_VALUES.values())
    present = [("demo_comes_and_goes", (("phase", "0"),)) in page for page in parsed]
    assert present == [True] * 5 + [False] * 5


def test_prometheus_scrapes_and_answers_with_raw_samples(tmp_path):
    with Exporter() as exporter:
        with Prometheus(tmp_path, targets={"demo": [exporter.address]}).start() as prometheus:
            wait_for("three scrapes", lambda: exporter.scrapes >= 3)
            series = wait_for("samples", lambda: prometheus.raw_samples(
                'demo_requests_total{instance_id="i0"}', time.time() - 60, time.time()))
            assert prometheus.metric("prometheus_tsdb_head_series") > 10
            (labels, samples), = series.items()
            assert ("__name__", "demo_requests_total") in labels
            assert sorted(samples.values()) == [float(n) for n in range(len(samples))]
        assert prometheus.process.poll() == 0


def test_vmagent_starts_and_scrapes(tmp_path):
    with Exporter() as exporter:
        url = "http://127.0.0.1:9/nobody"
        with VmAgent(tmp_path, [url], {"demo": [exporter.address]}).start() as agent:
            wait_for("two scrapes", lambda: exporter.scrapes >= 2)
            assert agent.metric("vm_promscrape_dials_total") >= 1


def test_a_process_that_ends_at_once_is_told_with_its_log(tmp_path):
    process = Process("sh", tmp_path)
    process.spawn(["sh", "-c", "echo the reason; exit 3"])
    process.wait_exit()
    with pytest.raises(AssertionError, match="status 3:\nthe reason"):
        process.wait_ready("http://127.0.0.1:9/")
    assert process.kill9() == 3


def test_only_variables_given_to_the_test_reach_the_daemon(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREBAY_BIN", "x")
    process = Process("sh", tmp_path)
    process.spawn(["sh", "-c", 'echo "${FOREBAY_BIN-unset} $FOREBAY_DURABILITY"'],
                  {"FOREBAY_DURABILITY": "none"}, unset="FOREBAY_")
    assert process.wait_exit() == 0 and process.run_log == "unset none\n"


def test_the_ports_are_kept_over_a_restart(tmp_path):
    node = Forebay(tmp_path, {"listen": {"admin": "127.0.0.1:0"}, "log": {"level": "debug"}})
    node.spawn(["sh", "-c", "echo msg=listening name=ingest address=127.0.0.1:11 >&2;"
                            "echo msg=listening name=admin address=127.0.0.1:12 >&2; exec sleep 60"])
    node.wait_listening()
    node.kill9()
    assert node.write_url == "http://127.0.0.1:11/api/v1/write"
    assert node.config["listen"] == {"ingest": "127.0.0.1:11", "admin": "127.0.0.1:12"}
    assert node.config["databases"][0]["name"] == "Metrics" and node.config["log"]["level"] == "debug"
