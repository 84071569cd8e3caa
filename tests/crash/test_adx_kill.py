"""kill -9 during uploads to Azure Data Explorer: what was acknowledged is in the cluster once, by the tag of its batch.

FOREBAY_TEST_ADX_KILLS scales it up, FOREBAY_TEST_SEED repeats a run. The named points need a binary with failpoints.
"""
import collections
import os
import random
import subprocess
import threading
import time

import azurite
import failpoints
import pytest
from forebay_harness import Sample, Series, wait_for
from kusto_fixtures import make_kusto, storage  # noqa: F401

KILLS = int(os.environ.get("FOREBAY_TEST_ADX_KILLS", "8"))
pytestmark = pytest.mark.skipif(not azurite.available(), reason="azurite is not there: ./dev setup")

QUICK = {"generation": {"max_age": "100ms"}, "batch": {"max_age": "100ms"},
         "upload": {"retry_initial": "20ms", "retry_max": "500ms", "workers": 4}}


class Traffic:
    """Writes of ten samples with numbers of their own to three tables, until the end."""

    def __init__(self, node):
        self.node, self.offered, self.accepted = node, 0, set()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.01):
            numbers = range(self.offered, self.offered + 10)
            self.offered += 10
            series = Series({"__name__": f"killed_{self.offered % 3}"},
                            [Sample(float(n), 1_700_000_000_000 + n) for n in numbers])
            try:
                with self.node.writer(timeout=5) as writer:
                    answer = writer.send_v1([series])
                if answer.status == 204:
                    self.accepted.update(numbers)
            except OSError:
                time.sleep(0.05)

    def end(self):
        self.ended.set()
        self.thread.join(20)


def delivered(kusto):
    return [int(float(row.values[3])) for i in range(3) for row in kusto.rows("Metrics", f"Killed{i}")]


def check(node, kusto, traffic):
    traffic.end()
    wait_for("all rows", lambda: traffic.accepted <= set(delivered(kusto)), 60)
    with node.admin() as client:
        client.post("/-/flush")
    wait_for("the last delivery", lambda: not list((node.data / "batches").glob("*.batch")), 60)
    twice = [n for n, count in collections.Counter(delivered(kusto)).items() if count > 1]
    assert not twice, f"{len(twice)} rows are there twice: {twice[:10]}"
    assert set(delivered(kusto)) <= set(range(traffic.offered))
    assert len(traffic.accepted) > 100


def test_kill_at_random_leaves_every_row_once(make_kusto, make_forebay):
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    kusto = make_kusto(auth=False)
    kusto.polls = 2
    node = make_forebay(QUICK, start=False)
    node.config["databases"][0]["sinks"].append(kusto.sink())  # beside the files
    node.start()
    traffic = Traffic(node)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.2))
        node.restart(kill=True)
    check(node, kusto, traffic)
    in_files = [int(float(row["Value"])) for i in range(3) for row in node.rows(f"Killed{i}")]
    assert sorted(in_files) == sorted(delivered(kusto)), "both sinks have every row once"


@pytest.mark.skipif(not failpoints.compiled_in(), reason="the binary has no failpoints compiled in: use the dev build")
@pytest.mark.parametrize("point", ["adx.after_blob", "adx.after_announce"])
def test_kill_at_a_named_point_leaves_every_row_once(make_kusto, make_forebay, point):
    kusto = make_kusto(auth=False)
    node = make_forebay({**QUICK, "databases": [{"name": "Metrics", "sinks": [kusto.sink()]}]})
    traffic = Traffic(node)
    died = 0
    for passes in range(1, 4):
        node.kill9()
        node.env["FOREBAY_FAILPOINT"] = f"{point}:{passes}"
        node.start(wait=False)
        try:
            died += node.wait_exit(15) == -9
        except subprocess.TimeoutExpired:
            node.kill9()
        del node.env["FOREBAY_FAILPOINT"]
        node.start()
    assert died == 3
    check(node, kusto, traffic)
    if point == "adx.after_announce":
        assert node.metric("forebay_upload_batches_total", outcome="already_there") >= 1
