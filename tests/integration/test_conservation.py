"""Where every row is, by the node's own metrics: exact numbers for each way that a row can go."""

import conservation
import pytest
from accounting import PROMETHEUS, Account, Senders
from drained import settle
from forebay_harness import Exemplar, Histogram, Metadata, Sample, Series, wait_for
from node_fixtures import SANITIZER

TIME = 1_700_000_000_000


def sink(path, name=None):
    return {"file": {"root": str(path)}, **({"name": name} if name else {})}


def states(node, database="Metrics"):
    """The states that are not zero."""
    rows = conservation.check(node).get(database, {})
    return {name: rows[name] for name in conservation.NAMES if name not in ("in", "out") and rows.get(name)}


def send(node, *series, status=204, version=1, tenant=None):
    with node.writer() as writer:
        response = (writer.send_v1 if version == 1 else writer.send_v2)(
            series, headers={"X-Scope-OrgID": tenant})
    assert response.status == status, response.text


def samples(name, *values, **labels):
    return Series({"__name__": name, **labels}, [Sample(float(value), TIME + value) for value in values])


@pytest.fixture
def node(make_forebay, tmp_path):
    """Two databases, the second with two sinks and a rule."""
    out = tmp_path / "forebay" / "out"
    return make_forebay({
        "generation": {"max_age": "1h"},
        "databases": [
            {"name": "Metrics", "sinks": [sink(out)]},
            {"name": "Platform", "sinks": [sink(out, "one"), sink(tmp_path / "second", "two")],
             "relabel_configs": [{"source_labels": ["__name__"], "regex": "noise.*", "action": "drop"}]}],
        "upload": {"retry_initial": "20ms", "retry_max": "100ms"}})


def test_each_way_of_a_row_is_counted_for_its_database(node):
    first = samples("kept", 1, 2)
    send(node, first)
    send(node, first)  # the same bytes
    send(node, samples("good", 3), Series({"job": "nameless"}, [Sample(4.0, TIME)]), status=400)
    send(node, samples("kept", 5, adxmon_database="Platform"), samples("noise", 6, adxmon_database="Platform"))
    send(node, samples("noise_of_tenant", 7, 8), tenant="Platform")
    assert states(node) == {"received": 7, "deduplicated": 2, "dropped": 1, "refused": 1, "pending": 3}
    assert states(node, "Platform") == {"received": 3, "dropped": 2, "pending": 1}
    node.flush()
    assert states(node) == {"received": 7, "deduplicated": 2, "dropped": 1, "refused": 1, "uploaded": 3}
    assert states(node, "Platform") == {"received": 3, "dropped": 2, "uploaded": 1}


def test_histograms_exemplars_and_metadata_are_rows_too(node):
    series = Series({"__name__": "all"}, [Sample(1.0, TIME)],
                    exemplars=[Exemplar([("trace", "a")], 1.0, TIME)],
                    histograms=[Histogram(timestamp=TIME, count=0, sum=0.0)], metadata=Metadata(1, "help", "unit"))
    send(node, series, version=2)
    assert states(node) == {"received": 4, "pending": 4}
    send(node, Series({"__name__": "all"}, [Sample(2.0, TIME)], metadata=Metadata(1, "help", "unit")), version=2)
    assert states(node) == {"received": 6, "deduplicated": 1, "pending": 5}
    node.flush()
    assert states(node) == {"received": 6, "deduplicated": 1, "uploaded": 5}


def test_what_cannot_be_decoded_is_apart(node):
    with node.writer() as writer:
        assert writer.send(b"\xff\xff", "application/x-protobuf", "0.1.0").status == 400
    assert states(node) == {}
    assert node.metric("forebay_receive_undecodable_requests_total") == 1


@pytest.mark.parametrize("kill", [True, False])
def test_what_a_run_finds_is_recovered_and_the_equation_begins_anew(node, kill):
    send(node, samples("kept", 1, 2, 3))
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200
    send(node, samples("kept", 4, 5))
    assert states(node) == {"received": 5, "pending": 5}
    node.restart(kill=kill)
    wait_for("the end of the recovery", lambda: node.metric("forebay_wal_recovering") == 0)
    assert states(node) == {"recovered": 5, "pending": 5}
    node.flush()
    assert states(node) == {"recovered": 5, "uploaded": 5}


def test_rows_are_uploaded_when_the_last_sink_has_them(node, tmp_path):
    (tmp_path / "second").write_text("a file where the sink wants its directory")
    send(node, samples("kept", 1, 2), tenant="Platform")
    with node.admin() as client:
        assert client.post("/-/flush?timeout=2s").status == 503
    assert len(node.rows("Kept")) == 2
    assert states(node, "Platform") == {"received": 2, "pending": 2}
    (tmp_path / "second").unlink()
    wait_for("the second sink", lambda: states(node, "Platform") == {"received": 2, "uploaded": 2})


def test_rows_of_a_damaged_block_are_quarantined(node):
    send(node, samples("kept", 1, 2, 3), samples("good", 4))
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200
    (segment,) = (node.data / "segments").glob("*_Kept_*")
    data = bytearray(segment.read_bytes())
    data[40] ^= 0xFF
    segment.write_bytes(data)
    node.flush()
    assert states(node) == {"received": 4, "uploaded": 1, "quarantined": 3}


def test_the_metrics_say_what_the_account_of_the_senders_says(make_forebay):
    node = make_forebay({"generation": {"max_age": "200ms"}, "batch": {"max_age": "300ms"}})
    account = Account()
    with Senders(node, account, count=2, seed=3, profile=PROMETHEUS, bad=0.2):
        account.wait_acknowledged(3000, timeout=20)
    print(settle(node, account))
    found = states(node)
    assert found["uploaded"] == len(account.acknowledged) and found["refused"] == len(account.refused)
    assert found["received"] == len(account.sent)


@pytest.mark.parametrize("line", ["==1==ERROR: AddressSanitizer: heap-use-after-free on address",
                                  "==1==ERROR: LeakSanitizer: detected memory leaks",
                                  "lib/wal/wal.cc:1:2: runtime error: signed integer overflow",
                                  "WARNING: ThreadSanitizer: data race (pid=1)"])
def test_a_sanitizers_report_is_found(line):
    assert SANITIZER.search(f"ts=1 level=info\n{line}\n")
