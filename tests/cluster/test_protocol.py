"""What peers do wrong: transfers that come twice, late, cut off, out of order, replayed, and peers of other releases.

A client by hand (transfer_rpc.py) speaks to a real node. What it was told is in the files, once; nothing else is.
"""
import os
import random
import threading
import time

import grpc
import pytest
from accounting import PROMETHEUS, Account, Senders
from cluster import Cluster
from forebay_harness import free_port, merge, wait_for
from oracle import Oracle
from transfer_rpc import ACCEPTED, DUPLICATE, INVALID, OVERLOADED, UNDECIDED, OddServer, Peer, segments_of

STEPS = int(os.environ.get("FOREBAY_TEST_PROTOCOL_STEPS", "250"))
KEEPS = {"generation": {"max_age": "1h"}, "batch": {"max_age": "1h"}}


class Donor:
    """Sealed segments with rows of one account, that no node has any more."""

    def __init__(self, make, segments):
        node = make(KEEPS, name="donor")
        self.account = Account()
        with Senders(node, self.account, count=1, tables=segments, profile=PROMETHEUS):
            self.account.wait_acknowledged(segments * 40, 30)
        with node.admin() as client:
            assert client.post("/-/flush?upload=false").status == 200
        node.kill9()
        self.segments = segments_of(node)
        assert len(self.segments) == segments


class Receiver:
    """A node that takes segments, and the check of what it has made of them."""

    def __init__(self, make, donor, config=None):
        self.address = f"127.0.0.1:{free_port()}"
        self.node = make(merge({
            "generation": {"max_age": "100ms"}, "batch": {"max_age": "300ms"}, "listen": {"transfer": self.address},
            "cluster": {"member": "receiver", "discovery": "static",
                        "members": [{"name": "receiver", "address": self.address}]}}, config or {}), name="receiver")
        self.account = Account()
        self.account.sent = donor.account.sent
        self.account.oracle = Oracle(self.node.out)

    def peer(self, **options):
        return Peer(self.address, "receiver", **options)

    def check(self, has):
        """Of these segments every row is delivered once; of others none is."""
        for segment in has:
            self.account.acknowledged |= segment.values
        self.account.refused = self.account.sent.keys() - self.account.acknowledged
        wait_for("the end of the recovery", lambda: self.node.metric("forebay_wal_recovering") == 0)
        self.node.flush()
        if has:
            self.account.verify(self.node)
        else:
            assert not self.node.rows()


def test_a_segment_that_comes_again_is_known_whatever_happened_between(make_forebay):
    donor = Donor(make_forebay, 3)
    receiver = Receiver(make_forebay, donor)
    with receiver.peer() as peer:
        assert peer.send(*donor.segments) == [ACCEPTED] * 3
        assert peer.send(*donor.segments, piece=7) == [DUPLICATE] * 3
        receiver.node.flush()  # uploaded and deleted
        assert peer.send(*reversed(donor.segments)) == [DUPLICATE] * 3
    receiver.node.restart(kill=True)
    with receiver.peer() as peer:
        assert peer.send(*donor.segments) == [DUPLICATE] * 3
        assert peer.recall(*donor.segments) == [DUPLICATE] * 3
    receiver.check(donor.segments)


def test_a_segment_twice_in_one_call_is_taken_once(make_forebay):
    donor = Donor(make_forebay, 2)
    receiver = Receiver(make_forebay, donor)
    one, other = donor.segments
    with receiver.peer() as peer:
        first, again, third = peer.send(one, one, other)
        assert first == ACCEPTED and again in (DUPLICATE, UNDECIDED) and third == ACCEPTED
    receiver.check(donor.segments)


