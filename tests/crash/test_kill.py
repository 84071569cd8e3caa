"""kill -9 at random and at named points: what was acknowledged is in the files once, what was refused is not there.

Sizes for CI; FOREBAY_TEST_KILLS and FOREBAY_TEST_FAILPOINT_ROUNDS scale them up, FOREBAY_TEST_SEED repeats a run,
FOREBAY_TEST_FAILPOINTS names the points (all). The binary must have the failpoints compiled in (preset dev); without
them the tests of named points are skipped.
"""
import os
import random
import signal
import subprocess

import chaos_run
import failpoints
import pytest
from accounting import Account, Senders
from drained import settle
from node_fixtures import SANITIZER

KILLS = int(os.environ.get("FOREBAY_TEST_KILLS", "200"))
ROUNDS = int(os.environ.get("FOREBAY_TEST_FAILPOINT_ROUNDS", "3"))
POINTS = os.environ.get("FOREBAY_TEST_FAILPOINTS", "").split() or failpoints.names()
READY = chaos_run.READY_SECONDS


# Above the limit of one test, for long runs.
@pytest.mark.timeout(300 + 3 * KILLS)
def test_kill_at_random_loses_and_doubles_nothing(tmp_path):
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    totals = chaos_run.Totals()
    round_ = chaos_run.Round(tmp_path / "node", seed, totals, chaos_run.KILLS_ONLY)
    try:
        round_.run(KILLS)
    finally:
        print(f"seed {seed}: {totals}")
    assert totals.kills() == KILLS
    assert not SANITIZER.search(round_.node.log), round_.node.tail(100)


# A restart of each kind of round: senders of all profiles, failpoints, SIGTERM, SIGSTOP.
def test_mixed_trouble_loses_and_doubles_nothing(tmp_path):
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    totals = chaos_run.Totals()
    round_ = chaos_run.Round(tmp_path / "node", seed, totals, tmpfs=not chaos_run.Tmpfs.possible())
    try:
        round_.run(max(5, KILLS // 8))
    finally:
        print(f"seed {seed}: {totals}")
    assert not SANITIZER.search(round_.node.log), round_.node.tail(100)


@failpoints.needed
@pytest.mark.parametrize("point", POINTS)
def test_kill_at_a_named_point_loses_and_doubles_nothing(make_forebay, tmp_path, point):
    account = Account(tmp_path / "account.journal")
    died, passes, node = 0, 1, None
    for attempt in range(3 * ROUNDS):
        if died == ROUNDS:
            break
        node = node.start(timeout=READY) if node else make_forebay(chaos_run.CONFIG)
        # Something to replay for the points of recovery.
        with Senders(node, account, count=2, seed=attempt, profile=None, bad=0.05):
            account.wait_acknowledged(300, timeout=10)
            node.kill9()
        node.env["FOREBAY_FAILPOINT"] = f"{point}:{passes}"
        node.start(wait=False)
        with Senders(node, account, count=2, seed=100 + attempt, profile=None, bad=0.05):
            if point.startswith("shutdown"):
                account.wait_acknowledged(50, timeout=10)
                node.process.send_signal(signal.SIGTERM)
            ended = end_of(node, 8)
        died += ended == -9
        # Later passes too; back to the first when there are not so many.
        passes = passes + 2 if ended == -9 else 1
        if ended is None:
            node.kill9()
        del node.env["FOREBAY_FAILPOINT"]
        account.look(node)
    assert died == ROUNDS, f"{point} was passed in {died} of {attempt + 1} runs"
    node.start(timeout=READY)
    print(f"{point}: died {died} times;", settle(node, account))
    account.close()


def end_of(node, timeout):
    """The exit status within the time, else None."""
    try:
        return node.wait_exit(timeout)
    except subprocess.TimeoutExpired:
        return None
