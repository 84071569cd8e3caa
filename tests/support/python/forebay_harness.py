"""The real binary in a temporary folder: start, stop, kill, its metrics, and the rows that it wrote.

Binary: environment variable FOREBAY_BIN, else build/release/forebay of this tree.

    with Forebay(tmp_path, {"generation": {"max_age": "1s"}}).start() as forebay:
        forebay.writer().send_v1([Series({"__name__": "up"}, [Sample(1.0, 1000)])])
        forebay.flush()
        rows = forebay.rows("Up")
"""

import csv
import datetime
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys

from exporter import AWKWARD_VALUES, Exporter  # noqa: F401  (for tests that import all from here)
from processes import (ROOT, Process, Prometheus, VmAgent, free_port, http_status,  # noqa: F401
                       metric_sum, parse_metrics, program, wait_for)
from remote_write import (CONTENT_TYPE_V1, CONTENT_TYPE_V2, STALE, Bits, Exemplar, Histogram,  # noqa: F401
                          HttpClient, Metadata, RemoteWriter, Sample, Series, encode_v1, encode_v2, snappy,
                          snappy_literals)

# A row's Labels column may be long.
csv.field_size_limit(sys.maxsize)

LOGFMT_PAIR = re.compile(r'(\w[\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def binary():
    return pathlib.Path(os.environ.get("FOREBAY_BIN", ROOT / "build" / "release" / "forebay")).resolve()


def merge(base, over):
    """A copy of base with over's values; dicts are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else value
    return result


def parse_log(text):
    """Lines of logfmt or JSON as dicts; other lines are left out."""
    lines = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        else:
            pairs = LOGFMT_PAIR.findall(line)
            if pairs:
                lines.append({key: json.loads(value) if value.startswith('"') else value for key, value in pairs})
    return lines


def proper_case(name):
    """Table name of a metric name, after adx-mon's rule: http_requests_total -> HttpRequestsTotal."""
    out, upper = [], True
    for character in name:
        if not (character.isascii() and character.isalnum()):
            upper = True
            continue
        out.append(character.upper() if upper else character)
        upper = False
    return "".join(out)


def millis(text):
    """Milliseconds since 1970 of an RFC 3339 time in UTC, exactly."""
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3}))?Z", text)
    assert match, f"not an RFC 3339 time in UTC with ms at most: {text!r}"
    moment = datetime.datetime(*map(int, match.groups()[:6]), tzinfo=datetime.timezone.utc)
    delta = moment - EPOCH
    return (delta.days * 86400 + delta.seconds) * 1000 + int((match.group(7) or "0").ljust(3, "0"))


def schema_columns(path):
    """Column names of a schema file: `Name:type,...` or JSON with a list of columns."""
    text = path.read_text().strip()
    if text.startswith(("{", "[")):
        document = json.loads(text)
        columns = document.get("columns", document) if isinstance(document, dict) else document
        if isinstance(columns, dict):
            return list(columns)
        names = [{key.lower(): value for key, value in column.items()} for column in columns]
        return [column.get("name") or column.get("column") for column in names]
    return [field.split(":")[0] for field in text.splitlines()[0].split(",")]


def schema_lists(data_file, table_folder):
    """Column names of every schema file from the data file's folder up to its table's."""
    folder, lists = data_file.parent, []
    while True:
        lists += [schema_columns(path) for path in folder.iterdir() if path.is_file() and "schema" in path.name]
        if folder == table_folder:
            return lists
        folder = folder.parent


def read_file(data_file, table_folder):
    """Rows of one .csv.gz as dicts of text, Labels as a dict; `_table`, `_database`, `_file` beside.

    The file's first line names the columns; that there is a schema file that says the same is checked.
    """
    rows = []
    with gzip.open(data_file, "rt", encoding="utf-8", newline="") as text:
        lines = csv.reader(text)
        columns = next(lines)
        assert columns in schema_lists(data_file, table_folder), f"{data_file}: no schema file has {columns}"
        for fields in lines:
            assert len(fields) == len(columns), f"{data_file}: {len(fields)} fields for {columns}: {fields}"
            row = dict(zip(columns, fields))
            if "Labels" in row:
                row["Labels"] = json.loads(row["Labels"])
            row["_table"], row["_database"] = table_folder.name, table_folder.parent.name
            row["_file"] = data_file
            rows.append(row)
    return rows


def read_rows(root, table=None, database=None):
    """Rows of every finished file <root>/<db>/<table>/<yyyy>/<mm>/<dd>/*.csv.gz, in file name order."""
    rows = []
    for data_file in sorted(pathlib.Path(root).glob("*/*/[0-9]*/[0-9]*/[0-9]*/*.csv.gz")):
        table_folder = data_file.parents[3]
        if table in (None, table_folder.name) and database in (None, table_folder.parent.name):
            rows.extend(read_file(data_file, table_folder))
    return rows


def xxhash64(data):
    """xxHash64 with seed 0, unsigned; written from the specification, to check what the product computes."""
    mask = (1 << 64) - 1
    p1, p2, p3, p4, p5 = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579,
                          2870177450012600261)

    def rotate(value, by):
        return (value << by | value >> (64 - by)) & mask

    def mix(accumulator, lane):
        return rotate((accumulator + lane * p2) & mask, 31) * p1 & mask

    at, length = 0, len(data)
    if length >= 32:
        lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        while at + 32 <= length:
            lanes = [mix(lane, int.from_bytes(data[at + 8 * i:at + 8 * i + 8], "little"))
                     for i, lane in enumerate(lanes)]
            at += 32
        h = sum(rotate(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18))) & mask
        for lane in lanes:
            h = ((h ^ mix(0, lane)) * p1 + p4) & mask
    else:
        h = p5
    h = (h + length) & mask
    for size, step in ((8, None), (4, None), (1, None)):
        while at + size <= length:
            lane = int.from_bytes(data[at:at + size], "little")
            if size == 8:
                h = (rotate(h ^ mix(0, lane), 27) * p1 + p4) & mask
            elif size == 4:
                h = (rotate(h ^ lane * p1 & mask, 23) * p2 + p3) & mask
            else:
                h = rotate(h ^ lane * p5 & mask, 11) * p1 & mask
            at += size
            if size == 4:
                break
    h = (h ^ h >> 33) * p2 & mask
    h = (h ^ h >> 29) * p3 & mask
    return h ^ h >> 32


