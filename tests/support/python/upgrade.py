"""Volumes that earlier versions have left (tests/data/upgrade), started again with the binary of now.

The nodes' clocks stand at the time of the kill (libfaketime): ledgers forget, and batches come of age, by the clock.
"""

import datetime
import json
import pathlib
import tarfile

from cluster import Cluster
from forebay_harness import Forebay
from processes import ROOT

FOLDER = ROOT / "tests" / "data" / "upgrade"
NAMES = ("node-0", "node-1")


def config(root):
    """Of both nodes. root: of the sink."""
    return {"databases": [{"name": "Metrics", "sinks": [{"name": "files", "file": {"root": str(root)}}],
                           "lift_labels": [{"name": "pod"}]}]}


def facts(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def versions():
    return sorted(path.name[:-len(".tar.xz")] for path in FOLDER.glob("*.tar.xz"))


def clock(time):
    """The environment of a node that believes it is `time`, in seconds since 1970."""
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    assert library, "libfaketime is not installed (Debian package libfaketime)"
    return {"LD_PRELOAD": str(library), "FAKETIME": f"@{time_text(time)}", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}


def time_text(time):
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def unpack(name, folder):
    with tarfile.open(FOLDER / f"{name}.tar.xz") as tar:
        tar.extractall(folder)


def comparable(rows):
    """Rows as they stand in the JSON: nothing of where the file lies; sorted."""
    plain = [{"database": row["_database"], "table": row["_table"],
              **{key: value for key, value in row.items() if not key.startswith("_")}} for row in rows]
    return sorted(plain, key=lambda row: json.dumps(row, sort_keys=True))


def start(make, name, folder):
    """Both nodes of the version over its volumes, which are unpacked below `folder`, where make's nodes are."""
    unpack(name, folder)
    cluster = Cluster(make, config(folder / "out"), names=NAMES, start=False)
    for node in cluster:
        node.out = folder / "out"
        node.env.update(clock(facts(name)["killed"]))
        node.start()
    return cluster


def restore(name, folder):
    """Rows of the version's volumes, by nodes that end with the call."""
    nodes = []

    def make(config=None, name="forebay", start=True, **options):
        nodes.append(Forebay(folder / name, config, **options))
        return nodes[-1].start() if start else nodes[-1]

    try:
        cluster = start(make, name, folder)
        cluster.settle()
        return comparable(cluster["node-0"].rows())
    finally:
        for node in nodes:
            node.stop()
