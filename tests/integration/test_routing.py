"""Where a sample's row lands and what it looks like: databases, tables, relabelling, lifted labels, file names."""

import gzip
import json
import re

import pytest
from forebay_harness import Bits, Sample, Series, series_id, wait_for

SCHEMA_HASH = "2cawzsrvl4mw4"


def databases(node_or_path, *names, **options):
    return [{"name": name, "sinks": [{"file": {"root": str(node_or_path)}}], **options.get(name, {})}
            for name in names]


def send(node, labels, value=1.0, timestamp=1_700_000_000_000, headers=None):
    response = node.writer().send_v1([Series(labels, [Sample(value, timestamp)])], headers=headers)
    assert response.status == 204, response.text


def places(node):
    return sorted((row["_database"], row["_table"]) for row in node.rows())


@pytest.fixture
def two(make_forebay, tmp_path):
    return make_forebay({"databases": databases(tmp_path / "forebay" / "out", "Metrics", "Platform")})


def test_the_database_is_that_of_the_label_then_of_the_tenant_then_the_default(two):
    send(two, {"__name__": "by_label", "adxmon_database": "Platform"}, headers={"X-Scope-OrgID": "Metrics"})
    send(two, {"__name__": "by_tenant"}, headers={"X-Scope-OrgID": "Platform"})
    send(two, {"__name__": "by_stranger"}, headers={"X-Scope-OrgID": "Unknown"})
    send(two, {"__name__": "by_default"})
    two.flush()
    assert places(two) == [("Metrics", "ByDefault"), ("Metrics", "ByStranger"), ("Platform", "ByLabel"),
                           ("Platform", "ByTenant")]
    (row,) = two.rows("ByLabel")
    assert row["Labels"] == {}, "the label that routes is not a label of the row"


def test_a_label_that_names_no_database_is_refused_and_the_rest_is_kept(two):
    response = two.writer().send_v1([Series({"__name__": "a", "adxmon_database": "Nowhere"}, [Sample(1.0, 1)]),
                                     Series({"__name__": "b"}, [Sample(1.0, 1)])])
    assert response.status == 400 and "Nowhere" in response.text
    two.flush()
    assert places(two) == [("Metrics", "B")]


def test_the_header_the_label_and_the_default_can_be_configured(make_forebay, tmp_path):
    node = make_forebay({
        "databases": databases(tmp_path / "forebay" / "out", "Metrics", "Platform", "Third"),
        "remote_write": {"tenant_header": "X-Tenant", "database_label": "db", "default_database": "Third"}})
    send(node, {"__name__": "by_label", "db": "Platform"})
    send(node, {"__name__": "by_tenant"}, headers={"X-Tenant": "Metrics"})
    send(node, {"__name__": "by_default"}, headers={"X-Scope-OrgID": "Platform"})
    node.flush()
    assert places(node) == [("Metrics", "ByTenant"), ("Platform", "ByLabel"), ("Third", "ByDefault")]


@pytest.mark.parametrize("path", ["/api/v1/write", "/receive", "/remote_write"])
def test_every_path_takes_writes(forebay, path):
    with forebay.writer(path) as writer:
        assert writer.send_v1([Series({"__name__": "up"}, [Sample(1.0, 1)])]).status == 204
    forebay.flush()
    assert places(forebay) == [("Metrics", "Up")]


def test_relabelling_keeps_drops_and_rewrites_as_prometheus_does(make_forebay, tmp_path):
    node = make_forebay({
        "databases": databases(tmp_path / "forebay" / "out", "Metrics", "Platform", Platform={
            "relabel_configs": [{"target_label": "only", "replacement": "platform"}]}),
        "remote_write": {"relabel_configs": [
            {"source_labels": ["__name__"], "regex": "noise_.*", "action": "drop"},
            {"source_labels": ["env"], "regex": "prod|test", "action": "keep"},
            {"regex": "tmp_.*", "action": "labeldrop"},
            {"source_labels": ["instance"], "regex": "([^:]+):\\d+", "target_label": "host", "replacement": "$$1"},
            {"source_labels": ["env", "zone"], "separator": "-", "target_label": "place"},
            {"source_labels": ["__name__"], "regex": "old_(.*)", "target_label": "__name__",
             "replacement": "new_$$1"},
            {"source_labels": ["env"], "regex": "test", "target_label": "adxmon_database",
             "replacement": "Platform"}]}})
    send(node, {"__name__": "noise_total", "env": "prod"})
    send(node, {"__name__": "kept", "env": "dev"})
    send(node, {"__name__": "kept", "env": "prod", "tmp_a": "x", "instance": "h1:80", "zone": "z"})
    send(node, {"__name__": "old_name", "env": "prod"})
    send(node, {"__name__": "kept", "env": "test"})
    node.flush()
    rows = {(row["_database"], row["_table"]): row["Labels"] for row in node.rows()}
    assert rows == {
        ("Metrics", "Kept"): {"env": "prod", "host": "h1", "instance": "h1:80", "place": "prod-z", "zone": "z"},
        ("Metrics", "NewName"): {"env": "prod", "place": "prod-"},
        ("Platform", "Kept"): {"env": "test", "only": "platform", "place": "test-"}}
    assert node.metric("forebay_receive_dropped_samples_total", reason="rule") == 2


