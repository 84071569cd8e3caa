"""The cases of the public remote-write receiver compliance suite, and the header and partial-write tables
of the reference receiver, against the real binary: statuses, Written headers, and rows in the files."""

import math
import time

import pytest
from forebay_harness import millis, read_rows
from remote_write import (CONTENT_TYPE_V1, CONTENT_TYPE_V2, NORMAL_NAN_BITS, STALE, Bits, Exemplar, Histogram,
                          Metadata, Sample, Series, encode_v1, encode_v2, snappy)

NAN = Bits(NORMAL_NAN_BITS)
INF = math.inf
NONE = (None, None, None)
UP = {"__name__": "up", "job": "x"}


def now():
    return int(time.time() * 1000)


def send(receiver, series, version=2, **options):
    with receiver.writer() as writer:
        return (writer.send_v2 if version == 2 else writer.send_v1)(series, **options)


def check(response, status, written):
    assert response.status == status, response.text
    assert response.written == written
    if status == 204:
        assert response.body == b""
    else:
        assert response.text.strip()


def one(labels=UP, value=1.0, **parts):
    return Series(labels, [Sample(value, now())], **parts)


def histogram(**parts):
    """23 observations: 2 zero, positive 4 + 7 + 3, negative 2 + 5."""
    base = dict(timestamp=now(), count=23, sum=100.5, schema=0, zero_threshold=0.001, zero_count=2,
                positive_spans=[(0, 2), (1, 1)], positive=[4, 3, -4],
                negative_spans=[(0, 2)], negative=[2, 3])
    return Histogram(**{**base, **parts})


def custom(**parts):
    base = dict(timestamp=now(), count=9, sum=12.0, schema=-53, custom_values=[1.0, 5.0, 10.0],
                positive_spans=[(0, 3)], positive=[2, 1, 1])
    return Histogram(**{**base, **parts})


# --- Negotiation -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("content_type", [
    "application/json", "image/png", "application/x-protobuf;proto=unknown.Message", "application/x-protobuf;proto",
    "application/x-protobuf;proto=", "application/x-protobuf;", "text/plain;proto=prometheus.WriteRequest"])
@pytest.mark.parametrize("corrupt", [False, True])
def test_bad_content_types(receiver, content_type, corrupt):
    body = b"\xff\xffcorrupt" if corrupt else snappy(encode_v2([one()]))
    with receiver.writer() as writer:
        response = writer.post("/api/v1/write", body, {"Content-Type": content_type, "Content-Encoding": "snappy"})
    check(response, 415, NONE)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "identity"])
@pytest.mark.parametrize("version", [1, 2])
def test_bad_content_encodings(receiver, encoding, version):
    check(send(receiver, [one()], version, headers={"Content-Encoding": encoding}), 415, NONE)


@pytest.mark.parametrize("content_type, version", [
    (None, 1), (CONTENT_TYPE_V1, 1), (CONTENT_TYPE_V1 + ";proto=prometheus.WriteRequest", 1),
    (CONTENT_TYPE_V1 + " ; proto=prometheus.WriteRequest", 1), ("Application/X-Protobuf", 1),
    (CONTENT_TYPE_V2, 2), ("application/x-protobuf ;\tproto=io.prometheus.write.v2.Request", 2),
    ('application/x-protobuf; charset=utf-8; proto="io.prometheus.write.v2.Request"', 2)])
def test_good_content_types(receiver, content_type, version):
    response = send(receiver, [one()], version, headers={"Content-Type": content_type})
    check(response, 204, (1, 0, 0) if version == 2 else NONE)


@pytest.mark.parametrize("headers", [
    {"Content-Type": None, "Content-Encoding": None, "X-Prometheus-Remote-Write-Version": None, "User-Agent": None},
    {"Content-Encoding": None}, {"X-Prometheus-Remote-Write-Version": None},
    {"X-Prometheus-Remote-Write-Version": "7.7"}, {"Content-Encoding": "Snappy"}])
def test_headers_that_are_not_required(receiver, headers):
    check(send(receiver, [one()], 1, headers=headers), 204, NONE)


