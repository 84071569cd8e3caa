"""`POST /transfer`: what adx-mon's collectors send, with their own segments."""
import collections
import csv
import gzip
import os
import re

import conservation
import pytest
from forebay_harness import HttpClient, wait_for
from log_segments import LOG_FIELDS, log_row, log_segment
from processes import ROOT

FIXTURES = ROOT / "tests" / "data" / "adxmon"
# Megabytes of the large segment; its memory must not grow with it.
LARGE = int(os.environ.get("FOREBAY_TEST_TRANSFER_MB", "200"))
GOOD = ["Metrics_CpuBest_2cawzsrvl4mw4_2f24a73200006000", "Metrics_CpuBetter_2cawzsrvl4mw4_2f24a73200002000",
        "Metrics_CpuFast_2cawzsrvl4mw4_2f24a73200004000", "Metrics_CpuSnappy_2cawzsrvl4mw4_2f24a73200008000",
        "Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000"]
DAMAGED = ["Metrics_DiskBitFlip_2cawzsrvl4mw4_2f24a73200008004", "Metrics_DiskHugeLength_2cawzsrvl4mw4_2f24a73200008005",
           "Metrics_DiskTornHeader_2cawzsrvl4mw4_2f24a73200008002", "Metrics_DiskTornTail_2cawzsrvl4mw4_2f24a73200008001",
           "Metrics_DiskZeroTail_2cawzsrvl4mw4_2f24a73200008003"]


def post(node, name, body, coding=None, timeout=120):
    with HttpClient(node.ingest_url, timeout) as client:
        headers = {"Content-Type": "text/csv", "User-Agent": "adx-mon"}
        if coding:
            headers["Content-Encoding"] = coding
        return client.post(f"/transfer?filename={name}" if name is not None else "/transfer", body, headers)


def segment(stem):
    return (FIXTURES / f"{stem}.wal").read_bytes()


def lines(stem):
    """The rows of a fixture, as its authors decoded it, without the header line that each block begins with."""
    text = [line for line in (FIXTURES / f"{stem}.decoded").read_text().splitlines() if line]
    if "MemBig" in stem:
        return sorted(text[1:])  # one block of many writes: what is behind its first line is not judged
    return sorted(line for line in text if not line.startswith("Timestamp:datetime"))


def table(stem):
    return stem.split("_")[1]


def text_rows(node, name):
    """Rows of a table in the sink as CSV lines."""
    found = []
    for path in node.out.glob(f"*/{name}/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"):
        with gzip.open(path, "rt", newline="") as text:
            found += text.read().splitlines()[1:]
    return sorted(found)


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_segments_of_adx_mon_arrive_row_by_row(forebay, coding):
    for stem in GOOD:
        body = segment(stem)
        response = post(forebay, f"{stem}.wal", gzip.compress(body) if coding else body, coding)
        assert response.status == 202, response.text
        assert post(forebay, f"{stem}.wal", body).status == 409
    forebay.flush()
    for stem in GOOD:
        assert text_rows(forebay, table(stem)) == lines(stem), stem
    rows = conservation.check(forebay)["Metrics"]
    assert rows["from_peers"] == rows["uploaded"] == sum(len(lines(stem)) for stem in GOOD)


def test_segments_of_one_table_merge_and_survive_a_kill(forebay):
    both = [f"Metrics_MemBig_2cawzsrvl4mw4_2f24a7320001200{n}" for n in (0, 1)]
    for stem in both:
        assert post(forebay, f"{stem}.wal", segment(stem)).status == 202
    forebay.restart(kill=True)
    wait_for("the end of the recovery", lambda: forebay.metric("forebay_wal_recovering") == 0)
    assert post(forebay, f"{both[1]}.wal", segment(both[1])).status == 409
    forebay.flush()
    assert text_rows(forebay, "MemBig") == sorted(lines(both[0]) + lines(both[1]))
    assert len(list(forebay.out.glob("*/MemBig/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"))) == 1


@pytest.mark.parametrize("stem", DAMAGED)
def test_good_blocks_of_a_damaged_segment_are_kept(forebay, stem):
    response = post(forebay, f"{stem}.wal", segment(stem))
    assert response.status == 202, response.text
    forebay.flush()
    # adx-mon reads up to the damage; what lies behind it is good too.
    missing = collections.Counter(lines(stem)) - collections.Counter(text_rows(forebay, table(stem)))
    assert not missing, missing
    kept = [path for path in (forebay.data / "quarantine").iterdir() if not path.name.endswith(".reason")]
    assert len(kept) == (0 if "ZeroTail" in stem else 1), kept