LIFTED = [{"name": "Host"}, {"name": "cloud_region", "column": "Region"}]


def lifting(tmp_path):
    return {"databases": databases(tmp_path / "forebay" / "out", "Metrics", Metrics={"lift_labels": LIFTED})}


def check_lifted(node):
    rows = {row["Labels"]["n"]: row for row in node.rows("Up")}
    assert [(rows[n]["Region"], rows[n]["Host"], rows[n]["Labels"]) for n in "123"] == [
        ("eu, west", "h1", {"n": "1"}), ("", 'h"2"', {"n": "2"}), ("", "", {"n": "3", "other": "x"})]
    (data_file,) = {row["_file"] for row in rows.values()}
    header = gzip.decompress(data_file.read_bytes()).decode().splitlines()[0]
    assert header == "Timestamp,SeriesId,Labels,Value,Region,Host"
    (schema,) = (node.out / "Metrics" / "Up").glob("*.schema.json")
    columns = json.loads(schema.read_text())["columns"]
    assert [column["name"] for column in columns] == header.split(",")
    assert {column["type"] for column in columns[4:]} == {"string"}


def send_lifted(node):
    send(node, {"__name__": "up", "n": "1", "host": "h1", "cloud_region": "eu, west"})
    send(node, {"__name__": "up", "n": "2", "HOST": 'h"2"'})
    send(node, {"__name__": "up", "n": "3", "other": "x"})


def test_lifted_labels_become_columns(make_forebay, tmp_path):
    node = make_forebay(lifting(tmp_path))
    send_lifted(node)
    node.flush()
    check_lifted(node)


@pytest.mark.parametrize("kill", [False, True])
def test_lifted_columns_survive_a_restart_between_seal_and_upload(make_forebay, tmp_path, kill):
    node = make_forebay({**lifting(tmp_path), "generation": {"max_age": "300ms"}})
    send_lifted(node)
    wait_for("all rows in segments", lambda: node.status()["segments"]["rows"] == 3)
    # The new process has the segments only: no series, and a configuration that lifts nothing any more.
    node.config["databases"][0]["lift_labels"] = []
    node.restart(kill=kill)
    assert node.status()["tables"]["seen"] == 0
    node.flush()
    check_lifted(node)


def test_rows_before_and_after_a_change_of_columns_are_in_files_of_their_own(make_forebay, tmp_path):
    node = make_forebay(lifting(tmp_path))
    send_lifted(node)
    node.config["databases"][0]["lift_labels"] = []
    node.restart(kill=True)
    send(node, {"__name__": "up", "n": "4", "host": "h4"})
    node.flush()
    rows = {row["Labels"]["n"]: row for row in node.rows("Up")}
    assert set(rows) == set("1234")
    assert "Host" not in rows["4"] and rows["4"]["Labels"]["host"] == "h4"
    # A schema file's name is its hash, which is that of the segments' names.
    schemas = {json.loads(path.read_text())["schema_hash"]: path.name
               for path in (node.out / "Metrics" / "Up").glob("*.schema.json")}
    assert SCHEMA_HASH in schemas and all(name == f"{key}.schema.json" for key, name in schemas.items())


@pytest.mark.parametrize("metric, table", [
    ("http_requests_total", "HttpRequestsTotal"), ("a::b", "AB"), ("_x", "X"), ("a_1b", "A1b"), ("up", "Up"),
    ("ALREADY_Up", "ALREADYUp"), ("dots.and blanks", "DotsAndBlanks")])
def test_tables_are_named_in_proper_case(forebay, metric, table):
    send(forebay, {"__name__": metric})
    forebay.flush()
    assert places(forebay) == [("Metrics", table)]


