"""Writes tests/data/upgrade/NAME.{tar.xz,json}: the volumes of two nodes that were killed, as this version leaves them.

    FOREBAY_BIN=build/dev/forebay python3 tests/support/python/make_upgrade_data.py NAME

Run once for each version whose files differ from those of the last one; what is there is never written again. In the
volumes: sealed segments (series and text blocks, a lifted label), segments of a peer, journals that were not sealed (requests, a
peer's segment), batches whose sink has never answered, a transfer that the peer has and its sender does not know of,
both ledgers. In the JSON: the time of the kill, every row that must come out, and a request that must be known again.
"""

import base64
import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import time

import upgrade
from cluster import Cluster
from forebay_harness import Bits, Exemplar, Forebay, Histogram, Metadata, Sample, Series, wait_for
from remote_write import CONTENT_TYPE_V1, STALE, encode_v1

SLOW = {"generation": {"max_age": "1h"}, "batch": {"max_age": "1h"}}
TABLES = [f"upgrade_metric_{i}_total" for i in range(12)]


def plain(stage, now):
    """Series of every table, with the labels and values that are easily got wrong."""
    series = []
    for at, name in enumerate(TABLES):
        for pod in ("a", "b"):
            labels = {"__name__": name, "pod": pod, "stage": stage, "quote": 'a "b", c', "letters": "Größe\n✓"}
            series.append(Series(labels, [Sample(at + i / 7, now + i * 1000) for i in range(3)]))
    odd = {"__name__": TABLES[0], "pod": "odd", "stage": stage}
    series.append(Series(odd, [Sample(STALE, now), Sample(Bits(0x7FF0000000000000), now + 1), Sample(-0.0, now + 2),
                               Sample(5e-324, now + 3), Sample(1.7976931348623157e308, now - 10**9)]))
    return series


def others(stage, now):
    """What is stored as text: native histograms, exemplars, metadata."""
    histogram = Histogram(timestamp=now, count=5, sum=18.4, schema=1, zero_threshold=1e-128, zero_count=1,
                          positive_spans=[(0, 2), (1, 1)], positive=[1, 1, -1])
    return [Series({"__name__": "upgrade_histogram", "stage": stage}, histograms=[histogram]),
            Series({"__name__": TABLES[1], "stage": stage, "pod": "c"}, [Sample(1.5, now)],
                   exemplars=[Exemplar([("trace_id", "4bf9")], 1.25, now)])]


def send(node, stage, now):
    with node.writer() as writer:
        for series in (plain(stage, now), others(stage, now)):
            response = writer.send_v1(series, metadata=[(TABLES[0], Metadata(1, 'What is "counted"', "seconds"))])
            assert response.status == 204, response.text
    return sum(len(one.samples) for one in plain(stage, now) + others(stage, now))


def make(folder, name):
    """The killed nodes' folders, and what goes into the JSON."""
    nodes = []

    def make_node(config=None, name="forebay", start=True, **options):
        node = Forebay(folder / name, config, **options)
        nodes.append(node)
        return node.start() if start else node

    now = int(time.time() * 1000)
    samples = 0
    try:
        cluster = Cluster(make_node, upgrade.config(folder / "broken"), names=upgrade.NAMES, start=False)
        (folder / "broken").write_text("a file where the sink wants its folder\n")
        first, second = cluster
        for node in cluster:
            node.start()
            samples += send(node, f"of {node.name}", now)
        wait_for("a peer's segments, sealed", lambda: list((second.data / "peer-ledger").iterdir()))
        second.env["FOREBAY_FAILPOINT"] = "transfer.before_answer:3"
        second.restart()
        while second.running:
            samples += send(first, f"{time.time():.3f}", now)
            time.sleep(0.1)
        wait_for("a transfer in doubt", lambda: first.metric("forebay_transfer_open_rows"))
        with first.admin() as client:
            client.post("/-/flush?timeout=1s")  # batches that cannot be delivered
        assert list((first.data / "batches").glob("*.batch"))
        del second.env["FOREBAY_FAILPOINT"]
        # What stands in journals only; of the second one the record of the peer's segment too.
        first.kill9()
        first.config.update({key: {**first.config[key], **value} for key, value in SLOW.items()})
        first.start()
        samples += send(first, "journal", now)
        body = encode_v1([Series({"__name__": TABLES[2], "pod": "a", "stage": "known"}, [Sample(42.0, now)])])
        with first.writer() as writer:
            response = writer.send(body, CONTENT_TYPE_V1, "0.1.0", headers={"Idempotency-Key": "upgrade-1"})
        assert response.status == 204, response.text
        samples += 1
        first.kill9()
        killed = time.time()
    finally:
        for node in nodes:
            if node.running:
                node.kill9()
    return {"version": name, "killed": killed, "samples": samples,
            "request": {"key": "upgrade-1", "body": base64.b64encode(body).decode()}}


def main():
    name = sys.argv[1]
    archive = upgrade.FOLDER / f"{name}.tar.xz"
    if archive.exists():
        sys.exit(f"{archive} is there: what an earlier version has written is never changed")
    upgrade.FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        facts = make(folder, name)
        for node in upgrade.NAMES:
            shutil.rmtree(folder / node / "data" / "spool", ignore_errors=True)
            for spare in (folder / node / "data").glob("reserve*"):
                spare.unlink()
        with tarfile.open(archive, "w:xz") as tar:
            for node in upgrade.NAMES:
                tar.add(folder / node / "data", arcname=f"{node}/data")
    path = upgrade.FOLDER / f"{name}.json"
    path.write_text(json.dumps({**facts, "rows": []}))
    with tempfile.TemporaryDirectory() as temporary:
        rows = upgrade.restore(name, pathlib.Path(temporary))
    samples = sum(1 for row in rows if row["table"].startswith("UpgradeMetric") and "Value" in row)
    if samples != facts["samples"]:
        archive.unlink()
        path.unlink()
        sys.exit(f"{facts['samples']} samples sent, {samples} rows came out")
    path.write_text(json.dumps({**facts, "rows": rows}, indent=0, ensure_ascii=False, sort_keys=True) + "\n")
    print(f"{archive}: {os.path.getsize(archive)} bytes, {len(rows)} rows")


if __name__ == "__main__":
    main()