@pytest.mark.parametrize("path", ["/api/v1/write", "/receive", "/remote_write"])
def test_paths_and_methods(receiver, path):
    with receiver.writer(path) as writer:
        assert writer.send_v1([one()]).status == 204
        response = writer.get(path)
        assert response.status == 405
        assert "POST" in response.headers["allow"]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("spoil", [
    lambda body: b"\xff" + body[1:], lambda body: body[:-1], lambda body: b"", lambda body: b"\x00" * 16,
    lambda body: snappy(b"\x0a\xff\xff\xff"), lambda body: snappy(b"\x08")])
def test_corrupt_request_body(receiver, version, spoil):
    response = send(receiver, [one()], version, compress=lambda message: spoil(snappy(message)))
    check(response, 400, (0, 0, 0) if version == 2 else NONE)


def test_decoded_size_is_checked_before_it_is_allocated(receiver):
    body = b"\xff\xff\xff\xff\x0f" + b"\x00" * 10
    check(send(receiver, [], 2, compress=lambda _: body), 413, (0, 0, 0))


# --- Samples ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("value", [STALE, NAN, INF, -INF, 0.0, 1.5], ids=repr)
@pytest.mark.parametrize("labels", [
    {"__name__": "up"}, {"__name__": "up", "instance": "host:1", "job": "j"}, {"__name__": "up", "l": "line\nbreak"},
    {"__name__": "dots.in.name", "label.dot": "x"}, {"__name__": "blanks in name", "a label": "a value"}], ids=repr)
def test_single_metric(receiver, version, value, labels):
    check(send(receiver, [one(labels, value)], version), 204, (1, 0, 0) if version == 2 else NONE)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("labels", [{"job": "x"}, {}, {"__name__": ""}, {"__name__": "", "job": "x"}], ids=repr)
def test_no_metric_name(receiver, version, labels):
    check(send(receiver, [one(labels)], version), 400, (0, 0, 0) if version == 2 else NONE)


def test_multiple_metrics(receiver):
    good = [one({"__name__": f"multiple_{i}"}) for i in range(4)]
    bad = [one({"job": str(i)}) for i in range(4)]
    check(send(receiver, good), 204, (4, 0, 0))
    check(send(receiver, bad), 400, (0, 0, 0))
    partial = send(receiver, good[:3] + bad[:1])
    check(partial, 400, (3, 0, 0))
    assert partial.text.startswith("1 of 4 series refused: 1 no_metric_name")


def test_counter_with_created_timestamp(receiver):
    check(send(receiver, [one({"__name__": "c_total"}, created_timestamp=now() - 5000)]), 204, (1, 0, 0))
    series = Series({"__name__": "c_total"}, [Sample(1.0, now(), start_timestamp=now() - 5000)])
    check(send(receiver, [series]), 204, (1, 0, 0))


@pytest.mark.parametrize("labels", [
    [("__name__", "up"), ("a", "1"), ("a", "2")], [("a", "1"), ("__name__", "up"), ("a", "1")],
    [("__name__", "up"), ("", "1")], [("__name__", b"\xff")], [("__name__", "up"), ("a", b"\xc3")],
    [("__name__", "up"), ("a", b"\xed\xa0\x80")]], ids=repr)
@pytest.mark.parametrize("version", [1, 2])
def test_bad_labels_are_refused_and_the_rest_is_kept(receiver, labels, version):
    check(send(receiver, [one(), one(labels), one()], version), 400, (2, 0, 0) if version == 2 else NONE)


@pytest.mark.parametrize("bad", [
    Series({}, [Sample(1.0, 1)], label_refs=[1, 2, 3]), Series({}, [Sample(1.0, 1)], label_refs=[1, 999]),
    one(metadata=Metadata(1, unit_ref=999)), one(metadata=Metadata(1, help_ref=999)),
    Series(UP), Series(UP, exemplars=[Exemplar([], 1.0, 1)]), Series(UP, metadata=Metadata(1, "help"))],
    ids=["odd refs", "ref 999", "unit_ref 999", "help_ref 999", "nothing", "exemplar only", "metadata only"])