def series_id(labels):
    """SeriesId of all labels, __name__ among them: docs/format/rows.md."""
    text = "".join(name + value for name, value in sorted(labels.items(), key=lambda pair: pair[0].encode()))
    number = xxhash64(text.encode())
    return number - (1 << 64) if number >> 63 else number


def value_key(value):
    """Text that is equal for equal doubles only: of a row's Value, or of a float. The empty field is "stale"."""
    if value == "":
        return "stale"
    number = float(value)
    return "NaN" if number != number else repr(number)


def samples_of(rows):
    """{(table, labels as a frozenset of pairs): sorted list of (timestamp in ms, float value)}."""
    result = {}
    for row in rows:
        key = (row["_table"], frozenset(row["Labels"].items()))
        result.setdefault(key, []).append((millis(row["Timestamp"]), float(row["Value"] or "nan")))
    for samples in result.values():
        samples.sort(key=lambda sample: sample[0])
    return result


class Forebay(Process):
    """One node below `folder`: config.yaml, data/, out/ and forebay.log.

    config is merged over: ports 0, data and a file sink of the database Metrics below the folder.
    A start after the first takes the same ports again, so that senders find it.
    program: the binary, where it is another than the tests'.
    opaque: a test that closes the admin port to the harness sets it, and nothing is checked at the end.
    """

    def __init__(self, folder, config=None, arguments=(), env=None, program=None):
        super().__init__("forebay", folder)
        self.program = program or binary()
        self.data = self.folder / "data"
        self.out = self.folder / "out"
        self.arguments = list(arguments)
        self.env = dict(env or {})
        self.prefix = []  # words before the command, of a program that ends as the command: nsenter
        self.config = merge(
            {
                "storage": {"dir": str(self.data)},
                "listen": {"ingest": "127.0.0.1:0", "admin": "127.0.0.1:0"},
                "databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(self.out)}}]}],
            },
            config or {},
        )
        self.ingest_address = None
        self.admin_address = None
        self.opaque = False
        self.starts = 0

    def start(self, wait=True, timeout=30.0):
        """Starts; with wait, returns when /readyz says 200."""
        self.starts += 1
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(self.config, indent=1))  # JSON is YAML
        self.spawn([*self.prefix, self.program, "serve", "--config", path, *self.arguments], self.env, unset="FOREBAY_")
        if wait:
            self.wait_listening(timeout)
            self.wait_ready(f"{self.admin_url}/readyz", timeout)
        return self

    def wait_listening(self, timeout=30.0):
        """Waits for the log lines that tell the ports."""

        def addresses():
            self.expect_running()
            found = {line.get("name"): line.get("address") for line in parse_log(self.run_log)
                     if line.get("msg") == "listening"}
            return found if {"ingest", "admin"} <= found.keys() else None

        found = wait_for("the listening lines of forebay", addresses, timeout)
        self.ingest_address, self.admin_address = found["ingest"], found["admin"]
        self.config["listen"].update(ingest=self.ingest_address, admin=self.admin_address)

    def restart(self, kill=False, **options):
        """Ends it (SIGTERM and exit 0, or SIGKILL) and starts it again on the same ports."""
        if kill:
            self.kill9()
        elif self.running:
            status = self.terminate()
            assert status == 0, f"exit status {status}\n{self.tail()}"
        return self.start(**options)

    @property
    def ingest_url(self):
        return f"http://{self.ingest_address}"

    @property
    def admin_url(self):
        return f"http://{self.admin_address}"

    @property
    def write_url(self):
        return f"{self.ingest_url}/api/v1/write"

    def writer(self, path="/api/v1/write", timeout=30):
        return RemoteWriter(self.ingest_url, path, timeout)

    def admin(self, timeout=60):
        return HttpClient(self.admin_url, timeout)

    def flush(self, timeout=120):
        """Seals and uploads everything; returns when done."""
        with self.admin(timeout) as client:
            response = client.post("/-/flush")
        assert response.status in (200, 202, 204), f"flush: {response.status} {response.text}\n{self.tail()}"
        return response

    def status(self):
        with self.admin() as client:
            response = client.get("/api/v1/status")
        assert response.status == 200, response.text
        return json.loads(response.body)

    def metrics_text(self):
        with self.admin() as client:
            response = client.get("/metrics")
        assert response.status == 200, response.text
        return response.text

    def metrics(self):
        """{(name, sorted label pairs): value}; see metric_sum."""
        return parse_metrics(self.metrics_text())

    def metric(self, name, **labels):
        return metric_sum(self.metrics(), name, **labels)

    def rows(self, table=None, database=None):
        """Rows of the file sink below out/, see read_file."""
        return read_rows(self.out, table, database)

    def samples(self, table=None):
        return samples_of(self.rows(table))

    def log_lines(self, message=None):
        return [line for line in parse_log(self.log) if message is None or line.get("msg") == message]

    def run(self, *arguments, **options):
        """Runs another subcommand of the binary to its end; see subprocess.run."""
        options.setdefault("env", {k: v for k, v in os.environ.items() if not k.startswith("FOREBAY_")})
        return subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.folder, timeout=options.pop("timeout", 60), **options)
