"""forebay wal, load and version against a live directory and a live node."""

import csv
import gzip
import io
import json

import pytest
from forebay_harness import Sample, Series, wait_for


@pytest.fixture
def live(make_forebay):
    """A running node with a sealed segment of 6 rows in two tables and a journal with one record."""
    node = make_forebay({"generation": {"max_age": "400ms"}, "batch": {"max_age": "1h"}})
    series = [Series({"__name__": name, "n": str(n)}, [Sample(n + 0.5, 1_700_000_000_000 + n)])
              for name in ("first_total", "second_total") for n in range(3)]
    assert node.writer().send_v1(series).status == 204
    wait_for("the segments", lambda: node.status()["segments"]["count"] == 2)
    return node


def wal(node, command, *arguments, directory=True):
    return node.run("wal", command, *(["--dir", node.data] if directory else []), *arguments)


def segments(node):
    return sorted((node.data / "segments").iterdir())


def test_ls_lists_what_is_there(live):
    text = wal(live, "ls")
    assert text.returncode == 0 and "Metrics_FirstTotal_2cawzsrvl4mw4_" in text.stdout
    listed = json.loads(wal(live, "ls", "--json").stdout)
    files = json.dumps(listed)
    for segment in segments(live):
        assert segment.name in files
    assert ".log" in files


def test_stat_adds_up_tables(live):
    text = wal(live, "stat")
    assert text.returncode == 0
    (total,) = [line for line in text.stdout.splitlines() if line.endswith(" total")]
    assert total.split()[0] == "2" and " 6 " in total
    assert "Metrics_SecondTotal_2cawzsrvl4mw4" in json.dumps(json.loads(wal(live, "stat", "--json").stdout))


def test_verify_is_content_with_a_live_directory(live):
    result = wal(live, "verify")
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("ok ") >= 2 and "3 rows" in result.stdout


def test_verify_finds_a_flipped_bit_and_says_where(live):
    segment = segments(live)[0]
    data = bytearray(segment.read_bytes())
    data[40] ^= 1
    damaged = live.folder / segment.name
    damaged.write_bytes(bytes(data))
    result = wal(live, "verify", damaged, directory=False)
    assert result.returncode == 1
    assert "DAMAGED" in result.stdout and "at " in result.stdout


def test_cat_prints_the_rows_that_an_upload_sends(live):
    result = wal(live, "cat", segments(live)[0], directory=False)
    lines = result.stdout.splitlines()
    assert lines[0] == "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real"
    live.flush()
    (data_file,) = {row["_file"] for row in live.rows("FirstTotal")}
    uploaded = gzip.decompress(data_file.read_bytes()).decode().splitlines()
    assert lines[1:] == uploaded[1:]


def test_cat_lists_the_records_of_a_journal(make_forebay):
    node = make_forebay()
    assert node.writer().send_v1([Series({"__name__": "a_total"}, [Sample(1.0, 1)])],
                                 headers={"X-Scope-OrgID": "someone"}).status == 204
    (journal,) = (node.data / "journal").glob("*.log")
    rows = list(csv.DictReader(io.StringIO(wal(node, "cat", journal, directory=False).stdout)))
    assert [(row["kind"], row["tenant"]) for row in rows] == [("remote-write-1.0", "someone")]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_export_writes_a_table_to_a_file(live, form):
    result = wal(live, "export", "--table", "Metrics_SecondTotal", "--format", form, "--out", "rows")
    assert result.returncode == 0, result.stderr
    text = (live.folder / "rows").read_text()
    if form == "csv":
        found = [float(row["Value:real"] if "Value:real" in row else row["Value"])
                 for row in csv.DictReader(io.StringIO(text))]
    else:
        found = [json.loads(line)["Value"] for line in text.splitlines()]
    assert sorted(found) == [0.5, 1.5, 2.5]


def test_looking_changes_nothing(live):
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in segments(live)}
    for command in ("ls", "stat", "verify"):
        assert wal(live, command).returncode == 0
    assert {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in segments(live)} == before
    live.flush()
    assert len(live.rows()) == 6


def test_a_directory_that_is_not_there_is_an_error(live):
    result = live.run("wal", "ls", "--dir", "nowhere")
    assert result.returncode == 1 and "nowhere" in result.stderr


