"""Three nodes with file sinks behind nginx on loopback, for the demonstration and the measurements: no pytest."""

import contextlib
import json
import pathlib
import subprocess
import zlib

from cluster import Cluster
from forebay_harness import Forebay, binary
from nginx import Nginx


@contextlib.contextmanager
def three_nodes(folder, config, start=True):
    """A cluster whose processes end with the block, however it ends."""
    folder = pathlib.Path(folder)
    made = []

    def make(config, name, start):
        made.append(Forebay(folder / name, config))
        return made[-1].start() if start else made[-1]

    try:
        yield Cluster(make, config, start=start)
    finally:
        for node in made:
            node.stop()


@contextlib.contextmanager
def balancer(folder, nodes):
    with Nginx(pathlib.Path(folder) / "nginx", nodes) as nginx:
        yield nginx.start()


class LoadRun:
    """`forebay load` in the background; result() waits for its end."""

    def __init__(self, target, *arguments):
        command = [binary(), "load", "--url", target.write_url, *map(str, arguments), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self, timeout=None):
        out, err = self.process.communicate(timeout=timeout)
        if not out:
            raise RuntimeError(f"forebay load: exit status {self.process.returncode}: {err}")
        return json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Batches:
    """The batches that a node's file sink has: each file is read once."""

    def __init__(self, node):
        self.root = node.out
        self.seen = {}  # path -> (time of its end, bytes of rows without compression, rows)

    def read_new(self):
        for path in self.root.glob("*/*/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"):
            if path not in self.seen:
                self.seen[path] = (path.stat().st_mtime, *row_bytes(path))
        return self

    def between(self, begin, end):
        """Bytes of the batches that were finished then."""
        return [size for at, size, _ in self.seen.values() if begin <= at < end]

    def sizes(self):
        return [size for _, size, _ in self.seen.values()]

    def rows(self):
        return sum(rows for _, _, rows in self.seen.values())


def row_bytes(path):
    """(bytes of the rows, rows) of a file of the sink; its header line does not count. No row of the load has line feeds."""
    inflate, total, rows, header = zlib.decompressobj(31), 0, 0, None
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            data = inflate.decompress(chunk)
            if header is None:
                header = data.index(b"\n") + 1
            total += len(data)
            rows += data.count(b"\n")
    return total - header, rows - 1


def quantiles(sizes):
    """(least, median, greatest); zeros when there are none."""
    ordered = sorted(sizes) or [0]
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]
