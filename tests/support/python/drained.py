"""What must hold of a node that was drained: nothing waits, nothing lies about, and what comes now gets through."""

import os
import pathlib
import re
import time

import conservation
from accounting import ONCE, Senders
from forebay_harness import wait_for

LIVENESS_SECONDS = 10
# Files that belong below storage.dir of an idle node; spare journals wait for their next use.
IDLE_FILES = re.compile(r"lock|reserve[^/]*|journal/[^/]+|(?:peer-)?ledger/[0-9a-f]+\.ids|quarantine/.+|dlq/.+")


def settle(node, account=None, timeout=60):
    """Flushes until everything is out, and checks the node. Returns the account as text.

    Checked: the oracle (nothing lost, duplicated, invented, changed; nothing refused delivered), the conservation of
    rows with nothing pending, no file left over, a fresh sample gets through, file descriptors and threads are few.
    """
    wait_for("the end of the recovery", lambda: node.metric("forebay_wal_recovering") == 0, timeout)
    node.flush(timeout)
    text = account.verify(node) if account is not None else ""
    check_rows(node, account)
    check_leftovers(node)
    check_handles(node)
    if account is not None:
        before = len(account.acknowledged)
        check_liveness(node, account)
        assert len(account.acknowledged) > before, f"nothing is taken any more\n{node.tail()}"
    return text


def check_rows(node, account):
    rows = conservation.check(node)
    assert all(states["pending"] == 0 for states in rows.values()), f"flushed, and rows are pending: {rows}"
    if account is None or node.starts != 1:
        return
    # One process did everything: its own account and that of the senders say the same.
    uploaded = sum(states["uploaded"] for states in rows.values())
    assert uploaded == account.oracle.rows, f"{uploaded} rows uploaded by the metrics, {account.oracle.rows} in files"


def check_leftovers(node):
    out = [str(path) for path in pathlib.Path(node.out).rglob("*") if path.name.endswith(".tmp")]
    assert not out, f"left over in the sink: {out}"

    def left():
        # An idle generation may be rotated just now; what stays is left over.
        names = [str(path.relative_to(node.data)) for path in node.data.rglob("*") if path.is_file()]
        return [name for name in names if not IDLE_FILES.fullmatch(name)]

    try:
        wait_for("an empty storage.dir", lambda: not left(), 5)
    except TimeoutError:
        raise AssertionError(f"left over in storage.dir: {left()}") from None
    assert not (node.data / "dlq").exists() or not any((node.data / "dlq").iterdir()), "dead letters"


def check_liveness(node, account):
    """A fresh sample is in the files within LIVENESS_SECONDS."""
    began = time.monotonic()
    with Senders(node, account, count=1, seed=int(began), tables=1, profile=ONCE):
        account.wait_acknowledged(1, timeout=LIVENESS_SECONDS)
    node.flush(LIVENESS_SECONDS)
    account.verify(node)
    elapsed = time.monotonic() - began
    assert elapsed < LIVENESS_SECONDS, f"a fresh sample took {elapsed:.1f} s"


def check_handles(node):
    """Descriptors and threads do not depend on how much was done."""
    descriptors = len(os.listdir(f"/proc/{node.pid}/fd"))
    threads = len(os.listdir(f"/proc/{node.pid}/task"))
    assert descriptors <= 64, f"{descriptors} descriptors are open"
    assert threads <= 32, f"{threads} threads"
