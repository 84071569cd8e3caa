"""Overload against the real binary: clients that are slow, hostile or too many.

Each test keeps a well-behaved sender going beside the attack. At the end: all of its requests were accepted; the account
of every sample is exact; the process was never larger than the bound of its configuration (docs/operations.md, "Memory").
FOREBAY_OVERLOAD_SCALE multiplies the times of the attacks.
"""

import contextlib
import os
import re
import resource
import socket
import threading
import time

import conservation
import pytest
from accounting import Account
from forebay_harness import (CONTENT_TYPE_V1, CONTENT_TYPE_V2, HttpClient, Sample, Series, encode_v1, snappy,
                             snappy_literals, wait_for)
from remote_write import f_bytes, f_varint, varint

SCALE = float(os.environ.get("FOREBAY_OVERLOAD_SCALE", "1"))
KIB, MIB = 1 << 10, 1 << 20
# What the configuration below means in bytes; kept beside it, so that the bound is counted from one place.
MAX_BODY, MAX_DECODED, IN_FLIGHT, GENERATION, SERIES = 1 * MIB, 4 * MIB, 8 * MIB, 24 * MIB, 32 * MIB
IO_THREADS, WORKERS, SEGMENTS, CONNECTIONS = 2, 2, 16, 6000
CONFIG = {
    "http": {"io_threads": IO_THREADS, "max_connections": CONNECTIONS, "max_body": "1MiB", "max_decoded_body": "4MiB",
             "header_timeout": "1s", "body_timeout": "2s", "idle_timeout": "1m"},
    "limits": {"in_flight_bodies": "8MiB", "series_bytes": "32MiB", "series_max": 100000, "tables_max": 2000},
    "generation": {"max_memory": "24MiB", "max_age": "1s"},
    "batch": {"max_segments": SEGMENTS, "max_age": "5s"},
    "upload": {"workers": WORKERS},
    "idempotency": {"max_entries": 100000},
}
DOCUMENTED = {204, 400, 413, 415, 429, 503}


def memory_bound():
    """The formula of docs/operations.md, in bytes."""
    request = 3 * MAX_DECODED + 64 * MIB  # staged by the largest one
    return (64 * MIB + SERIES + 2000 * KIB + GENERATION * 5 // 4 + 2 * (IN_FLIGHT + MAX_BODY) + 2 * (IN_FLIGHT + request)
            + IO_THREADS * (48 * MIB + 8 * MAX_DECODED) + CONNECTIONS * 24 * KIB
            + WORKERS * (SEGMENTS + 2) * MIB + 100000 * 150)


def peak_memory(node):
    text = open(f"/proc/{node.process.pid}/status").read()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) * KIB


def encode_samples(samples):
    return snappy(encode_v1([Series([("__name__", table), *labels], [Sample(float(value), timestamp)])
                             for value, (table, labels, timestamp) in samples.items()]))


class Sender:
    """Writes batches of numbered samples as a tenant; notes in the account what became of them."""

    def __init__(self, node, account, tenant="", series=20):
        self.client = HttpClient(node.ingest_url, timeout=30)
        self.account, self.tenant, self.series = account, tenant, series
        self.statuses = {}
        self.without_retry_after = 0

    def write(self, samples=20):
        values = self.account.take(samples)
        now = int(time.time() * 1000)
        made = {value: (f"Load{value % 5}", (("series", f"{self.tenant}{value % self.series}"),), now) for value in values}
        self.account.note_sent(made)
        body = encode_samples(made)
        headers = {"Content-Type": CONTENT_TYPE_V1, "Content-Encoding": "snappy"}
        if self.tenant:
            headers["X-Scope-OrgID"] = self.tenant
        status = None
        try:
            answer = self.client.post("/api/v1/write", body, headers)
            status = answer.status
            if status in (429, 503) and int(answer.headers.get("retry-after", 0)) < 1:
                self.without_retry_after += 1
        finally:
            self.account.note(values, status)
            self.statuses[status] = self.statuses.get(status, 0) + 1
        return status


