"""Prometheus as sender, with a SIGKILL of the node in the middle: every sample of its own database is in the rows.

What Prometheus' query API returns (it leaves stale markers out) is compared sample by sample: name, by table and
SeriesId, labels, timestamp and value. Stale markers are compared with what the scrapes say: where a series was there
at one scrape of its target and not at the next, and where the targets ended.
"""

import collections
import json

import pytest
from exporter import native_histogram
from forebay_harness import millis, value_key
from sender_run import check_duplicates, samples_by_series, series_key


@pytest.fixture(scope="module")
def stored(senders):
    """{series key: {timestamp: value key}} of the rows of metrics tables, each sample once."""
    by_series = samples_by_series(senders.rows("Prometheus"))
    check_duplicates(senders, by_series, "Prometheus")
    return {key: {timestamp: values[0] for timestamp, values in samples.items()}
            for key, samples in by_series.items()}


@pytest.fixture(scope="module")
def queried(senders):
    """{labels as a frozenset: {timestamp: float}}: every float sample that Prometheus has."""
    return senders.prometheus.raw_samples('{__name__=~".+"}', senders.begin - 5, senders.end)


def test_every_sample_that_prometheus_has_is_in_the_rows_exactly(stored, queried):
    expected = {}
    for labels, samples in queried.items():
        if samples:
            # Protobuf leaves zeros out, and Prometheus' encoder takes -0 for one.
            expected[series_key(dict(labels))] = {t: value_key(value + 0.0) for t, value in samples.items()}
    numbers = {key: {t: v for t, v in samples.items() if v != "stale"} for key, samples in stored.items()}
    numbers = {key: samples for key, samples in numbers.items() if samples}
    assert len(expected) > 500 and sum(len(samples) for samples in expected.values()) > 20000
    assert numbers.keys() == expected.keys()
    wrong = {key: (set(expected[key].items()) ^ set(numbers[key].items())) for key in expected
             if expected[key] != numbers[key]}
    assert not wrong, f"{len(wrong)} series differ, one of them: {next(iter(wrong.items()))}"


def test_the_kill_is_inside_the_compared_time(senders, queried):
    up = queried[frozenset({("__name__", "up"), ("job", "demo"),
                            ("instance", senders.prometheus_exporter.address)})]
    assert min(up) / 1000 < senders.killed - 20 and max(up) / 1000 > senders.back + 20
    assert max(up) - min(up) >= 59_000


def test_stale_markers_are_where_series_went_away(stored, queried):
    scrapes = {}  # (job, instance) -> times of its scrapes, in order
    for labels, samples in queried.items():
        named = dict(labels)
        if named["__name__"] == "up":
            scrapes[named["job"], named["instance"]] = sorted(samples)
    expected, at_the_end = collections.defaultdict(set), {}
    for labels, samples in queried.items():
        named = dict(labels)
        times = scrapes[named["job"], named["instance"]]
        key = series_key(named)
        for this, following in zip(times, times[1:]):
            if this in samples and following not in samples:
                expected[key].add(following)
        if times[-1] in samples:
            at_the_end[key] = (named["job"], named["instance"])
    found = {key: {t for t, value in samples.items() if value == "stale"} for key, samples in stored.items()}
    vanished = [key for key in expected if key[0] == "DemoComesAndGoes"]
    assert len(vanished) == 5 and all(len(expected[key]) >= 5 for key in vanished)
    ends = collections.defaultdict(set)
    for key, times in found.items():
        if key in at_the_end:
            last = scrapes[at_the_end[key]][-1]
            ends[at_the_end[key]] |= {t for t in times if t > last}
            times = {t for t in times if t <= last}
        assert times == expected.get(key, set()), f"{key}: stale at {times}, expected at {expected.get(key)}"
    # A target's end marks all its series at one time, about one interval after the last scrape.
    assert {target: len(times) for target, times in ends.items()} == dict.fromkeys(scrapes, 1)
    for target, times in ends.items():
        assert 0 < min(times) - scrapes[target][-1] < 5000
    missing = [key for key in at_the_end if not found[key] & ends[at_the_end[key]]]
    assert missing == []