def test_partial_write_rows(receiver, bad):
    check(send(receiver, [one(), bad, one()]), 400, (2, 0, 0))


def test_symbols_need_not_begin_with_an_empty_one(receiver):
    check(send(receiver, [one()], symbols=["__name__"]), 204, (1, 0, 0))


# --- Histograms ------------------------------------------------------------------------------------------------------

EMPTY = dict(count=0, sum=0.0, zero_count=0, positive_spans=[], positive=[], negative_spans=[], negative=[])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("parts", [
    histogram(), custom(), histogram(count=16, negative_spans=[], negative=[]),
    histogram(count=9, positive_spans=[], positive=[]),
    histogram(**{**EMPTY, "count": 2, "zero_count": 2}), histogram(**EMPTY),
    histogram(float_flavour=True, count=23.5, zero_count=2.5, positive=[4.0, 7.0, 3.0], negative=[2.0, 5.0]),
    histogram(sum=NAN, count=30)],
    ids=["all", "custom", "positive", "negative", "zero", "empty", "float", "nan sum"])
def test_histograms(receiver, version, parts):
    series = Series({"__name__": "h_seconds"}, histograms=[parts])
    check(send(receiver, [series], version), 204, (0, 1, 0) if version == 2 else NONE)


@pytest.mark.parametrize("parts", [
    histogram(count=99), histogram(schema=9), histogram(schema=-5), histogram(positive=[4, 3]),
    histogram(positive=[4, -5, 1]), histogram(positive_spans=[(0, 2), (-1, 1)]), histogram(custom_values=[1.0]),
    custom(zero_count=1), custom(zero_threshold=0.1), custom(custom_values=[1.0, 1.0, 2.0]),
    custom(custom_values=[1.0, INF, 2.0]), custom(custom_values=[1.0]), custom(positive_spans=[(-1, 3)]),
    custom(negative_spans=[(0, 1)], negative=[0]),
    histogram(float_flavour=True, positive=[-4.0, 7.0, 3.0], negative=[2.0, 5.0])])
def test_invalid_histograms(receiver, parts):
    check(send(receiver, [Series({"__name__": "h_seconds"}, histograms=[parts, histogram()])]), 400, (0, 1, 0))


def test_multiple_histograms_with_created_timestamp_metadata_and_exemplar(receiver):
    name = {"__name__": "h_seconds"}
    check(send(receiver, [Series(name, histograms=[histogram()]), Series(name, histograms=[custom()])]),
          204, (0, 2, 0))
    whole = Series(name, histograms=[histogram(start_timestamp=now() - 1000)], metadata=Metadata(3, "help", "s"),
                   exemplars=[Exemplar([("trace_id", "abc")], 0.5, now())], created_timestamp=now() - 2000)
    check(send(receiver, [whole]), 204, (0, 1, 1))


# --- Exemplars and metadata ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("labels", [
    [("trace_id", "abc")], [("trace_id", "abc"), ("span_id", "def")], [("user", "u"), ("zone", "z")], [],
    [("quote", '"\\,\n')], [("ünï", "\U0001f600")]], ids=repr)
def test_exemplars(receiver, labels):
    check(send(receiver, [one(exemplars=[Exemplar(labels, 1.0, now())])]), 204, (1, 0, 1))


@pytest.mark.parametrize("value", [0.0, -1.0, 1e10, 1e-10, NAN, INF, -INF], ids=repr)
def test_exemplar_special_values(receiver, value):
    check(send(receiver, [one(exemplars=[Exemplar([("trace_id", "a")], value, now())])]), 204, (1, 0, 1))


@pytest.mark.parametrize("offset", [0, -1, -3_600_000, 1000])
def test_exemplar_timestamps_and_several_exemplars(receiver, offset):
    exemplars = [Exemplar([("trace_id", str(i))], 1.0, now() + offset) for i in range(3)]
    check(send(receiver, [one(exemplars=exemplars)]), 204, (1, 0, 3))


@pytest.mark.parametrize("labels, status, written", [
    ({"job": "x"}, 400, (0, 0, 0)), ({"__name__": ""}, 400, (0, 0, 0)), (UP, 204, (1, 0, 1))])