def test_bytes_that_arrive_after_the_question_are_too_late(make_forebay):
    donor = Donor(make_forebay, 1)
    receiver = Receiver(make_forebay, donor)
    segment, = donor.segments
    asked = threading.Event()
    with receiver.peer() as peer:
        def slowly():
            yield peer.begin()
            requests = list(segment.requests(len(segment.data) // 2 + 1))
            yield from requests[:-1]
            assert asked.wait(20)
            yield requests[-1]

        call = peer.start_call(slowly())
        time.sleep(0.2)  # most of it is there
        assert peer.recall(segment) == [OVERLOADED]
        asked.set()
        assert [answer.outcome for answer in call.result().answers] == [OVERLOADED]
    receiver.check([])


def test_what_is_cut_off_or_out_of_order_is_not_taken_and_does_no_harm(make_forebay):
    donor = Donor(make_forebay, 4)
    receiver = Receiver(make_forebay, donor)
    whole, cut, mixed, last = donor.segments
    with receiver.peer() as peer:
        size = len(mixed.data) // 3 + 1
        head, *pieces = mixed.requests(size)
        assert peer.send_requests([*whole.requests(), head, pieces[1], pieces[0], *pieces[2:], *last.requests()]) == {
            0: ACCEPTED, 1: INVALID, 2: ACCEPTED}
        assert peer.send_requests(list(cut.requests(100))[:-1]) == {}
        with pytest.raises(grpc.RpcError) as refused:
            peer.send_requests([next(cut.requests()), *mixed.requests()])
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        # Neither is an answer for good.
        assert peer.send(cut, mixed) == [ACCEPTED, ACCEPTED]
    receiver.check(donor.segments)


def test_any_mixture_of_wrong_transfers_and_kills_ends_with_what_was_answered(make_forebay):
    seed = int(os.environ.get("FOREBAY_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    donor = Donor(make_forebay, 60)
    receiver = Receiver(make_forebay, donor)
    client = AnyClient(receiver, donor, random.Random(seed))
    try:
        for _ in range(STEPS):
            client.step()
        client.settle()
    finally:
        client.peer.close()
    done = {state: len(client.in_state(state)) for state in ("new", "has", "kept")}
    print(f"{done}, {client.kills} kills")
    assert done["has"] and done["kept"] and client.kills, "a state was never reached: this run shows nothing"
    receiver.check(client.in_state("has"))


class AnyClient:
    """Does anything that a broken client or network could, and believes the answers.

    States of a segment: new (never there), open (nobody said), has (the receiver), kept (asked about, not there: the
    receiver takes it no more as long as it lives, and a client sends it no more afterwards).
    """

    def __init__(self, receiver, donor, chance):
        self.receiver = receiver
        self.chance = chance
        self.state = {segment: "new" for segment in donor.segments}
        self.kept_in_this_life = set()
        self.kills = 0
        self.peer = receiver.peer()
        self.steps = {self.whole: 6, self.again: 4, self.cut_off: 3, self.disorder: 3, self.cancelled: 5, self.ask: 6,
                      self.too_late: 3, self.killed: 1}

    def step(self):
        self.chance.choices(list(self.steps), list(self.steps.values()))[0]()

    def in_state(self, state):
        return [segment for segment, now in self.state.items() if now == state]

    def some(self, state, most=3):
        found = self.in_state(state)
        return self.chance.sample(found, min(len(found), self.chance.randrange(1, most + 1)))

    def piece(self):
        return self.chance.choice([50, 1000, 1 << 18])

    def whole(self):
        segments = self.some("new") + self.some("has", 1)
        self.chance.shuffle(segments)
        for segment, outcome in zip(segments, self.peer.send(*segments, piece=self.piece())):
            if self.state[segment] == "has":
                assert outcome == DUPLICATE
            elif outcome is None or outcome == OVERLOADED:
                continue
            else:
                assert outcome == ACCEPTED
                self.state[segment] = "has"

    def again(self):
        segments = self.some("has")
        assert self.peer.send(*segments, piece=self.piece()) == [DUPLICATE] * len(segments)

    def cut_off(self):
        for segment in self.some("new", 1):
            assert self.peer.send_requests(list(segment.requests(50))[:-1]) == {}

    def disorder(self):
        for segment in self.some("new", 1):
            head, *pieces = segment.requests(len(segment.data) // 4 + 1)
            assert self.peer.send_requests([head, *pieces[1:], pieces[0]]) == {0: INVALID}

    def cancelled(self):
        """After the last byte, sooner or later."""
        segments = self.some("new")
        if not segments:
            return
        sent = threading.Event()
        done = threading.Event()

        def requests():
            yield self.peer.begin()
            for segment in segments:
                yield from segment.requests(self.piece())
            sent.set()
            done.wait(20)

        call = self.peer.start_call(requests())
        assert sent.wait(20)
        time.sleep(self.chance.choice([0, 0, 0.001, 0.01]))
        call.cancel()
        done.set()
        for segment in segments:
            self.state[segment] = "open"

    def ask(self):
        segments = self.some("open") + self.some("has", 1)
        for segment, outcome in zip(segments, self.peer.recall(*segments) if segments else []):
            if self.state[segment] == "has":
                assert outcome == DUPLICATE
            elif outcome == DUPLICATE:
                self.state[segment] = "has"
            elif outcome == OVERLOADED:
                self.state[segment] = "kept"
                self.kept_in_this_life.add(segment)
            else:
                assert outcome == UNDECIDED

    def too_late(self):
        segments = self.chance.sample(sorted(self.kept_in_this_life, key=lambda s: s.file_name),
                                      min(len(self.kept_in_this_life), 2))
        assert self.peer.send(*segments) == [OVERLOADED] * len(segments)

    def killed(self):
        """While it takes some."""
        segments = self.some("new", 4)

        def requests():
            yield self.peer.begin()
            for segment in segments:
                yield from segment.requests(self.piece())

        call = self.peer.start_call(requests())
        time.sleep(self.chance.choice([0, 0.002, 0.01]))
        self.receiver.node.kill9()
        self.kills += 1
        answers = {}
        try:
            answers = {answer.index: answer.outcome for answer in call.result().answers}
        except grpc.RpcError:
            pass
        for index, segment in enumerate(segments):
            self.state[segment] = "has" if answers.get(index) == ACCEPTED else "open"
        self.kept_in_this_life.clear()
        self.peer.close()
        self.receiver.node.start()
        self.peer = self.receiver.peer()

    def settle(self):
        """Asks until everything is known."""
        deadline = time.monotonic() + 20
        while self.in_state("open"):
            assert time.monotonic() < deadline, "some segments are undecided for ever"
            self.ask()


# ---- other releases


@pytest.mark.parametrize("protocol, block_version", [(0, 2), (99, 2), (1, 1), (1, 0)])
def test_a_peer_of_a_release_that_cannot_read_what_is_written_costs_nothing(make_forebay, protocol, block_version):
    cluster = Cluster(make_forebay, {"batch": {"max_age": "1s"}}, names=("node-0",), start=False)
    node = cluster["node-0"]
    with OddServer("127.0.0.1:0", protocol, block_version) as odd:
        # It owns every table.
        node.config["cluster"]["members"] = [{"name": "odd", "address": f"127.0.0.1:{odd.port}"}]
        node.start()
        with Senders(node, cluster.account, count=1, tables=3, profile=PROMETHEUS, pause=0.01):
            cluster.account.wait_acknowledged(500, 20)
        cluster.wait_settled(30)
        assert odd.hellos and not odd.calls
    cluster.account.verify(node)
    assert node.metric("forebay_transfer_sent_rows_total") == 0
    assert "of release odd speaks protocol" in node.log


def test_each_node_speaks_the_older_of_two_protocols(make_forebay):
    donor = Donor(make_forebay, 1)
    receiver = Receiver(make_forebay, donor)
    with receiver.peer() as peer:
        assert peer.hello(1).protocol == 1
        assert peer.hello(99, block_version=99).protocol == 1
        with pytest.raises(grpc.RpcError) as refused:
            peer.hello(0)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    with receiver.peer(name="") as nobody, pytest.raises(grpc.RpcError):
        nobody.send(*donor.segments)
    with Peer(receiver.address, "somebody else") as wrong, pytest.raises(grpc.RpcError) as refused:
        wrong.send(*donor.segments)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    receiver.node.flush()
    assert not receiver.node.rows()