def test_refusals(forebay):
    good = segment(GOOD[0])
    name = f"{GOOD[0]}.wal"
    assert post(forebay, None, good).status == 400
    for bad in ("", "x.wal", "../../etc/passwd", "Metrics_Cpu_1.csv", "Elsewhere_Cpu_1.wal", "Metrics_C.pu_1.wal"):
        assert post(forebay, bad.replace("/", "%2F"), good).status == 400, bad
    assert post(forebay, name, segment("Metrics_NotASegment_2cawzsrvl4mw4_2f24a73200008007")).status == 400
    assert post(forebay, name, b"no gzip at all", "gzip").status == 400
    assert post(forebay, name, gzip.compress(good)[:-20], "gzip").status == 400
    empty = "Metrics_DiskEmpty_2cawzsrvl4mw4_2f24a73200008006"
    assert post(forebay, f"{empty}.wal", segment(empty)).status == 202
    assert conservation.check(forebay).get("Metrics", {}).get("from_peers", 0) == 0
    assert not list((forebay.data / "spool").iterdir())


def test_a_full_disk_sends_them_elsewhere(make_forebay):
    node = make_forebay({"storage": {"max_disk": "16MiB", "high_watermark": 10, "low_watermark": 5}}, start=False)
    node.start(wait=False)
    node.wait_listening()
    body = segment(GOOD[3])
    # Never the same twice; small enough that the answer is read though the body was not.
    statuses = [post(node, f"{GOOD[3]}.wal", body + body[8:] * (n % 10) + bytes(n)).status for n in range(400)]
    assert 429 in statuses, set(statuses)
    node.flush()


def test_the_memory_does_not_grow_with_the_segment(make_forebay):
    node = make_forebay({"generation": {"max_memory": "64MiB"}, "cluster": {"transfer": {"max_in_flight": "16MiB"}}})
    stem = "Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000"
    frames = segment(stem)[8:]
    copies = LARGE * 1_000_000 // len(frames)
    response = post(node, f"{stem}.wal", b"ADXWAL\0\0" + frames * copies, timeout=600)
    assert response.status == 202, response.text
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{node.pid}/status").read()).group(1)) // 1024
    rows = conservation.check(node)["Metrics"]
    assert rows["from_peers"] == copies * len(lines(stem))
    assert peak < 250, f"{peak} MiB for a segment of {LARGE} MB"


def log_fields(node, name):
    """Rows of a table of logs in the sink, as lists of fields."""
    found = []
    for path in node.out.glob(f"Logs/{name}/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"):
        with gzip.open(path, "rt", newline="", encoding="utf-8") as text:
            found += list(csv.reader(text))
    return sorted(found)


@pytest.fixture
def logs(make_forebay, tmp_path):
    return make_forebay({"databases": [
        {"name": name, "sinks": [{"file": {"root": str(tmp_path / "forebay" / "out")}}]} for name in ("Metrics", "Logs")]})


def test_segments_of_logs_arrive_field_by_field(logs):
    stem = "Logs_App_2f24a73200006002"
    assert post(logs, f"{stem}.wal", segment(stem)).status == 202
    assert post(logs, f"{stem}.wal", segment(stem)).status == 409
    bodies = ["plain", 'quo"ted, with commas', "two\nlines", "", "\u00fcn\u00efc\u00f6de \U0001f600"]
    rows = [log_row(number, body) for number, body in enumerate(bodies)]
    made = log_segment(rows[:2], rows[2:])
    assert post(logs, "Logs_Made_2f24a73200006003.wal", gzip.compress(made), "gzip").status == 202
    logs.flush()
    [fixture] = csv.reader((FIXTURES / f"{stem}.decoded").read_text().splitlines())
    assert len(fixture) == len(LOG_FIELDS)
    assert log_fields(logs, "App") == [fixture]
    expected = [[f"2026-11-01T00:00:0{n}.5Z", f"2026-11-01T00:00:0{n}.75Z", f"{n:032x}", f"{n:016x}", "WARN", "13", body,
                 f'{{"k8s.pod":"p{n}"}}', f'{{"n":{n},"text":"a,b"}}'] for n, body in enumerate(bodies)]
    assert log_fields(logs, "Made") == expected
    states = conservation.check(logs)["Logs"]
    assert states["from_peers"] == states["uploaded"] == 6


def test_what_begins_with_a_dropped_prefix_is_taken_and_not_stored(make_forebay):
    # By adx-mon's own flag.
    node = make_forebay(arguments=["--drop-prefix", "Metrics_Cpu", "--drop-prefix=Logs_"])
    statuses = [post(node, f"{stem}.wal", segment(stem)).status for stem in GOOD]
    assert statuses == [202] * len(GOOD)
    assert post(node, f"{GOOD[0]}.wal", segment(GOOD[0])).status == 202, "it is not known again: it was not stored"
    assert post(node, "Logs_App_1.wal", gzip.compress(b"whatever"), "gzip").status == 202
    node.flush()
    kept = [stem for stem in GOOD if "_Cpu" not in stem]
    assert sum(states["uploaded"] for states in conservation.check(node).values()) == sum(len(lines(stem)) for stem in kept)
    assert {path.parent.parent.parent.parent.name for path in node.out.glob("*/*/*/*/*/*.csv.gz")} == {"MemBig"}
    assert node.metric("forebay_transfer_http_dropped_total") == len(GOOD) - len(kept) + 2