def test_exemplar_and_metadata_validation(receiver, labels, status, written):
    exemplars = [Exemplar([("trace_id", "a")], 1.0, now())]
    check(send(receiver, [one(labels, exemplars=exemplars)]), status, written)
    check(send(receiver, [one(labels, metadata=Metadata(1, "help"))]), status, (*written[:2], 0))


@pytest.mark.parametrize("metadata", [
    *[Metadata(number, "help", "s") for number in range(8)], Metadata(1), Metadata(1, "help"), Metadata(1, "", "s"),
    Metadata(1, 'quote " comma , line\nü \U0001f600', "µs")], ids=repr)
def test_metadata(receiver, metadata):
    check(send(receiver, [one(metadata=metadata)]), 204, (1, 0, 0))
    with receiver.writer() as writer:
        check(writer.send_v1([], [("up", metadata)]), 204, NONE)


# --- Mixes -----------------------------------------------------------------------------------------------------------

def test_edge_case_combinations(receiver):
    mixed = Series({"__name__": "edge"}, [Sample(1.0, now() - 3_600_000), Sample(2.0, now())],
                   [Exemplar([("trace_id", "a")], 1.0, now() - 1_800_000)])
    check(send(receiver, [mixed]), 204, (2, 0, 1))
    check(send(receiver, []), 204, (0, 0, 0))
    check(send(receiver, [Series({"__name__": "late"}, [Sample(1.0, now()), Sample(1.0, now() - 1000),
                                                        Sample(2.0, now() - 1000)])]), 204, (3, 0, 0))


def test_many_samples_and_many_histograms(receiver):
    exemplar = [Exemplar([("trace_id", "a")], 1.0, now())]
    metadata = Metadata(1, "help", "s")
    many = [one({"__name__": f"many_{i}"}, exemplars=exemplar, metadata=metadata) for i in range(50)]
    check(send(receiver, many), 204, (50, 0, 50))
    many = [Series({"__name__": f"many_h_{i}"}, histograms=[histogram()], exemplars=exemplar, metadata=metadata)
            for i in range(50)]
    check(send(receiver, many), 204, (0, 50, 50))


def test_samples_and_histograms_of_one_series(receiver):
    check(send(receiver, [one(histograms=[histogram(), custom()])]), 204, (1, 2, 0))


def test_rw1_basic_compatibility(receiver):
    labels = [("job", "x"), ("__name__", "rw1_unsorted"), ("instance", "i")]
    response = send(receiver, [one(labels)], 1, headers={"X-Prometheus-Remote-Write-Version": None})
    check(response, 204, NONE)


def test_rw1_error_handling(receiver):
    check(send(receiver, [one()], 1, compress=lambda message: b"\xff" + snappy(message)[1:]), 400, NONE)


# --- What is in the files --------------------------------------------------------------------------------------------

def test_rows_of_both_versions_are_equal(fresh):
    node = fresh()
    time_ms = 1_762_000_000_123
    labels = [("job", "x,\"y\""), ("__name__", "http_requests_total"), ("é", "line\nbreak")]
    for version in (1, 2):
        assert send(node, [Series(labels, [Sample(0.1, time_ms + version)])], version).status == 204
    node.flush()
    rows = sorted(node.rows("HttpRequestsTotal"), key=lambda row: row["Timestamp"])
    assert [millis(row["Timestamp"]) for row in rows] == [time_ms + 1, time_ms + 2]
    assert {row["SeriesId"] for row in rows} == {rows[0]["SeriesId"]}
    for row in rows:
        assert row["Labels"] == {"job": "x,\"y\"", "é": "line\nbreak"}
        assert row["Value"] == "0.1"


def test_special_values_in_rows(fresh):
    node = fresh()
    values = [(STALE, ""), (NAN, "NaN"), (INF, "Infinity"), (-INF, "-Infinity"), (-0.0, "-0"), (5e-324, "5e-324")]
    samples = [Sample(value, 1000 + i) for i, (value, _) in enumerate(values)]
    check(send(node, [Series({"__name__": "special"}, samples)]), 204, (6, 0, 0))
    node.flush()
    rows = sorted(node.rows("Special"), key=lambda row: millis(row["Timestamp"]))
    assert [row["Value"] for row in rows] == [text for _, text in values]
    assert node.metric("forebay_receive_stale_markers_total") == 1


