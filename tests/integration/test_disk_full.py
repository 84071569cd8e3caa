"""Disk full as a normal state: writes are answered 503, uploads go on, and service resumes without a restart.

A node with a dead sink is filled until it refuses, the sink comes back, the node drains: every acknowledged sample is
in the files once, no refused one is. On a tmpfs (needs the right to mount) and with storage.max_disk as the limit.
FOREBAY_TEST_DISK_MB scales the size of the disk, FOREBAY_TEST_DISK_RIDES the number of rides.
"""
import ctypes
import os
import random
import subprocess
import time
import types

import pytest
from accounting import ONCE, Account, Request, Senders
from drained import settle
from forebay_harness import wait_for
from remote_write import Sample, Series, encode_v1, snappy

MEGABYTES = int(os.environ.get("FOREBAY_TEST_DISK_MB", "64"))
RIDES = int(os.environ.get("FOREBAY_TEST_DISK_RIDES", "2"))
PAD_BYTES = 4000  # of a label, random: a few hundred requests fill the disk
TIMEOUT = 60 + MEGABYTES / 2

CONFIG = {
    "generation": {"max_age": "500ms", "max_journal": "2MiB"},
    "batch": {"min_bytes": "1MB", "max_bytes": "4MB", "max_age": "500ms"},
    "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
    "storage": {"reserve": "8MiB", "audit_interval": "1s"},
}


@pytest.fixture
def volume(tmp_path):
    """A small tmpfs."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class FatSenders(Senders):
    """Senders of large requests that look at each refusal."""

    def __init__(self, node, account, **options):
        super().__init__(node, account, **options)
        self.refusals = 0

    def make_request(self, worker, chance):
        values = self.account.take(30)
        now = int(time.time() * 1000)
        samples, body = {}, []
        for value in values:
            table = f"Crash{chance.randrange(self.tables)}"
            labels = (("pad", chance.randbytes(PAD_BYTES // 2).hex()), ("worker", str(worker)))
            samples[value] = (table, labels, now)
            body.append(Series([("__name__", table), *labels], [Sample(float(value), now)]))
        self.account.note_sent(samples)
        return Request(values, set(), True, snappy(encode_v1(body)), {})

    def deliver(self, connection, request, profile):
        def send(sent, attempt):
            status, retry_after = connection.send(sent, attempt)
            if status == 503:
                self.refusals += 1
                assert retry_after is not None and retry_after >= 1, "a 503 without Retry-After"
                self.stopping.wait(0.05)
            else:
                assert status in (204, None), status
            return status, retry_after

        super().deliver(types.SimpleNamespace(send=send), request, profile)


def exchange(first, second):
    """Two names in one step: between two steps the node would make a new root."""
    at_cwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_cwd, bytes(first), at_cwd, bytes(second), rename_exchange) != 0:
        raise OSError(ctypes.get_errno(), f"exchange {first} and {second}")


def block(node):
    """The sink's root is a file: nothing can be delivered."""
    node.out.mkdir(exist_ok=True)
    away = node.out.with_name("out.away")
    away.write_text("not a directory")
    exchange(away, node.out)


def unblock(node):
    away = node.out.with_name("out.away")
    exchange(away, node.out)
    away.unlink()


def full(node):
    return node.metric("forebay_disk_full") > 0


def fill(node, account, senders):
    """Until the node refuses, and goes on refusing."""
    wait_for("a full disk", lambda: full(node), TIMEOUT)
    before = senders.refusals
    wait_for("refusals", lambda: senders.refusals >= before + 20, TIMEOUT)
    changes = node.metric("forebay_disk_state_changes_total")
    time.sleep(1)  # sealing goes on, and nothing is let in by it
    assert full(node) and node.metric("forebay_disk_state_changes_total") == changes, "the state flickers"
    assert node.metric("forebay_disk_state_seconds") >= 1
    with node.admin() as client:
        assert client.get("/readyz").status == 503


def ride(node, account, seed):
    block(node)
    with FatSenders(node, account, count=3, seed=seed, profile=ONCE) as senders:
        fill(node, account, senders)
        unblock(node)
        wait_for("room", lambda: not full(node), TIMEOUT)
        account.wait_acknowledged(300, TIMEOUT)
    return senders.refusals


def check_account_of_bytes(node):
    with node.admin() as client:
        response = client.post("/-/audit")
    assert response.status == 200, response.text
    assert node.metric("forebay_disk_audit_differences_total") == 0, node.tail()
    assert node.metric("forebay_disk_audits_total") > 1


