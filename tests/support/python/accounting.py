"""The accounting client: senders whose samples all carry a number of their own, and the check of where each one is.

A request is sent once. Its samples are then acknowledged (2xx), refused (any other answer) or unknown (no answer). After
a flush, for the rows of the file sink: acknowledged = there exactly once; refused = not there; unknown = at most once;
nothing else is there.
"""
import http.client
import random
import threading
import time

from forebay_harness import read_rows
from remote_write import Sample, Series


class Account:
    """What was sent and what became of it. Threads: any."""

    def __init__(self):
        self.changed = threading.Condition()
        self.next_value = 1
        self.sent = {}  # value -> (metric, series label, timestamp)
        self.acknowledged = set()
        self.refused = set()

    def take(self, count):
        """`count` values that no other sample has."""
        with self.changed:
            first = self.next_value
            self.next_value += count
            return range(first, first + count)

    def note(self, values, status):
        with self.changed:
            if status is not None:
                (self.acknowledged if 200 <= status < 300 else self.refused).update(values)
            self.changed.notify_all()

    def wait_acknowledged(self, more, timeout):
        """Waits until so many further samples are acknowledged; no failure at the timeout."""
        deadline = time.monotonic() + timeout
        with self.changed:
            target = len(self.acknowledged) + more
            while len(self.acknowledged) < target and time.monotonic() < deadline:
                self.changed.wait(0.05)

    def verify(self, node):
        """Checks the files of a flushed node. Returns the account as text."""
        delivered = {}
        for row in read_rows(node.out):
            value = int(float(row["Value"]))
            delivered.setdefault(value, []).append(row)
        lost = sorted(self.acknowledged - delivered.keys())
        doubled = sorted(value for value, rows in delivered.items() if len(rows) > 1)
        invented = sorted(delivered.keys() - self.sent.keys())
        refused = sorted(self.refused & delivered.keys())
        text = (f"{len(self.sent)} sent, {len(self.acknowledged)} acknowledged, {len(self.refused)} refused, "
                f"{len(delivered)} delivered; {len(lost)} lost, {len(doubled)} doubled, {len(invented)} invented, "
                f"{len(refused)} refused and yet delivered")
        assert self.acknowledged, "nothing was acknowledged: this run shows nothing"
        assert not (lost or doubled or invented or refused), \
            f"{text}\nlost {lost[:5]} doubled {doubled[:5]} invented {invented[:5]} refused {refused[:5]}\n{node.tail(60)}"
        for value, (row,) in delivered.items():
            metric, label, timestamp = self.sent[value]
            assert row["Labels"]["series"] == label, (value, row)
            assert row["_table"] == metric, (value, row)
        return text


class Senders:
    """Threads that write to a node until the block ends."""

    def __init__(self, node, account, count=2, seed=0, tables=7, series=50):
        self.node = node
        self.account = account
        self.tables = tables
        self.series = series
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(seed * 1000 + n,)) for n in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run(self, seed):
        chance = random.Random(seed)
        writer = None
        while not self.stopping.is_set():
            values = self.account.take(chance.randrange(1, 60))
            body = []
            for value in values:
                metric = f"Crash{chance.randrange(self.tables)}"
                label = str(chance.randrange(self.series))
                timestamp = int(time.time() * 1000)
                self.account.sent[value] = (metric, label, timestamp)
                body.append(Series({"__name__": metric, "series": label}, [Sample(float(value), timestamp)]))
            status = None
            try:
                if writer is None:
                    writer = self.node.writer(timeout=10)
                send = writer.send_v1 if chance.random() < 0.7 else writer.send_v2
                status = send(body).status
            except (OSError, http.client.HTTPException):  # no answer
                writer = None
                self.stopping.wait(0.02)
            self.account.note(values, status)
