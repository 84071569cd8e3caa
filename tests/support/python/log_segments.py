"""Segments of logs as adx-mon's collectors write them: nine columns, and no schema that names them."""
import struct
import zlib

from forebay_harness import HttpClient, snappy

LOG_FIELDS = ["Timestamp", "ObservedTimestamp", "TraceId", "SpanId", "SeverityText", "SeverityNumber", "Body", "Resource",
              "Attributes"]


def log_segment(*blocks):
    """A version 1 segment of logs: each block some CSV rows."""
    out = b"ADXWAL\0\0"
    for rows in blocks:
        value = "".join(rows).encode()
        block = snappy(b"\xaa\xaa\x01\x03" + struct.pack(">I", len(rows)) + value)
        out += struct.pack(">II", len(block), zlib.crc32(block)) + block
    return out


def log_row(number, body):
    quoted = body.replace('"', '""')
    return (f'2026-11-01T00:00:0{number}.5Z,2026-11-01T00:00:0{number}.75Z,{number:032x},{number:016x},WARN,13,"{quoted}",'
            f'"{{""k8s.pod"":""p{number}""}}","{{""n"":{number},""text"":""a,b""}}"\n')


def post_segment(node, name, body):
    """The status of a transfer of a segment."""
    with HttpClient(node.ingest_url, 60) as client:
        return client.post(f"/transfer?filename={name}", body, {"Content-Type": "text/csv", "User-Agent": "adx-mon"}).status
