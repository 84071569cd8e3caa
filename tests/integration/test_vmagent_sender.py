"""vmagent as sender, with a SIGKILL of the node in the middle: the rows say what the exporter showed.

The exporter's pages are known by number, and the counter of instance i0 is that number; so every scrape that
succeeded names its page, and all other values of that time must be the page's.
"""

import collections
import math

import pytest
from exporter import page
from forebay_harness import parse_metrics, value_key
from sender_run import check_duplicates, samples_by_series, series_key

# What vmagent adds to a scrape.
AUTO_TABLES = ("Up", "ScrapeDurationSeconds", "ScrapeSamplesScraped", "ScrapeSamplesPostMetricRelabeling",
               "ScrapeSeriesAdded", "ScrapeTimeoutSeconds", "ScrapeSeriesCurrent", "ScrapeSeriesLimit")


@pytest.fixture(scope="module")
def stored(senders):
    """{series key: {timestamp: value key}}, each sample once."""
    by_series = samples_by_series(senders.rows("Vmagent"))
    check_duplicates(senders, by_series, "vmagent")
    return {key: {timestamp: values[0] for timestamp, values in samples.items()}
            for key, samples in by_series.items()}


@pytest.fixture(scope="module")
def scrapes(senders, stored):
    """[(timestamp, page number)] of the scrapes that succeeded, in order."""
    target = {"job": "demo", "instance": senders.vmagent_exporter.address}
    up = stored[series_key({"__name__": "up", **target})]
    counter = stored[series_key({"__name__": "demo_requests_total", "instance_id": "i0", "method": "POST", **target})]
    return [(t, int(float(counter[t]))) for t in sorted(up) if up[t] == "1.0"]


@pytest.fixture(scope="module")
def expected(senders, scrapes):
    """{series key: {timestamp: value key}} as the pages say, without stale markers."""
    target = {"job": "demo", "instance": senders.vmagent_exporter.address}
    result = collections.defaultdict(dict)
    for timestamp, number in scrapes:
        shown = parse_metrics(page(number, senders.vmagent_exporter.instances))
        for (name, labels), value in shown.items():
            key = series_key({"__name__": name, **dict(labels), **target})
            result[key][timestamp] = value_key(value)
    return result


def test_no_page_was_lost(senders, scrapes):
    served = senders.vmagent_exporter.served["/metrics"]
    numbers = [number for _, number in scrapes]
    assert numbers == sorted(set(numbers))
    # A page whose scrape failed (up is 0) is not in the rows; every other is.
    assert set(numbers) <= set(range(len(served))) and len(numbers) >= len(served) - 3
    for timestamp, number in scrapes:
        assert abs(timestamp / 1000 - served[number]) < 2
    assert scrapes[0][0] / 1000 < senders.killed - 20 and scrapes[-1][0] / 1000 > senders.back + 20
    assert scrapes[-1][0] - scrapes[0][0] >= 59_000


def same(left, right):
    """vmagent's own reader of numbers is off by some last digits for the smallest ones."""
    return left == right or math.isclose(float(left), float(right), rel_tol=1e-15)


def test_every_value_is_that_of_the_exporter(stored, scrapes, expected):
    good = {timestamp for timestamp, _ in scrapes}
    found = {key: {t: value for t, value in samples.items() if t in good and value != "stale"}
             for key, samples in stored.items() if key[0] not in AUTO_TABLES}
    assert sum(len(samples) for samples in expected.values()) > 2000
    assert found.keys() == expected.keys()
    for key, samples in expected.items():
        assert found[key].keys() == samples.keys(), key
        wrong = [(t, value, found[key][t]) for t, value in samples.items() if not same(value, found[key][t])]
        assert not wrong, f"{key} (time, expected, found): {wrong[:5]}"


def test_series_that_go_away_end_with_stale_markers(stored, scrapes, expected):
    times = [timestamp for timestamp, _ in scrapes]
    markers = 0
    for key, samples in expected.items():
        # vmagent marks with the time of its doing so, some ms after the scrape that lacked the series.
        found = [t for t, value in stored[key].items() if value == "stale" and t < times[-1]]
        ends = [(at, after) for before, at, after in zip(times, times[1:], times[2:])
                if before in samples and at not in samples]
        assert len(found) == len(ends) and all(at <= t < after for t, (at, after) in zip(sorted(found), ends)), key
        markers += len(found)
    assert markers >= 25


def test_the_end_of_the_target_marks_all_its_series(stored, scrapes, expected):
    last = scrapes[-1][0]
    present = [key for key, samples in expected.items() if last in samples]
    assert len(present) > 30
    unmarked = [key for key in present if "stale" not in [v for t, v in stored[key].items() if t > last]]
    assert unmarked == []


def test_nothing_was_dropped_by_the_sender(senders):
    metric = senders.vmagent.metric
    assert metric("vmagent_remotewrite_packets_dropped_total") == 0
    assert metric("vmagent_remotewrite_retries_count_total") > 0, "the kill was not noticed"
    assert senders.forebay.metric("forebay_receive_refused_samples_total") == 0