@pytest.mark.parametrize("protocol", ["1.0", "2.0"])
def test_load_accounts_for_every_sample(make_forebay, protocol):
    node = make_forebay()
    result = node.run("load", "--url", node.write_url, "--protocol", protocol, "--series", "3000", "--tables", "30",
                      "--samples", "9000", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["samples"] == {"sent": report["samples"]["accepted"], "accepted": report["samples"]["accepted"],
                                 "refused": 0, "unknown": 0}
    assert report["samples"]["accepted"] >= 9000 and report["latency_ms"]["p99"] > 0
    node.flush()
    rows = [row for row in node.rows() if row["_table"] != "MetricMetadata"]
    assert len(rows) == report["samples"]["accepted"] and len({row["_table"] for row in rows}) == 30


def test_load_sends_histograms_and_exemplars(make_forebay):
    node = make_forebay()
    result = node.run("load", "--url", node.write_url, "--series", "200", "--tables", "2", "--samples", "200",
                      "--histograms", "0.5", "--exemplars", "0.25", "--json")
    report = json.loads(result.stdout)
    node.flush()
    tables = [row["_table"] for row in node.rows()]
    assert report["histograms"]["accepted"] == tables.count("NativeHistograms") > 0
    assert report["exemplars"]["accepted"] == tables.count("Exemplars") > 0


def test_load_says_with_its_exit_status_that_samples_were_refused(make_forebay):
    node = make_forebay({"limits": {"series_max": 50}})
    result = node.run("load", "--url", node.write_url, "--series", "100", "--tables", "2", "--samples", "100",
                      "--protocol", "2.0", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 2 and report["statuses"] == {"400": 1}
    assert report["samples"] == {"sent": 100, "accepted": 50, "refused": 50, "unknown": 0}


def test_load_without_a_receiver_ends_with_what_is_unknown(make_forebay):
    node = make_forebay()
    result = node.run("load", "--url", "http://127.0.0.1:9/x", "--samples", "10", "--no-retry", "--json")
    assert result.returncode in (1, 2)


def test_version_names_compiler_and_libraries(make_forebay):
    node = make_forebay(start=False)
    text = node.run("version")
    assert text.returncode == 0 and text.stdout.startswith("forebay ")
    document = json.loads(node.run("version", "--json").stdout)
    assert document["libraries"]["Boost"].startswith("1.") and document["compiler"]


def test_quarantine_is_listed_copied_and_dropped_beside_a_daemon(live):
    folder = live.data / "quarantine"
    for name in ("one.wal.8", "two.wal.8"):
        (folder / name).write_bytes(b"x" * 5000)
        (folder / f"{name}.reason").write_text("bad crc\n")
    listed = json.loads(wal(live, "quarantine", "ls", "--dir", live.data, "--json", directory=False).stdout)
    assert [(item["name"], item["bytes"], item["reason"]) for item in listed] == [
        ("one.wal.8", 5000, "bad crc"), ("two.wal.8", 5000, "bad crc")]

    def run(*arguments):
        return live.run("wal", "quarantine", *arguments, "--dir", live.data)

    assert "2 items" in run("ls").stdout
    copies = live.folder / "copies"
    assert run("export", "--all", "--out", copies).returncode == 0
    assert (copies / "two.wal.8").read_bytes() == b"x" * 5000 and (copies / "two.wal.8.reason").exists()
    unknown = run("drop", "three")
    assert unknown.returncode == 1 and "forebay wal quarantine ls" in unknown.stderr
    unsure = run("drop", "--all")
    assert unsure.returncode == 1 and "--yes" in unsure.stderr and (folder / "one.wal.8").exists()
    assert run("drop", "one.wal.8").returncode == 0
    young = run("drop", "--older-than", "1h", "--yes")
    assert young.returncode == 0 and (folder / "two.wal.8").exists()
    with live.admin() as client:
        assert client.post("/-/audit").status == 200
    assert live.metric("forebay_quarantine_files") == 1
    assert live.metric("forebay_quarantine_bytes") == 5000
    assert live.metric("forebay_disk_files", **{"class": "quarantine"}) == 2
    assert run("drop", "--all", "--yes").returncode == 0
    with live.admin() as client:
        assert client.post("/-/audit").status == 200
    assert live.metric("forebay_quarantine_bytes") == 0
    assert live.metric("forebay_disk_bytes", **{"class": "quarantine"}) == 0
