"""The protocol between nodes by hand, with gRPC's Python library and stubs that protoc makes for the test.

A peer of another kind than the product's own: it sends what it is told to, also what no client of the product would.
"""
import concurrent.futures
import csv
import dataclasses
import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

import grpc
from processes import ROOT

CHUNK = 256 * 1024
LOCAL = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


def load_stubs():
    """(messages, services) of proto/transfer.proto."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = shutil.which("grpc_python_plugin")
        subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_out={folder}",
                        f"--plugin=protoc-gen-grpc={plugin}", "transfer.proto"], check=True, capture_output=True)
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("transfer_pb2"), importlib.import_module("transfer_pb2_grpc")
        finally:
            sys.path.remove(folder)


messages, services = load_stubs()
ACCEPTED, DUPLICATE, OVERLOADED = messages.ACCEPTED, messages.DUPLICATE, messages.OVERLOADED
INVALID, UNDECIDED = messages.INVALID, messages.UNDECIDED


@dataclasses.dataclass(frozen=True)
class Segment:
    file_name: str
    data: bytes
    rows: int
    values: frozenset

    def head(self):
        # Least above greatest: not known.
        return messages.SegmentHead(file_name=self.file_name, bytes=len(self.data), rows=self.rows,
                                    min_timestamp=1, max_timestamp=0)

    def pieces(self, size=CHUNK):
        return [self.data[at:at + size] for at in range(0, len(self.data), size)]

    def requests(self, size=CHUNK):
        yield messages.SendRequest(head=self.head())
        for piece in self.pieces(size):
            yield messages.SendRequest(data=piece)


def segments_of(node):
    """The sealed segments of a node that has ended, with their values, which the product's own tool reads."""
    found = []
    for path in sorted((pathlib.Path(node.data) / "segments").glob("*.wal")):
        done = node.run("wal", "cat", path)
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(done.stdout.splitlines()))
        values = frozenset(int(float(row["Value:real"])) for row in rows)
        found.append(Segment(path.name, path.read_bytes(), len(rows), values))
    return found


class Peer:
    """Speaks to the transfer port at `address` of the member `to`."""

    def __init__(self, address, to, name="by-hand", timeout=10):
        self.parties = messages.Parties(to=to)
        setattr(self.parties, "from", name)
        self.timeout = timeout
        self.channel = grpc.insecure_channel(address, options=LOCAL)
        self.stub = services.TransferStub(self.channel)

    def hello(self, protocol, block_version=2):
        return self.stub.Hello(messages.HelloRequest(parties=self.parties, protocol=protocol, block_version=block_version,
                                                     release="by hand"), timeout=self.timeout)

    def begin(self):
        return messages.SendRequest(parties=self.parties)

    def send_requests(self, requests):
        """Outcomes by index of one call of these requests, as the peer gives them."""
        def stream():
            yield self.begin()
            yield from requests

        reply = self.stub.Send(stream(), timeout=self.timeout)
        return {answer.index: answer.outcome for answer in reply.answers}

    def send(self, *segments, piece=CHUNK):
        """Outcomes of the segments; None for one that the reply does not name."""
        outcomes = self.send_requests(request for segment in segments for request in segment.requests(piece))
        return [outcomes.get(index) for index in range(len(segments))]

    def recall(self, *segments):
        reply = self.stub.Recall(messages.RecallRequest(parties=self.parties, segments=[s.head() for s in segments]),
                                 timeout=self.timeout)
        return [answer.outcome for answer in sorted(reply.answers, key=lambda answer: answer.index)]

    def start_call(self, requests):
        """A call whose requests come from an iterator; the future is for cancelling it or for its end."""
        return self.stub.Send.future(requests, timeout=self.timeout)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class OddServer(services.TransferServicer):
    """A member of another release at `address`: says hello as told, and keeps nothing of what it is sent."""

    def __init__(self, address, protocol=1, block_version=2):
        self.protocol = protocol
        self.block_version = block_version
        self.hellos = 0
        self.calls = 0
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        services.add_TransferServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(address)

    def Hello(self, request, context):  # noqa: N802  (the name is the protocol's)
        self.hellos += 1
        return messages.HelloReply(protocol=self.protocol, block_version=self.block_version, release="odd",
                                   max_segment_bytes=1 << 26)

    def Send(self, requests, context):  # noqa: N802
        self.calls += 1
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "nothing is taken here")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(0).wait()