def rides(node, seed):
    account = Account()
    refusals = 0
    for number in range(RIDES):
        refusals += ride(node, account, seed + number)
        settle(node, account, TIMEOUT)
        check_account_of_bytes(node)
    assert node.starts == 1
    # A start in the full state: between the watermarks it takes writes until it is full again.
    block(node)
    with FatSenders(node, account, count=3, seed=seed + 100, profile=ONCE) as senders:
        fill(node, account, senders)
        node.kill9()
    node.start(wait=False)
    node.wait_listening()
    with FatSenders(node, account, count=3, seed=seed + 200, profile=ONCE) as senders:
        fill(node, account, senders)
        unblock(node)
        wait_for("room", lambda: not full(node), TIMEOUT)
    text = settle(node, account, TIMEOUT)
    check_account_of_bytes(node)
    print(f"seed {seed}: {RIDES} rides and a start in the full state; {refusals} requests answered 503; {text}")


def seed_of_run():
    return int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 20)))


def test_a_full_volume_refuses_drains_and_takes_again(volume, make_forebay):
    config = {**CONFIG, "storage": {**CONFIG["storage"], "dir": str(volume / "data")}}
    node = make_forebay(config, start=False)
    node.data = volume / "data"
    node.start()
    rides(node, seed_of_run())
    assert node.metric("forebay_disk_full_seconds_total") > 0


def test_the_limit_of_bytes_refuses_drains_and_takes_again(make_forebay):
    limit = max(MEGABYTES // 2, 8)
    config = {**CONFIG, "storage": {**CONFIG["storage"], "max_disk": f"{limit}MiB", "high_watermark": 80,
                                    "low_watermark": 40}}
    node = make_forebay(config)
    rides(node, seed_of_run())


def fill_volume(node, path):
    """Takes what is left of the volume, to the last block, and then what the node gave up for it."""
    with open(path, "wb", buffering=0) as file:
        def fill():
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

        fill()
        wait_for("a full volume", lambda: node.metric("forebay_disk_full", cause="volume") == 1, 10)
        wait_for("spare journals to go", lambda: node.metric("forebay_wal_journal_spare_bytes") == 0, 10)
        fill()


def test_a_volume_that_others_filled_is_drained_by_the_reserve(volume, make_forebay):
    config = {**CONFIG, "generation": {"max_age": "1h"}, "batch": {"max_age": "1h"},
              "storage": {**CONFIG["storage"], "dir": str(volume / "data")}}
    node = make_forebay(config, start=False)
    node.data = volume / "data"
    node.start()
    account = Account()
    with FatSenders(node, account, count=2, seed=1):
        account.wait_acknowledged(600, 30)
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200
    wait_for("the reserve", lambda: node.metric("forebay_disk_reserve_ready") == 1, 10)
    fill_volume(node, volume / "others")
    node.flush()
    assert node.metric("forebay_disk_reserve_given_up_total") == 1
    assert node.metric("forebay_wal_segments") == 0
    (volume / "others").unlink()
    wait_for("the reserve again", lambda: node.metric("forebay_disk_reserve_ready") == 1, 10)
    print(settle(node, account))


def test_a_sink_on_the_same_full_volume_delivers_nothing_by_halves(volume, make_forebay):
    config = {**CONFIG, "generation": {"max_age": "1h"}, "batch": {"max_age": "1h"},
              "storage": {**CONFIG["storage"], "dir": str(volume / "data")},
              "databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(volume / "out")}}]}]}
    node = make_forebay(config, start=False)
    node.data, node.out = volume / "data", volume / "out"
    node.start()
    account = Account()
    with FatSenders(node, account, count=2, seed=2):
        account.wait_acknowledged(600, 30)
    block(node)
    with node.admin() as client:
        assert client.post("/-/flush?timeout=1s").status == 503  # batches are made and fail
    fill_volume(node, volume / "others")
    unblock(node)
    before = node.metric("forebay_upload_retries_total")
    wait_for("failed tries", lambda: node.metric("forebay_upload_retries_total") > before + 20, 20)
    assert not list(node.out.rglob("*.csv.gz")), "delivered to a volume without a free block"
    assert node.metric("forebay_upload_rows_total") == 0
    (volume / "others").unlink()
    wait_for("room", lambda: not full(node), 10)
    print(settle(node, account))


def test_a_foreign_file_is_counted_by_an_audit(forebay):
    (forebay.data / "segments" / "notes.txt").write_bytes(b"x" * 10_000)
    before = forebay.metric("forebay_disk_bytes", **{"class": "segments"})
    with forebay.admin() as client:
        response = client.post("/-/audit")
    assert response.status == 200 and '"differences":1' in response.text, response.text
    assert "notes.txt" in response.text
    assert forebay.metric("forebay_disk_bytes", **{"class": "segments"}) == before + 3 * 4096