class Background:
    """Calls `step` of each of these in threads of their own until the block ends; errors are raised there."""

    def __init__(self, steps, pause=0.0):
        self.stopping = threading.Event()
        self.errors = []
        self.pause = pause
        self.threads = [threading.Thread(target=self.run, args=(step,)) for step in steps]

    def run(self, step):
        try:
            while not self.stopping.is_set():
                step()
                if self.pause:
                    self.stopping.wait(self.pause)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        if kind is None:
            assert not self.errors, self.errors


def address(node):
    host, port = node.ingest_address.split(":")
    return host, int(port)


def settle(node, account, well):
    """What must hold after each attack."""
    assert set(well.statuses) == {204}, well.statuses
    assert well.statuses[204] >= 10
    node.expect_running()
    node.flush()
    text = account.verify(node)
    stored = node.metric("forebay_receive_samples_total")
    assert stored == len(account.acknowledged), (stored, text)
    received = node.metric("forebay_receive_received_samples_total")
    rest = sum(node.metric(f"forebay_receive_{kind}_samples_total") for kind in ("deduplicated", "dropped", "refused"))
    assert received == stored + rest
    conservation.check(node)
    assert node.metric("forebay_receive_in_flight_bytes") == 0
    assert node.metric("forebay_receive_in_flight_decoded_bytes") == 0
    peak, bound = peak_memory(node), memory_bound()
    print(f"{text}; peak {peak >> 20} MiB of {bound >> 20} MiB")
    assert peak <= bound * 1.1


def test_slow_loris_does_not_keep_others_from_being_served(make_forebay):
    node = make_forebay(CONFIG)
    account = Account()
    well = Sender(node, account)
    head = b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nX-Padding: "
    body = b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n"
    chunked = b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n"
    with Background([well.write], pause=0.01), contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(address(node), timeout=20)) for _ in range(600)]
        for number, connection in enumerate(slow):
            connection.sendall((head, body, chunked)[number % 3])
        # A byte now and then, for longer than any of them is allowed.
        open_ones = set(slow)
        deadline = time.monotonic() + 6 * SCALE
        while open_ones and time.monotonic() < deadline:
            time.sleep(0.2)
            for connection in list(open_ones):
                try:
                    connection.sendall(b"x")
                except OSError:
                    open_ones.discard(connection)
        answers = set()
        for connection in slow:
            with contextlib.suppress(OSError):
                answers.add(connection.recv(100)[:12])
        # Who was reset before reading has no answer; nobody has another one.
        assert answers <= {b"HTTP/1.1 408", b""}, answers
        assert b"HTTP/1.1 408" in answers
        wait_for("the slow ones to be gone", lambda: node.metric("forebay_http_connections", port="ingest") <= 1)
    assert node.metric("forebay_http_timeouts_total", port="ingest") >= 600
    settle(node, account, well)


