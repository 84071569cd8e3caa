"""arm64 beside amd64: the same requests give the same bytes and rows, and each goes on with what the other left."""

import json
import struct

import conservation
import pytest
from cluster import Cluster, Load
from forebay_harness import wait_for

MACHINES = ("amd64", "arm64")
BOTH_WAYS = [("amd64", "arm64"), ("arm64", "amd64")]
ELF_MACHINE_ARM64 = 183

# Samples, native histograms and exemplars that are the same in each run.
START, LATER = "1700000000000", "1700003600000"
LOAD = ["--series", "300", "--tables", "4", "--samples", "12000", "--step", "15s", "--connections", "1",
        "--series-per-request", "100", "--histograms", "0.1", "--exemplars", "0.1", "--churn", "20", "--churn-clock", "sample"]
# Segments stay where they are until they are asked for.
KEPT = {"batch": {"max_age": "1h"}}


def load(node, start=START):
    """Loads a node with its machine's own loader. Returns what it says of it."""
    done = node.run("load", "--url", node.write_url, "--start", start, *LOAD, "--json", timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def rows(node):
    """{table: rows, sorted}. Metadata has the time of its arrival."""
    found = {}
    for row in node.rows():
        at = "" if row["_table"] == "MetricMetadata" else row["Timestamp"]
        text = json.dumps({**{key: row[key] for key in row if not key.startswith("_")}, "Timestamp": at}, sort_keys=True)
        found.setdefault(row["_table"], []).append(text)
    return {table: sorted(texts) for table, texts in found.items()}


def segments(node):
    return sorted((node.data / "segments").iterdir())


def journals(node):
    return sorted((node.data / "journal").glob("*.log"))


def test_the_program_is_of_arm64_and_of_this_version(make_node):
    native, emulated = (make_node(machine, start=False) for machine in MACHINES)
    (machine,) = struct.unpack_from("<H", (emulated.program.parent / "forebay").read_bytes(), 18)
    assert machine == ELF_MACHINE_ARM64
    said = emulated.run("version")
    assert said.returncode == 0 and said.stdout == native.run("version").stdout


def test_the_loader_sends_the_same_bytes(make_node):
    dumps = []
    for machine in MACHINES:
        node = make_node(machine, start=False)
        assert node.run("load", "--dump", node.folder / "bodies", "--start", START, *LOAD, timeout=120).returncode == 0
        dumps.append({path.name: path.read_bytes() for path in (node.folder / "bodies").iterdir()})
    assert len(dumps[0]) > 50 and dumps[0] == dumps[1]


def test_the_same_load_gives_the_same_rows(make_node):
    found = []
    for machine in MACHINES:
        node = make_node(machine)
        report = load(node)
        node.flush()
        found.append(rows(node))
        tables = dict(found[-1])
        assert len(tables.pop("NativeHistograms")) == report["histograms"]["accepted"] > 0
        assert len(tables.pop("Exemplars")) == report["exemplars"]["accepted"] > 0
        tables.pop("MetricMetadata", None)
        assert sum(map(len, tables.values())) == report["samples"]["accepted"] > 10000
    assert found[0] == found[1]


@pytest.mark.parametrize("writer, reader", BOTH_WAYS)
def test_segments_of_one_are_read_by_the_other(make_node, writer, reader):
    node, other = make_node(writer, {**KEPT, "generation": {"max_age": "300ms"}}), make_node(reader, start=False)
    report = load(node)
    wait_for("the segments", lambda: node.metric("forebay_conservation_rows", state="pending") and len(segments(node)) >= 4
             and node.status()["segments"]["count"] == len(segments(node)))
    node.terminate()
    verified = other.run("wal", "verify", "--dir", node.data)
    assert verified.returncode == 0 and "DAMAGED" not in verified.stdout, verified.stdout
    texts = [one.run("wal", "cat", *segments(node)).stdout for one in (node, other)]
    assert texts[0] == texts[1] and texts[0].count("\n") >= report["samples"]["accepted"]


@pytest.mark.parametrize("writer, reader", BOTH_WAYS)
def test_a_volume_of_one_is_brought_away_by_the_other(make_node, writer, reader):
    # Half of it is in segments when the node is killed, half in its journal.
    node = make_node(writer, {**KEPT, "generation": {"max_age": "1h"}})
    load(node)
    node.restart()  # which seals
    sealed = len(segments(node))
    load(node, LATER)
    node.kill9()
    assert sealed >= 4 and max(path.stat().st_size for path in journals(node)) > 0
    other = make_node(reader, start=False)
    texts = [one.run("wal", "cat", *journals(node)).stdout for one in (node, other)]
    assert texts[0] == texts[1] and texts[0].count("\n") > 50
    node.program = other.program
    node.start()
    node.flush()
    # What one machine alone makes of both loads.
    reference = make_node(writer, name="reference")
    load(reference)
    load(reference, LATER)
    reference.flush()
    assert rows(node) == rows(reference)


def test_a_cluster_of_both_gives_each_table_to_one_owner(make_node):
    machines = {"node-0": "amd64", "node-1": "arm64", "node-2": "arm64"}
    # Emulated calls take their time.
    patient = {"batch": {"max_age": "6s"}, "cluster": {"transfer": {"timeout": "20s"}}}
    cluster = Cluster(lambda config, name, **options: make_node(machines[name], config, name, **options), patient)
    with Load(cluster, tables=9):
        wait_for("rows from peers on every node",
                 lambda: all(node.metric("forebay_transfer_received_rows_total") for node in cluster), 60)
        cluster.account.wait_acknowledged(2000, 60)
    cluster.wait_settled(60)
    tables = cluster.tables()
    assert len(tables) == 9 and all(len(nodes) == 1 for nodes in tables.values()), tables
    cluster.account.verify(cluster["node-0"])
    for node in cluster:
        conservation.check(node)
    assert cluster.metric("forebay_transfer_failures_total") == 0
