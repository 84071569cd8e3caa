"""Remote-write requests of both versions and snappy blocks, encoded without any dependency.

What is encoded is what was given: nothing is sorted, checked or completed, so that tests can send bad
requests too. Field numbers: prometheus.WriteRequest (1.0) and io.prometheus.write.v2.Request (2.0).
"""

import dataclasses
import http.client
import struct
import urllib.parse

STALE_NAN_BITS = 0x7FF0000000000002
NORMAL_NAN_BITS = 0x7FF8000000000001

CONTENT_TYPE_V1 = "application/x-protobuf"
CONTENT_TYPE_V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


@dataclasses.dataclass
class Bits:
    """A float64 given by its bits, for NaNs that Python would not keep."""

    bits: int


STALE = Bits(STALE_NAN_BITS)


@dataclasses.dataclass
class Sample:
    value: object
    timestamp: int
    start_timestamp: int = 0


@dataclasses.dataclass
class Exemplar:
    labels: list
    value: object
    timestamp: int


@dataclasses.dataclass
class Histogram:
    """Integer flavour by default; counts as floats when `float_flavour`."""

    timestamp: int = 0
    count: object = 0
    sum: object = 0.0
    schema: int = 0
    zero_threshold: float = 0.0
    zero_count: object = 0
    positive_spans: list = dataclasses.field(default_factory=list)  # of (offset, length)
    positive: list = dataclasses.field(default_factory=list)  # deltas, or counts when float_flavour
    negative_spans: list = dataclasses.field(default_factory=list)
    negative: list = dataclasses.field(default_factory=list)
    reset_hint: int = 0
    custom_values: list = dataclasses.field(default_factory=list)
    start_timestamp: int = 0
    float_flavour: bool = False


@dataclasses.dataclass
class Metadata:
    type: int = 0
    help: str = ""
    unit: str = ""
    help_ref: int = None  # in place of the text, 2.0 only
    unit_ref: int = None


@dataclasses.dataclass
class Series:
    labels: list  # of (name, value), text or bytes, in the order to be sent; a dict is taken too
    samples: list = dataclasses.field(default_factory=list)
    exemplars: list = dataclasses.field(default_factory=list)
    histograms: list = dataclasses.field(default_factory=list)
    metadata: Metadata = None  # 2.0 only
    created_timestamp: int = 0  # field 6 of early 2.0 drafts
    label_refs: list = None  # in place of labels, 2.0 only

    def __post_init__(self):
        if isinstance(self.labels, dict):
            self.labels = list(self.labels.items())


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value):
    return (value << 1) ^ (value >> 63)


def raw(data):
    return data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")


def f_varint(number, value, always=False):
    return varint(number << 3) + varint(value) if value or always else b""