def test_five_thousand_idle_connections_leave_room(make_forebay):
    wanted = 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + 500:
        pytest.skip(f"the hard limit of descriptors is {hard}, {wanted + 500} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 500), hard))
    node = make_forebay({**CONFIG, "http": {**CONFIG["http"], "header_timeout": "1m"}})
    account = Account()
    well = Sender(node, account)
    first = b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with Background([well.write], pause=0.01), contextlib.ExitStack() as stack:
        for number in range(wanted):
            connection = stack.enter_context(socket.create_connection(address(node), timeout=20))
            if number % 2:  # half of them have sent a request before
                connection.sendall(first)
        wait_for("the connections",
                 lambda: node.metric("forebay_http_connections", port="ingest") >= wanted, timeout=30)
        before = well.statuses.get(204, 0)
        wait_for("further requests", lambda: well.statuses.get(204, 0) >= before + 20, timeout=20)
    settle(node, account, well)


def repeated(field, message, body):
    """One series of as many of these fields as fit, without a name: refused even where it can be decoded."""
    part = f_bytes(field, message)
    return f_bytes(1, part * ((body - 16) // len(part)))


def nested(depth):
    message = b""
    for _ in range(depth):
        message = f_bytes(9, message)
    return message


HOSTILE = {
    "says 4 GiB": (varint(2**32 - 1) + b"\0a" * 20, CONTENT_TYPE_V1, {413}),
    "says more than 32 bits": (varint(2**40) + b"\0a" * 20, CONTENT_TYPE_V1, {400}),
    "zeros up to the limit": (snappy(b"\0" * MAX_DECODED), CONTENT_TYPE_V1, {400}),
    "zeros beyond it": (snappy(b"\0" * (MAX_DECODED + 1)), CONTENT_TYPE_V1, {413}),
    "empty samples": (snappy(repeated(2, b"", MAX_DECODED)), CONTENT_TYPE_V1, {413}),
    "samples at nine bytes": (snappy(repeated(2, f_varint(2, 1_700_000_000_000), MAX_DECODED)), CONTENT_TYPE_V1, {400}),
    "empty exemplars": (snappy(repeated(3, b"", MAX_DECODED)), CONTENT_TYPE_V1, {413}),
    "empty histograms": (snappy(repeated(4, b"", MAX_DECODED)), CONTENT_TYPE_V1, {413}),
    "empty labels": (snappy(repeated(1, b"", MAX_DECODED)), CONTENT_TYPE_V1, {400}),
    "empty series": (snappy(f_bytes(1, b"") * (MAX_DECODED // 2)), CONTENT_TYPE_V1, {204, 400}),
    "empty metadata": (snappy(f_bytes(3, b"") * (MAX_DECODED // 2)), CONTENT_TYPE_V1, {204, 400}),
    "a label of megabytes": (snappy(f_bytes(1, f_bytes(1, f_bytes(1, b"__name__") + f_bytes(2, b"a" * 3 * MIB)))),
                             CONTENT_TYPE_V1, {400}),
    "empty symbols": (snappy(f_bytes(4, b"") * (MAX_DECODED // 2)), CONTENT_TYPE_V2, {413}),
    "label references": (snappy(f_bytes(4, b"") + f_bytes(5, f_bytes(1, b"\0" * (MAX_DECODED - 100)))),
                         CONTENT_TYPE_V2, {413}),
    "buckets": (snappy(f_bytes(1, f_bytes(1, f_bytes(1, b"__name__") + f_bytes(2, b"h"))
                               + f_bytes(4, f_bytes(11, f_varint(2, 3 * MIB)) + f_bytes(12, b"\0" * 3 * MIB)))),
                CONTENT_TYPE_V1, {400}),
    "deep nesting": (snappy(nested(20_000)), CONTENT_TYPE_V1, {204, 400}),
    "deep groups": (snappy(b"\x4b" * 500_000), CONTENT_TYPE_V1, {400}),
    "a varint without an end": (snappy(b"\x08" + b"\xff" * 100_000), CONTENT_TYPE_V1, {400}),
    "a length beyond the end": (snappy(b"\x0a" + varint(2**63) + b"a"), CONTENT_TYPE_V1, {400}),
    "noise": (snappy_literals(bytes(range(256)) * 1000), CONTENT_TYPE_V2, {400}),
}


def test_bombs_are_answered_as_documented_and_cost_no_more_than_the_bound(make_forebay):
    node = make_forebay(CONFIG)
    account = Account()
    well = Sender(node, account)
    wrong, seen, lock = [], set(), threading.Lock()
    cases = list(HOSTILE.items())
    assert all(len(body) <= MAX_BODY for _, (body, _, _) in cases), "an encoder without compression is installed"
    # What each gets alone.
    with HttpClient(node.ingest_url) as client:
        for name, (body, content_type, expected) in cases:
            answer = client.post("/api/v1/write", body, {"Content-Type": content_type})
            if answer.status not in expected:
                wrong.append((name, answer.status, answer.text[:200]))
    assert not wrong, wrong

    def attack(first):
        client = HttpClient(node.ingest_url, timeout=60)
        at = [first]

        def step():
            name, (body, content_type, expected) = cases[at[0] % len(cases)]
            at[0] += 1
            headers = {"Content-Type": content_type}
            chunked = at[0] % 3 == 0
            answer = client.post("/api/v1/write", iter([body]) if chunked else body, headers)
            with lock:
                seen.add(answer.status)
                if answer.status not in expected | {503} or (answer.status == 503
                                                             and "retry-after" not in answer.headers):
                    wrong.append((name, answer.status, answer.text[:200]))

        return step

    with Background([attack(n * 5) for n in range(4)]), Background([well.write], pause=0.02):
        time.sleep(8 * SCALE)
    assert not wrong, wrong[:5]
    assert seen <= DOCUMENTED and 413 in seen and 400 in seen, seen
    # Samples of hostile requests are in the account of the node as refused, not in this one.
    settle(node, account, well)


def test_ten_times_the_allowed_load_is_429_and_a_modest_tenant_does_not_notice(make_forebay):
    rate, burst, seconds = 12, 12, 15 * SCALE
    tenants = {"limits": {"requests_per_second": rate, "requests_burst": burst, "series_max": 15},
               "overrides": [{"name": "modest", "limits": {"requests_per_second": 1000}}]}
    node = make_forebay({**CONFIG, "tenants": tenants})
    account = Account()
    modest = Sender(node, account, "modest")
    greedy = [Sender(node, account, "greedy", series=10) for _ in range(4)]
    begun = time.monotonic()
    with Background([sender.write for sender in greedy], pause=0.005), Background([modest.write], pause=0.02):
        time.sleep(seconds)
    took = time.monotonic() - begun
    total = {}
    for sender in greedy:
        assert sender.without_retry_after == 0
        for status, count in sender.statuses.items():
            total[status] = total.get(status, 0) + count
    offered = sum(total.values())
    print(f"greedy: {total} in {took:.1f} s, {offered / took:.0f} offered each second; modest: {modest.statuses}")
    assert set(total) <= {204, 429}, total
    assert offered > 8 * rate * took, "the load was not much more than what is allowed"
    assert rate * took * 0.8 <= total[204] <= rate * took + burst + 2
    assert node.metric("forebay_receive_tenant_refused_requests_total", tenant="greedy", limit="requests") == total[429]
    assert node.metric("forebay_receive_requests_total", code="429") == total[429]
    settle(node, account, modest)


def test_a_tenant_above_its_series_limit_keeps_the_series_it_has(make_forebay):
    node = make_forebay({**CONFIG, "tenants": {"limits": {"series_max": 10}}})
    account = Account()
    with node.writer() as writer:
        def send(names, tenant):
            now = int(time.time() * 1000)
            values = account.take(len(names))
            made = {value: ("Up", (("series", name),), now) for name, value in zip(names, values)}
            account.note_sent(made)
            answer = writer.send(encode_samples(made), CONTENT_TYPE_V1, "0.1.0", {"X-Scope-OrgID": tenant}, bytes)
            # In these calls only the last series may be new.
            account.note(values, answer.status, bad=() if answer.status == 204 else {values[-1]})
            return answer

        ten = [f"a{n}" for n in range(10)]
        assert send(ten, "a").status == 204
        refused = send(ten + ["a10"], "a")
        assert refused.status == 400 and "1 tenant_series_limit" in refused.text and "the rest was kept" in refused.text
        assert send(ten, "a").status == 204
        assert send(["a10"], "b").status == 204
    node.flush()
    print(account.verify(node))
