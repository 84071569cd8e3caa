"""Ends and beginnings: SIGTERM under load, SIGKILL at bad moments, what waits on disk, one process per directory."""

import collections
import json
import shutil
import signal
import socket
import subprocess

import pytest
from forebay_harness import Sample, Series, binary, encode_v1, http_status, snappy, value_key, wait_for


def send(node, values, metric="kept_total"):
    """One request: a sample per value, all of one series; the value tells the sample."""
    series = Series({"__name__": metric}, [Sample(float(v), 1_700_000_000_000 + v) for v in values])
    response = node.writer().send_v1([series])
    assert response.status == 204, response.text


def values(node, table="KeptTotal"):
    return sorted(int(float(row["Value"])) for row in node.rows(table))


class Load:
    """`forebay load` with values of which none comes twice, beside a node."""

    def __init__(self, node, *arguments):
        self.node = node
        self.process = subprocess.Popen(
            [str(binary()), "load", "--url", node.write_url, "--json", "--values", "unique", "--series", "2000",
             "--tables", "20", "--series-per-request", "200", "--connections", "4", "--rate", "20000",
             "--timeout", "5s", "--drain", "30s", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        out, err = self.process.communicate(timeout=90)
        assert out, err
        return json.loads(out)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def load():
    running = []

    def start(node, *arguments):
        running.append(Load(node, *arguments))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def accepted(node):
    return node.metric("forebay_receive_samples_total")


def rows_by_sample(node):
    """How often each (table, SeriesId, time, value) is in the files."""
    return collections.Counter((row["_table"], row["SeriesId"], row["Timestamp"], value_key(row["Value"]))
                               for row in node.rows())


def test_sigterm_finishes_requests_in_flight_and_is_not_ready_meanwhile(make_forebay):
    node = make_forebay()
    host, port = node.ingest_address.split(":")
    body = snappy(encode_v1([Series({"__name__": "kept_total"}, [Sample(1.0, 1000)])]))
    head = (f"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            f"Content-Encoding: snappy\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    with socket.create_connection((host, int(port)), timeout=30) as half:
        half.sendall(head + body[:5])
        wait_for("the request in flight", lambda: node.metric("forebay_http_requests_total", port="ingest") >= 1)
        node.process.send_signal(signal.SIGTERM)
        wait_for("readiness off", lambda: http_status(f"{node.admin_url}/readyz") == 503, interval=0.01)
        assert http_status(f"{node.admin_url}/livez") == 200
        assert node.running
        half.sendall(body[5:])
        answer = half.recv(4096)
    assert answer.startswith(b"HTTP/1.1 204")
    assert node.wait_exit() == 0
    # Sealed: no journal with records is left, and the sample is in a segment.
    assert [path.name for path in (node.data / "segments").iterdir()] != []
    node.start()
    assert node.metric("forebay_wal_replayed_records_total") == 0
    node.flush()
    assert values(node) == [1]


def test_sigterm_under_load_and_a_second_start_lose_and_double_nothing(make_forebay, load):
    node = make_forebay({"generation": {"max_age": "300ms"}, "batch": {"max_age": "1s"}})
    sender = load(node, "--duration", "6s")
    wait_for("some load", lambda: accepted(node) > 20000)
    assert node.terminate() == 0
    node.start()
    assert node.metric("forebay_wal_replayed_records_total") == 0
    result = sender.result()
    node.flush()
    found = rows_by_sample(node)
    assert result["samples"]["unknown"] == 0 and result["samples"]["refused"] == 0
    assert result["network_errors"] > 0, "the stop came too late to be seen"
    extra = sum(found.values()) - len(found)
    print(f"{sum(found.values())} rows, {extra} twice, {result['maybe_duplicated_samples']} may be")
    assert len(found) == result["samples"]["accepted"]
    # Requests in flight were answered, so nothing was sent twice that was stored.
    assert extra == 0


def test_sigkills_under_load_lose_nothing_that_was_acknowledged(make_forebay, load):
    node = make_forebay({"generation": {"max_age": "200ms"}, "batch": {"max_age": "500ms"}})
    sender = load(node, "--duration", "7s")
    for _ in range(4):
        node.expect_running()
        wait_for("some load", lambda: accepted(node) > 10000)
        node.restart(kill=True)
    result = sender.result()
    node.flush()
    found = rows_by_sample(node)
    extra = sum(found.values()) - len(found)
    assert result["samples"]["unknown"] == 0 and result["samples"]["refused"] == 0
    assert len(found) == result["samples"]["accepted"]
    # A sender that lost the answer sends again, and the ledger of requests knows it.
    assert extra == 0
    assert not list(node.out.rglob("*.tmp"))


def test_a_batch_keeps_its_id_over_a_kill_between_manifest_and_upload(make_forebay, tmp_path):
    root = tmp_path / "blocked"
    root.write_text("a file where the sink wants its directory")
    node = make_forebay({"databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(root)}}]}],
                         "upload": {"retry_initial": "50ms", "retry_max": "200ms"}})
    node.out = root
    send(node, range(10))
    with node.admin() as client:
        assert client.post("/-/flush?timeout=10s").status == 503
    (batch,) = node.status()["batches"]
    assert [path.name for path in (node.data / "batches").iterdir()] == [f"{batch['id']}.batch"]
    for _ in range(2):
        node.restart(kill=True)
        (again,) = node.status()["batches"]
        assert (again["id"], again["rows"]) == (batch["id"], 10)
    root.unlink()
    (uploaded,) = wait_for("the upload", lambda: list(root.rglob("*.csv.gz")) if root.is_dir() else None)
    assert uploaded.name == f"{batch['id']}.csv.gz"
    wait_for("the end of the batch", lambda: not list((node.data / "batches").iterdir()))
    assert values(node) == list(range(10))
    assert list((node.data / "segments").iterdir()) == []


def test_a_batch_whose_manifest_was_lost_has_the_same_id_and_is_not_uploaded_twice(make_forebay, tmp_path):
    node = make_forebay({"generation": {"max_age": "20ms"}})
    send(node, range(5))
    wait_for("a segment", lambda: node.status()["segments"]["count"] == 1)
    (segment,) = (node.data / "segments").iterdir()
    shutil.copy(segment, tmp_path / "kept.wal")
    node.flush()
    (uploaded,) = node.out.rglob("*.csv.gz")
    node.kill9()
    # As if the machine had gone down before the segment's deletion reached the disk.
    shutil.copy(tmp_path / "kept.wal", segment)
    node.start()
    node.flush()
    assert list(node.out.rglob("*.csv.gz")) == [uploaded]
    assert node.metric("forebay_upload_batches_total", outcome="already_there") == 1
    assert values(node) == list(range(5))


def test_segments_of_a_generation_whose_journal_is_there_are_scrap(make_forebay, tmp_path):
    node = make_forebay({"generation": {"max_age": "1h"}})
    send(node, range(5))
    (journal,) = (node.data / "journal").glob("*.log")
    shutil.copy(journal, tmp_path / "journal")
    assert node.terminate() == 0
    assert len(list((node.data / "segments").iterdir())) == 1
    # As if the kill had come between the segment and the journal's unlinking.
    shutil.copy(tmp_path / "journal", journal)
    node.start()
    assert node.metric("forebay_wal_replayed_records_total") == 1
    node.flush()
    assert values(node) == list(range(5))


def test_a_torn_journal_gives_all_records_before_the_tear(make_forebay):
    node = make_forebay({"generation": {"max_age": "1h"}})
    for number in range(10):
        send(node, [number])
    node.kill9()
    (journal,) = (node.data / "journal").glob("*.log")
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-30])  # the end mark has 24 bytes
    node.start()
    wait_for("the replay", lambda: node.metric("forebay_wal_replayed_records_total") == 9)
    assert node.metric("forebay_wal_torn_tails_total") == 1
    send(node, [100])
    node.flush()
    assert values(node) == [*range(9), 100]


def test_damage_inside_a_journal_costs_one_record_and_is_kept_aside(make_forebay):
    node = make_forebay({"generation": {"max_age": "1h"}})
    for number in range(10):
        send(node, [number])
    node.kill9()
    (journal,) = (node.data / "journal").glob("*.log")
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(bytes(data))
    node.start()
    node.flush()
    found = values(node)
    assert len(found) == 9 and set(found) < set(range(10))
    assert list((node.data / "quarantine").iterdir()) != []
    assert node.status()["quarantine"]["files"] >= 1


def test_acknowledged_samples_are_there_after_a_kill_and_only_once(make_forebay):
    node = make_forebay({"generation": {"max_age": "50ms"}, "batch": {"max_age": "100ms"}})
    for number in range(6):
        send(node, range(100 * number, 100 * number + 100))
        node.restart(kill=True)
    node.flush()
    assert values(node) == list(range(600))


def test_a_lock_file_of_a_killed_process_does_not_matter(make_forebay):
    node = make_forebay()
    lock = node.data / "lock"
    assert lock.read_text().strip() == str(node.pid)
    node.kill9()
    assert lock.exists()
    node.start()
    assert lock.read_text().strip() == str(node.pid)


def test_a_second_process_on_a_directory_ends_with_a_clear_error(make_forebay):
    node = make_forebay()
    result = node.run("serve", "--config", "config.yaml", "--set", "listen.ingest=127.0.0.1:0", "--set",
                      "listen.admin=127.0.0.1:0")
    assert result.returncode == 1
    assert "locked by process" in result.stderr and str(node.pid) in result.stderr and str(node.data) in result.stderr
    send(node, [1])


def test_a_port_in_use_ends_with_a_clear_error(make_forebay):
    node, other = make_forebay(name="one"), make_forebay(name="two", start=False)
    other.config["listen"]["ingest"] = node.ingest_address
    other.start(wait=False)
    assert other.wait_exit() == 1
    assert node.ingest_address.split(":")[1] in other.run_log and "in use" in other.run_log


@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_node_ends_at_once_with_exit_0(make_forebay, what):
    node = make_forebay()
    node.process.send_signal(what)
    assert node.wait_exit(10) == 0
    assert node.log_lines("stopped")
