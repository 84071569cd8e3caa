"""kill -9 at random and at named points: what was acknowledged is in the files once, what was not sent is not there.

Sizes for CI; FOREBAY_TEST_KILLS and FOREBAY_TEST_FAILPOINT_ROUNDS scale them up. The binary must have the failpoints
compiled in (preset dev); without them the tests of named points are skipped.
"""
import os
import random
import signal
import subprocess

import pytest
from accounting import Account, Senders
from forebay_harness import binary

KILLS = int(os.environ.get("FOREBAY_TEST_KILLS", "40"))
ROUNDS = int(os.environ.get("FOREBAY_TEST_FAILPOINT_ROUNDS", "2"))

# Small limits, so that rotation, sealing, batches and uploads happen all the time.
CONFIG = {
    "generation": {"max_age": "300ms", "max_memory": "8MiB"},
    "batch": {"min_bytes": "100KB", "max_bytes": "1MB", "max_age": "700ms"},
    "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
}

FAILPOINTS = [
    "acknowledge.before_write", "acknowledge.before_sync", "acknowledge.before_wake", "acknowledge.before_answer",
    "rotate.before_create", "rotate.after_create", "seal.before_sync", "seal.before_commit", "seal.after_commit",
    "manifest.before_write", "manifest.after_write", "upload.before_rename", "upload.after_rename",
    "delete.before_segments", "delete.after_segments", "replay.before_record", "replay.before_seal",
    "shutdown.before_seal",
]


def failpoints_compiled_in():
    return b"seal.before_commit" in binary().read_bytes()


def end_of(node, timeout):
    """The exit status within the time, else None."""
    try:
        return node.wait_exit(timeout)
    except subprocess.TimeoutExpired:
        return None


def test_kill_at_random_loses_and_doubles_nothing(make_forebay):
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    account = Account()
    node = make_forebay(CONFIG)
    for _ in range(KILLS):
        with Senders(node, account, count=3, seed=chance.randrange(1 << 30)):
            account.wait_acknowledged(chance.randrange(1, 400), timeout=10)
            node.kill9()
        node.start()
    node.flush()
    print(account.verify(node))
    assert node.process.poll() is None


@pytest.mark.skipif(not binary().exists() or not failpoints_compiled_in(),
                    reason="the binary has no failpoints compiled in: use the dev build")
@pytest.mark.parametrize("point", FAILPOINTS)
def test_kill_at_a_named_point_loses_and_doubles_nothing(make_forebay, point):
    account = Account()
    died = 0
    for attempt in range(ROUNDS):
        node = make_forebay(CONFIG) if attempt == 0 else node.start()
        # Something to replay for the points of recovery.
        with Senders(node, account, count=2, seed=attempt):
            account.wait_acknowledged(50, timeout=10)
            node.kill9()
        node.env["FOREBAY_FAILPOINT"] = f"{point}:{1 + attempt * 2}"
        node.start(wait=False)
        with Senders(node, account, count=2, seed=100 + attempt):
            if point.startswith("shutdown"):
                account.wait_acknowledged(50, timeout=10)
                node.process.send_signal(signal.SIGTERM)
            ended = end_of(node, 8)
        died += ended == -9
        if ended is None:
            node.kill9()
        del node.env["FOREBAY_FAILPOINT"]
    assert died > 0, f"nothing passes {point}"
    node.start()
    node.flush()
    print(f"{point}: died {died} times;", account.verify(node))