def test_partial_write_keeps_exactly_the_good_rows(fresh):
    node = fresh()
    check(send(node, [one({"__name__": "good"}), one({"job": "bad"}), one({"__name__": "good", "a": "1"})]),
          400, (2, 0, 0))
    node.flush()
    assert len(node.rows()) == 2
    assert node.metric("forebay_receive_received_samples_total") == 3
    assert node.metric("forebay_receive_samples_total") == 2
    assert node.metric("forebay_receive_refused_samples_total", reason="no_metric_name") == 1


def test_side_tables(fresh):
    node = fresh()
    time_ms = 1_762_000_000_123
    series = Series({"__name__": "h_seconds", "job": "x"}, [Sample(1.0, time_ms)],
                    [Exemplar([("trace_id", "abc")], 0.25, time_ms)],
                    [histogram(timestamp=time_ms, start_timestamp=time_ms - 1000)],
                    Metadata(3, 'Help, "quoted"', "seconds"))
    check(send(node, [series]), 204, (1, 1, 1))
    node.flush()
    sample, = node.rows("HSeconds")
    exemplar, = node.rows("Exemplars")
    assert exemplar["SeriesId"] == sample["SeriesId"]
    assert exemplar["MetricName"] == "h_seconds"
    assert exemplar["Labels"] == {"job": "x"}
    assert exemplar["ExemplarLabels"] == '{"trace_id":"abc"}'
    assert exemplar["Value"] == "0.25"
    row, = node.rows("NativeHistograms")
    expected = {
        "Timestamp": exemplar["Timestamp"], "SeriesId": sample["SeriesId"], "MetricName": "h_seconds",
        "Labels": {"job": "x"}, "Schema": "0", "Count": "23", "Sum": "100.5", "ZeroThreshold": "0.001",
        "ZeroCount": "2", "PositiveBuckets": "[[0,4],[1,7],[3,3]]", "NegativeBuckets": "[[0,2],[1,5]]",
        "CustomValues": "[]", "IsFloat": "false", "ResetHint": "unknown"}
    assert {key: row[key] for key in expected} == expected
    assert millis(row["StartTimestamp"]) == time_ms - 1000
    metadata, = node.rows("MetricMetadata")
    assert (metadata["MetricName"], metadata["Type"], metadata["Help"], metadata["Unit"]) == (
        "h_seconds", "histogram", 'Help, "quoted"', "seconds")


def test_databases_by_label_and_tenant(fresh, tmp_path):
    out = tmp_path / "out"
    node = fresh({"databases": [{"name": name, "sinks": [{"file": {"root": str(out)}}]}
                                for name in ("Metrics", "TeamB")]})
    check(send(node, [one({"__name__": "up", "adxmon_database": "TeamB", "adxmon_x": "1"})]), 204, (1, 0, 0))
    check(send(node, [one()], headers={"X-Scope-OrgID": "TeamB"}), 204, (1, 0, 0))
    check(send(node, [one()]), 204, (1, 0, 0))
    check(send(node, [one({"__name__": "up", "adxmon_database": "Nowhere"})]), 400, (0, 0, 0))
    node.flush()
    by_database = {}
    for row in read_rows(out):
        by_database.setdefault(row["_database"], []).append(row["Labels"])
    assert by_database["Metrics"] == [{"job": "x"}]
    assert sorted(map(len, by_database["TeamB"])) == [0, 1]


def test_acknowledged_rows_survive_a_kill(fresh):
    node = fresh({"generation": {"max_age": "1h"}})
    check(send(node, [one({"__name__": "kept"}), one({"job": "refused"})]), 400, (1, 0, 0))
    check(send(node, [one({"__name__": "kept"})], 1), 204, NONE)
    node.restart(kill=True)
    node.flush()
    assert len(node.rows("Kept")) == 2