def test_special_values_arrive_as_what_they_are(stored):
    seen = {dict(key[2])["kind"]: {value for value in samples.values() if value != "stale"}
            for key, samples in stored.items() if key[0] == "DemoSpecial"}
    assert seen == {"NaN": {"NaN"}, "+Inf": {"inf"}, "-Inf": {"-inf"}, "0": {"0.0"}, "-0": {"0.0"},
                    "1.7976931348623157e+308": {"1.7976931348623157e+308"}, "5e-324": {"5e-324"}}


def test_exemplars_are_those_that_prometheus_has(senders):
    answer = senders.prometheus.api("query_exemplars", query='{__name__=~".+"}', start=senders.begin - 5,
                                    end=senders.end)
    expected = {
        (series_key(one["seriesLabels"])[1:], frozenset(exemplar["labels"].items()),
         value_key(float(exemplar["value"])), round(exemplar["timestamp"] * 1000))
        for one in answer for exemplar in one["exemplars"]}
    rows = [row for row in senders.rows("Prometheus", side=True) if row["_table"] == "Exemplars"]
    found = {((int(row["SeriesId"]), frozenset(row["Labels"].items())),
              frozenset(json.loads(row["ExemplarLabels"]).items()), value_key(row["Value"]),
              millis(row["Timestamp"])) for row in rows}
    assert len(expected) > 100
    assert found == expected


def test_native_histograms_are_those_of_the_exporter(senders):
    selector = 'demo_native_seconds{job="native"}'
    answer = senders.prometheus.api("query", query=f"{selector}[300s]", time=f"{senders.end:.3f}")
    (series,) = answer["result"]
    expected = {round(t * 1000): (int(float(h["count"])), value_key(float(h["sum"]))) for t, h in series["histograms"]}
    key = series_key(series["metric"])
    found = {}
    for row in senders.rows("Prometheus", side=True):
        if row["_table"] != "NativeHistograms" or row["MetricName"] != "demo_native_seconds":
            continue
        assert (int(row["SeriesId"]), frozenset(row["Labels"].items())) == key[1:]
        if row["Sum"] == "":
            continue  # stale
        scrape = round(float(row["Sum"]) / 0.125)
        histogram = native_histogram(scrape)
        assert (row["Schema"], row["ZeroCount"], row["IsFloat"]) == ("1", "2", "false")
        assert float(row["ZeroThreshold"]) == 1e-9
        assert json.loads(row["PositiveBuckets"]) == [[i, n] for i, n in histogram["positive"].items() if n]
        assert json.loads(row["NegativeBuckets"]) == [[i, n] for i, n in histogram["negative"].items() if n]
        found[millis(row["Timestamp"])] = (int(row["Count"]), value_key(row["Sum"]))
    assert len(expected) > 50
    assert found == expected


def test_metadata_is_stored(senders):
    rows = [row for row in senders.rows("Prometheus", side=True) if row["_table"] == "MetricMetadata"]
    found = {row["MetricName"]: (row["Type"], row["Help"]) for row in rows}
    assert found["demo_requests_total"] == ("counter", "Requests.")
    assert found["demo_duration_seconds"] == ("histogram", "Durations.")


def test_no_sample_failed_and_none_was_dropped(senders):
    metric = senders.prometheus.metric
    for kind in ("samples", "exemplars", "histograms", "metadata"):
        assert metric(f"prometheus_remote_storage_{kind}_failed_total") == 0
        assert metric(f"prometheus_remote_storage_{kind}_dropped_total") == 0
    assert metric("prometheus_remote_storage_samples_retried_total") > 0, "the kill was not noticed"
    assert metric("prometheus_remote_storage_samples_total") > 20000
