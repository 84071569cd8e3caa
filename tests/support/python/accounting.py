"""The accounting client: senders whose samples all carry a number of their own, and what became of each one.

A sample's value is a 53-bit number that no other sample has; its series names the worker and the table. A request is
written to the account's journal, which is synced, before it is sent and after each answer, so that the account
outlives the test. A request that was not taken is sent again, byte for byte, as the sender's profile says.

Acknowledged: an answer said that it is stored (2xx, or 400 for the part that was kept). Refused: every try was
answered, and no answer said so. Unknown: at least one try has no answer, and none said that it is stored. What must
then be in the files, and the check, is in oracle.py: acknowledged exactly once, refused not at all, unknown at most
once, nothing else.
"""
import dataclasses
import http.client
import json
import os
import random
import threading
import time

from oracle import Oracle
from remote_write import (CONTENT_TYPE_V1, CONTENT_TYPE_V2, RemoteWriter, Sample, Series, encode_v1, encode_v2,
                          snappy)

FIRST_VALUE = 1 << 52  # so that every number has 53 bits


@dataclasses.dataclass(frozen=True)
class Profile:
    """When a sender tries again. A request without an answer is tried again while there are attempts, unless told otherwise."""

    name: str
    attempts: int  # of one request; the sender then gives it up
    retry_429: bool
    first_wait: float  # doubles up to last_wait
    last_wait: float
    obeys_retry_after: bool
    retry_lost: bool = True  # again without an answer


# A sender that never repeats anything.
ONCE = Profile("once", 1, False, 0, 0, False)
# Prometheus' rules: 5xx and lost answers, not 429; Retry-After is obeyed. Waits are shorter than its own.
PROMETHEUS = Profile("prometheus", 1000, False, 0.03, 1.0, True)
# Stricter: 429 as well, with few tries.
STRICT = Profile("strict", 5, True, 0.05, 1.0, True)
# Looser: repeats everything at once and does not listen.
LOOSE = Profile("loose", 1000, True, 0.001, 0.02, False)
# Behind a load balancer: a repetition may reach another node, which knows nothing of the first try.
BALANCED = Profile("balanced", 1000, False, 0.03, 1.0, True, retry_lost=False)
PROFILES = (ONCE, PROMETHEUS, STRICT, LOOSE)


