"""Starts: what a node finds in its directories never keeps it from starting, and what it does not know stays.

FOREBAY_TEST_BACKLOG_GB: size of the backlog of the timed start, by file size (segments are hard links, no space).
"""
import json
import os
import re
import shutil
import time

from forebay_harness import Sample, Series

BACKLOG_GB = float(os.environ.get("FOREBAY_TEST_BACKLOG_GB", "1"))
FOLDERS = ("journal", "segments", "batches", "ledger", "quarantine", "dlq")


def samples(count, metric="kept_total", series=1):
    return [Series({"__name__": metric, "n": str(n), "pad": os.urandom(100).hex()},
                   [Sample(float(n * count + i), 1_700_000_000_000 + i) for i in range(count)])
            for n in range(series)]


def put_foreign_things(data, outside):
    """Names and contents that no Forebay makes, and some that look as if one had. Returns what must stay."""
    outside.mkdir()
    (outside / "target").write_bytes(b"somebody else's")
    names = []
    for folder in FOLDERS:
        root = data / folder
        root.mkdir(exist_ok=True)
        for name, content in (("notes.txt", b"an operator's"), ("empty", b""), ("x.tmp", b"half"),
                              ("0000.log", b"zeros in front"), ("ABC.log", b"capitals"),
                              ("00ff.ids", b"zeros in front"), ("notes.batch", b""), ("notes.batch.tmp", b"x"),
                              ("notes.ids.tmp", b"x")):
            (root / name).write_bytes(content)
            names.append(root / name)
        odd = os.path.join(os.fsencode(root), b"odd\n\xff name")
        with open(odd, "wb") as file:
            file.write(b"x")
        names.append(odd)
        for name in ("folder", "1f.log", "Metrics_Up_2cawzsrvl4mw4_1f.wal", "1f.ids",
                     "0000000000000001-0000000000000001.batch"):
            (root / name).mkdir()
            (root / name / "inside").write_bytes(b"x")
            names.append(root / name / "inside")
        for name in ("link", "2f.log", "Metrics_Up_2cawzsrvl4mw4_2f.wal", "2f.ids",
                     "0000000000000002-0000000000000002.batch"):
            (root / name).symlink_to(outside / "target")
            names.append(root / name)
        (root / "dangling").symlink_to(outside / "nowhere")
        names.append(root / "dangling")
    # A segment by its name, of which nothing can be read.
    for name, content in (("Metrics_Up_2cawzsrvl4mw4_3f.wal", b""), ("Metrics_Up_2cawzsrvl4mw4_4f.wal", b"ADXW"),
                          ("Metrics_Up_2cawzsrvl4mw4_5f.wal", b"something else altogether")):
        (data / "segments" / name).write_bytes(content)
        names.append(data / "segments" / name)
    return names


def test_foreign_files_do_not_keep_a_node_from_starting_and_stay(make_forebay):
    node = make_forebay({"generation": {"max_age": "300ms"}})
    assert node.writer().send_v1(samples(5)).status == 204
    node.flush()
    assert node.terminate() == 0
    names = put_foreign_things(node.data, node.folder / "outside")
    node.start()
    assert node.writer().send_v1(samples(5)).status == 204
    node.flush()
    assert len(node.rows("KeptTotal")) == 10
    node.restart(kill=True)
    assert node.writer().send_v1(samples(5)).status == 204
    node.flush()
    assert len(node.rows("KeptTotal")) == 15
    missing = [name for name in names if not os.path.lexists(name)]
    assert not missing, missing
    assert (node.folder / "outside" / "target").read_bytes() == b"somebody else's"
    # One line for each, in each start; above ten a second of one text they are counted.
    log = node.run_log
    for folder, unknown in (("segments", 18), ("batches", 21), ("ledger", 21), ("journal", 21)):
        lines = [line for line in log.splitlines() if f"/{folder}/" in line or (folder == "journal" and
                                                                            "journal directory" in line)]
        lines = [line for line in lines if "left alone" in line]
        left_out = sum(int(found) for line in lines for found in re.findall(r"left_out=(\d+)", line))
        assert 10 <= len(lines) + left_out <= unknown + 3, (folder, len(lines), left_out)


def test_a_truncated_segment_is_delivered_as_far_as_it_goes(make_forebay):
    node = make_forebay({"batch": {"max_age": "1h"}})
    assert node.writer().send_v1(samples(50, series=3000)).status == 204
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200
    assert node.terminate() == 0
    (segment,) = (node.data / "segments").glob("*.wal")
    rows = json.loads(node.run("wal", "ls", segment, "--json").stdout)[0]["rows"]
    with open(segment, "r+b") as file:
        file.truncate(segment.stat().st_size * 2 // 3)
    node.start()
    node.flush()
    assert 0 < len(node.rows("KeptTotal")) < rows
    assert node.metric("forebay_wal_corrupt_blocks_total") > 0


def test_a_large_backlog_does_not_delay_the_start(make_forebay):
    """Thousands of real segments; the time to ready is printed, and far below what reading them would take."""
    node = make_forebay({"batch": {"max_age": "1h"}, "storage": {"max_disk": "1TiB"}})
    assert node.terminate() == 0
    shutil.rmtree(node.out, ignore_errors=True)
    node.out.write_text("a sink that is down is what makes a backlog")
    node.start()
    for _ in range(4):
        assert node.writer().send_v1(samples(100, series=2000)).status == 204
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200
    assert node.terminate() == 0
    (segment,) = (node.data / "segments").glob("*.wal")
    size = segment.stat().st_size
    count = max(1, int(BACKLOG_GB * 1e9 / size))
    first = int(re.search(r"_([0-9a-f]+)\.wal$", segment.name).group(1), 16)
    stem = segment.name[:segment.name.rindex("_")]
    for number in range(1, count):
        os.link(segment, segment.with_name(f"{stem}_{first - number:x}.wal"))
    started = time.monotonic()
    node.start()
    ready = time.monotonic() - started
    assert node.metric("forebay_wal_segments") == count
    rows = node.metric("forebay_wal_pending_rows")
    print(f"ready {ready:.2f} s after the start with {count} segments of {count * size / 1e9:.2f} GB, {rows:.0f} rows")
    assert ready < 2 + BACKLOG_GB / 5
    node.kill9()
    shutil.rmtree(node.data / "segments")