def f_bytes(number, data):
    data = raw(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def f_double(number, value, always=False):
    bits = value.bits if isinstance(value, Bits) else struct.unpack("<Q", struct.pack("<d", value))[0]
    return varint(number << 3 | 1) + struct.pack("<Q", bits) if bits or always else b""


def f_doubles(number, values):
    return f_bytes(number, b"".join(struct.pack("<d", v) for v in values)) if values else b""


def f_varints(number, values):
    return f_bytes(number, b"".join(varint(v) for v in values)) if values else b""


def encode_histogram(histogram):
    h = histogram
    spans = lambda number, pairs: b"".join(  # noqa: E731
        f_bytes(number, f_varint(1, zigzag(offset)) + f_varint(2, length)) for offset, length in pairs)
    out = f_double(2, h.count, True) if h.float_flavour else f_varint(1, h.count, True)
    out += f_double(3, h.sum) + f_varint(4, zigzag(h.schema)) + f_double(5, h.zero_threshold)
    out += f_double(7, h.zero_count, True) if h.float_flavour else f_varint(6, h.zero_count, True)
    out += spans(8, h.negative_spans)
    if h.float_flavour:
        out += f_doubles(10, h.negative) + spans(11, h.positive_spans) + f_doubles(13, h.positive)
    else:
        out += f_varints(9, [zigzag(v) for v in h.negative]) + spans(11, h.positive_spans)
        out += f_varints(12, [zigzag(v) for v in h.positive])
    out += f_varint(14, h.reset_hint) + f_varint(15, h.timestamp) + f_doubles(16, h.custom_values)
    return out + f_varint(17, h.start_timestamp)


def encode_v1(series=(), metadata=()):
    """A prometheus.WriteRequest. metadata: (family name, Metadata) pairs."""
    out = []
    for one in series:
        labels = lambda pairs: b"".join(f_bytes(1, f_bytes(1, n) + f_bytes(2, v)) for n, v in pairs)  # noqa: E731
        body = labels(one.labels)
        for sample in one.samples:
            body += f_bytes(2, f_double(1, sample.value) + f_varint(2, sample.timestamp))
        for exemplar in one.exemplars:
            body += f_bytes(3, labels(exemplar.labels) + f_double(2, exemplar.value)
                            + f_varint(3, exemplar.timestamp))
        for histogram in one.histograms:
            body += f_bytes(4, encode_histogram(histogram))
        out.append(f_bytes(1, body))
    for name, data in metadata:
        body = f_varint(1, data.type) + f_bytes(2, name) + f_bytes(4, data.help) + f_bytes(5, data.unit)
        out.append(f_bytes(3, body))
    return b"".join(out)


def encode_v2(series=(), symbols=None):
    """An io.prometheus.write.v2.Request. symbols: those to begin with, [""] by default."""
    table = list(symbols) if symbols is not None else [""]
    refs = {raw(text): number for number, text in reversed(list(enumerate(table)))}

    def ref(text):
        key = raw(text)
        if key not in refs:
            refs[key] = len(table)
            table.append(text)
        return refs[key]

    encoded = []
    for one in series:
        label_refs = one.label_refs
        if label_refs is None:
            label_refs = [ref(text) for pair in one.labels for text in pair]
        body = f_varints(1, label_refs)
        for sample in one.samples:
            body += f_bytes(2, f_double(1, sample.value) + f_varint(2, sample.timestamp)
                            + f_varint(3, sample.start_timestamp))
        for histogram in one.histograms:
            body += f_bytes(3, encode_histogram(histogram))
        for exemplar in one.exemplars:
            body += f_bytes(4, f_varints(1, [ref(text) for pair in exemplar.labels for text in pair])
                            + f_double(2, exemplar.value) + f_varint(3, exemplar.timestamp))
        if one.metadata is not None:
            data = one.metadata
            help_ref = ref(data.help) if data.help_ref is None else data.help_ref
            unit_ref = ref(data.unit) if data.unit_ref is None else data.unit_ref
            body += f_bytes(5, f_varint(1, data.type) + f_varint(3, help_ref) + f_varint(4, unit_ref))
        body += f_varint(6, one.created_timestamp)
        encoded.append(f_bytes(5, body))
    return b"".join(f_bytes(4, text) for text in table) + b"".join(encoded)


def snappy_literals(data):
    """A snappy block of literals only: valid, not smaller."""
    out = [varint(len(data))]
    for begin in range(0, len(data), 1 << 16):
        part = data[begin:begin + (1 << 16)]
        length = len(part) - 1
        out.append(bytes([length << 2]) if length < 60 else b"\xf4" + struct.pack("<H", length))
        out.append(part)
    return b"".join(out)


def snappy(data):
    """A snappy block, by python3-snappy where it is installed."""
    try:
        import snappy as library
    except ImportError:
        return snappy_literals(data)
    return library.compress(data)


@dataclasses.dataclass
class Response:
    status: int
    headers: dict  # names in lower case
    body: bytes

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def written(self):
        """(samples, histograms, exemplars) of the Written headers; None where one is missing."""
        names = ("samples", "histograms", "exemplars")
        values = [self.headers.get(f"x-prometheus-remote-write-{name}-written") for name in names]
        return tuple(None if value is None else int(value) for value in values)


class HttpClient:
    """One keep-alive connection; connects again when the server closed it between requests.

    repeats: whether a request that fails on a connection which was idle before is sent again.
    """

    def __init__(self, base_url, timeout=30, repeats=True):
        self.url = urllib.parse.urlsplit(base_url)
        self.timeout = timeout
        self.repeats = repeats
        self.connection = None

    def request(self, method, path, body=None, headers=None):
        for attempt in (1, 2):
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPConnection(
                    self.url.hostname, self.url.port, timeout=self.timeout)
            try:
                self.connection.request(method, path, body=body, headers=headers or {})
                answer = self.connection.getresponse()
                data = answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                # Only an idle connection may have been closed innocently.
                if fresh or attempt == 2 or not self.repeats:
                    raise
                continue
            response = Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data)
            if answer.will_close:
                self.close()
            return response
        raise AssertionError("not reached")

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body=b"", headers=None):
        return self.request("POST", path, body, headers)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RemoteWriter(HttpClient):
    """Sends series to a receiver; `headers` of a call replace the default ones, None leaves one out."""

    def __init__(self, base_url, path="/api/v1/write", timeout=30, repeats=True):
        super().__init__(base_url, timeout, repeats)
        self.path = path

    def send(self, body, content_type, version, headers=None, compress=snappy):
        merged = {
            "Content-Type": content_type,
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": version,
            "User-Agent": "forebay-test",
            **(headers or {}),
        }
        merged = {name: value for name, value in merged.items() if value is not None}
        return self.post(self.path, compress(body), merged)

    def send_v1(self, series=(), metadata=(), **options):
        return self.send(encode_v1(series, metadata), CONTENT_TYPE_V1, "0.1.0", **options)

    def send_v2(self, series=(), symbols=None, **options):
        return self.send(encode_v2(series, symbols), CONTENT_TYPE_V2, "2.0.0", **options)