class Account:
    """What was sent and what became of it. Threads: any.

    journal: a file for the events, one JSON line each, synced; None keeps them in memory alone.
    """

    def __init__(self, journal=None):
        self.changed = threading.Condition()
        self.next_value = FIRST_VALUE
        self.sent = {}  # value -> (table, labels as a tuple of pairs, timestamp in ms)
        self.acknowledged = set()
        self.refused = set()
        self.statuses = {}  # status, or None for no answer -> tries
        self.tries = 0
        self.journal = None if journal is None else os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.oracle = None

    def close(self):
        if self.journal is not None:
            os.close(self.journal)
            self.journal = None

    def take(self, count):
        """`count` values that no other sample has."""
        with self.changed:
            first = self.next_value
            self.next_value += count
            return range(first, first + count)

    def note_sent(self, samples, bad=()):
        """Before the first try. samples: {value: (table, labels, timestamp)}; bad: those that must be refused."""
        self.write({"event": "sent", "samples": [[value, *what] for value, what in samples.items()],
                    "bad": sorted(bad)})
        self.sent.update(samples)

    def note(self, values, status, refused=True, bad=()):
        """After a try. refused: status is a refusal, no earlier try lacks an answer, and there will be no other."""
        self.write({"event": "answer", "first": min(values), "count": len(values), "status": status,
                    "final": bool(refused)})
        with self.changed:
            self.tries += 1
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status is not None and 200 <= status < 300:
                self.acknowledged.update(values)
            elif status == 400 and bad:
                self.acknowledged.update(value for value in values if value not in bad)
                self.refused.update(bad)
            elif status is not None and refused:
                self.refused.update(values)
            self.changed.notify_all()

    def note_given_up(self, values):
        """Every try was answered, none took it, and there will be no other."""
        self.write({"event": "given_up", "first": min(values), "count": len(values)})
        with self.changed:
            self.refused.update(values)

    def write(self, event):
        if self.journal is None:
            return
        os.write(self.journal, json.dumps(event, separators=(",", ":")).encode() + b"\n")
        os.fdatasync(self.journal)

    @classmethod
    def load(cls, journal):
        """The account that a journal tells, also that of a test that was itself killed."""
        account, bad, missing = cls(), {}, set()
        with open(journal, encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break  # torn: never sent
                event = json.loads(line)
                if event["event"] == "sent":
                    samples = {value: (table, tuple(map(tuple, labels)), timestamp)
                               for value, table, labels, timestamp in event["samples"]}
                    account.sent.update(samples)
                    bad[min(samples)] = set(event["bad"])
                    account.next_value = max(account.next_value, max(samples) + 1)
                elif event["event"] == "given_up":
                    account.refused.update(range(event["first"], event["first"] + event["count"]))
                else:
                    first = event["first"]
                    values = range(first, first + event["count"])
                    if event["status"] is None:
                        missing.add(first)
                    account.note(values, event["status"], event["final"] and first not in missing,
                                 bad.get(first, ()))
        return account

    def wait_acknowledged(self, more, timeout):
        """Waits until so many further samples are acknowledged; no failure at the timeout."""
        deadline = time.monotonic() + timeout
        with self.changed:
            target = len(self.acknowledged) + more
            while len(self.acknowledged) < target and time.monotonic() < deadline:
                self.changed.wait(0.05)

    def look(self, node):
        """Reads the files that are new and checks what may be in them by now. Cheap; at any time."""
        if self.oracle is None:
            self.oracle = Oracle(node.out)
        self.oracle.read_new()
        result = self.oracle.compare(self)
        assert not result.wrong(), f"{result}\n{result.examples()}\n{node.tail(60)}"
        return result

    def verify(self, node):
        """Checks the files of a flushed node. Returns the account as text."""
        self.look(node)
        result = self.oracle.compare(self, complete=True)
        assert self.acknowledged, "nothing was acknowledged: this run shows nothing"
        assert result.clean(), f"{result}\n{result.examples()}\n{node.tail(60)}"
        return str(result)


class Senders:
    """Threads that write to a node until the block ends.

    profile: one of the profiles, or None for a mixture. bad: share of requests that hold a series which the node must
    refuse. An unresolved request is given up at the end of the block.
    """

    def __init__(self, node, account, count=2, seed=0, tables=7, series=50, profile=ONCE, bad=0.0, pause=0.0):
        self.node = node
        self.account = account
        self.tables = tables
        self.series = series
        self.profile = profile
        self.bad = bad
        self.pause = pause
        self.stopping = threading.Event()
        self.failures = []
        self.threads = [threading.Thread(target=self.run, args=(n, seed * 1000 + n)) for n in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures

    def run(self, worker, seed):
        try:
            self.send_until_stopped(worker, seed)
        except BaseException as failure:  # noqa: B902  (of a thread: shown at the end of the block)
            self.failures.append(repr(failure))
            raise

    def send_until_stopped(self, worker, seed):
        chance = random.Random(seed)
        connection = Connection(self.node)
        while not self.stopping.is_set():
            profile = self.profile or chance.choice(PROFILES)
            request = self.make_request(worker, chance)
            self.deliver(connection, request, profile)
            if self.pause:
                self.stopping.wait(self.pause)
        connection.close()

    def make_request(self, worker, chance):
        values = self.account.take(chance.randrange(1, 60))
        now = int(time.time() * 1000)
        samples, body, bad = {}, [], set()
        spoil = self.bad and chance.random() < self.bad and len(values) > 1
        for value in values:
            table = f"Crash{chance.randrange(self.tables)}"
            labels = (("series", str(chance.randrange(self.series))), ("worker", str(worker)))
            samples[value] = (table, labels, now)
            pairs = [("__name__", table), *labels]
            if spoil and value == values[0]:
                pairs.append(("worker", "twice"))
                bad.add(value)
            body.append(Series(pairs, [Sample(float(value), now)]))
        self.account.note_sent(samples, bad)
        version1 = chance.random() < 0.7
        key = {"Idempotency-Key": f"w{worker}-{values[0]}"} if chance.random() < 0.3 else {}
        encoded = encode_v1(body) if version1 else encode_v2(body)
        return Request(values, bad, version1, snappy(encoded), key)

    def deliver(self, connection, request, profile):
        """Until it is taken, refused for good, given up, or the block ends."""
        lost_answer, wait = False, profile.first_wait
        for attempt in range(1, profile.attempts + 1):
            status, retry_after = connection.send(request, attempt)
            lost_answer = lost_answer or status is None
            again = (status is None and profile.retry_lost) or (status or 0) >= 500 or (status == 429 and profile.retry_429)
            last = not again or attempt == profile.attempts or self.stopping.is_set()
            self.account.note(request.values, status, refused=last and not lost_answer, bad=request.bad)
            if last:
                break
            pause = retry_after if retry_after and profile.obeys_retry_after else wait
            if self.stopping.wait(min(pause, profile.last_wait)):
                # It is known now that there will be no other try.
                if not lost_answer:
                    self.account.note_given_up(request.values)
                break
            wait = min(wait * 2, profile.last_wait)
        if status is None:
            self.stopping.wait(0.02)


@dataclasses.dataclass
class Request:
    values: range
    bad: set
    version1: bool
    body: bytes
    headers: dict


class Connection:
    """One sender's connection to a node, made anew when it was lost."""

    # Of a load balancer that has no answer from the node; a node says neither.
    NOT_THE_NODE = (502, 504)

    def __init__(self, node, timeout=10):
        self.node = node
        self.timeout = timeout
        self.writer = None

    def send(self, request, attempt):
        """(status, Retry-After in seconds or None); (None, None) without an answer."""
        headers = {"Retry-Attempt": str(attempt - 1) if attempt > 1 else None, **request.headers}
        content_type, version = (CONTENT_TYPE_V1, "0.1.0") if request.version1 else (CONTENT_TYPE_V2, "2.0.0")
        try:
            if self.writer is None:
                self.writer = RemoteWriter(self.node.ingest_url, timeout=self.timeout, repeats=False)
            response = self.writer.send(request.body, content_type, version, headers, compress=bytes)
        except (OSError, http.client.HTTPException):
            self.close()
            return None, None
        if response.status in self.NOT_THE_NODE:
            return None, None
        if not request.version1 and response.status in (204, 400):
            kept = len(request.values) - len(request.bad)
            assert response.written[0] == kept, f"{response.written} of {kept} written: {response.text}"
        retry_after = response.headers.get("retry-after")
        return response.status, None if retry_after is None else float(retry_after)

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.writer = None