def test_a_name_without_letters_and_digits_is_refused(forebay):
    response = forebay.writer().send_v1([Series({"__name__": "::"}, [Sample(1.0, 1)])])
    assert response.status == 400 and forebay.metric("forebay_receive_refused_samples_total",
                                                     reason="no_table_name") == 1


def test_two_metrics_of_one_table_are_both_kept_and_counted(forebay):
    labels = ({"__name__": "a_b", "x": "1"}, {"__name__": "a:b", "x": "1"})
    for one in labels:
        send(forebay, one)
    forebay.flush()
    rows = forebay.rows("AB")
    assert {int(row["SeriesId"]) for row in rows} == {series_id(one) for one in labels}
    assert forebay.metric("forebay_table_name_collisions_total") == 1


def test_rows_are_written_as_documented(forebay):
    labels = {"__name__": "golden_total", "quote": 'a "b"', "line": "1\n2", "back": "c:\\d", "comma": "x,y",
              "wide": "ü 世界", "adxmon_secret": "no"}
    samples = [Sample(-1474.570951621, 1793491200123), Sample(1e-9, 1793491200120), Sample(100000.0, 1793491200100),
               Sample(float("nan"), 1793491201000), Sample(Bits(0x7FF0000000000002), 1793491202000),
               Sample(float("inf"), 1793491203000), Sample(float("-inf"), 1793491204000), Sample(-0.0, -1)]
    assert forebay.writer().send_v1([Series(labels, samples)]).status == 204
    forebay.flush()
    (data_file,) = forebay.out.rglob("*.csv.gz")
    number = series_id(labels)
    start = f'{number},"{{""back"":""c:\\\\d"",""comma"":""x,y"",""line"":""1\\n2"",""quote"":""a \\""b\\"""",""wide"":""ü 世界""}}",'
    lines = gzip.decompress(data_file.read_bytes()).decode().splitlines()
    assert lines[0] == "Timestamp,SeriesId,Labels,Value"
    assert sorted(lines[1:]) == sorted([
        f"2026-11-01T00:00:00.123Z,{start}-1474.570951621", f"2026-11-01T00:00:00.12Z,{start}1e-09",
        f"2026-11-01T00:00:00.1Z,{start}1e+05", f"2026-11-01T00:00:01Z,{start}NaN",
        f"2026-11-01T00:00:02Z,{start}", f"2026-11-01T00:00:03Z,{start}Infinity",
        f"2026-11-01T00:00:04Z,{start}-Infinity", f"1969-12-31T23:59:59.999Z,{start}-0"])


def test_rows_of_a_file_are_ordered_by_series(forebay):
    for timestamp in range(5):
        series = [Series({"__name__": "up", "n": str(n)}, [Sample(1.0, timestamp)]) for n in range(7)]
        assert forebay.writer().send_v1(series).status == 204
    forebay.flush()
    order = [row["SeriesId"] for row in forebay.rows("Up")]
    assert len(order) == 35
    assert sum(a != b for a, b in zip(order, order[1:])) == 6


def test_files_and_segments_are_named_by_the_rules(make_forebay):
    node = make_forebay({"generation": {"max_age": "20ms"}})
    send(node, {"__name__": "http_requests_total"})
    wait_for("a segment", lambda: node.status()["segments"]["count"] == 1)
    (segment,) = (node.data / "segments").iterdir()
    assert re.fullmatch(rf"Metrics_HttpRequestsTotal_{SCHEMA_HASH}_[0-9a-f]{{16}}\.wal", segment.name)
    node.flush()
    (data_file,) = node.out.rglob("*.csv.gz")
    relative = str(data_file.relative_to(node.out))
    assert re.fullmatch(r"Metrics/HttpRequestsTotal/\d{4}/\d\d/\d\d/[0-9a-f]{16}-[0-9a-f]{16}\.csv\.gz", relative)
    assert (node.out / "Metrics" / "HttpRequestsTotal" / f"{SCHEMA_HASH}.schema.json").exists()
    assert not [path for path in node.out.rglob("*") if path.name.startswith(".")]


def test_every_sink_of_a_database_gets_every_batch(make_forebay, tmp_path):
    roots = [tmp_path / "a", tmp_path / "b"]
    node = make_forebay({"databases": [{"name": "Metrics", "sinks": [
        {"name": name, "file": {"root": str(root)}} for name, root in zip("xy", roots)]}]})
    send(node, {"__name__": "up"})
    node.flush()
    files = [[str(path.relative_to(root)) for path in root.rglob("*.csv.gz")] for root in roots]
    assert len(files[0]) == 1 and files[0] == files[1]
