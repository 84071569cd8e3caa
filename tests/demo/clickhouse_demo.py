#!/usr/bin/env python3
"""The way of samples to ClickHouse, on this machine: `forebay load` -> forebay -> a real server of ClickHouse.

Usage: tests/demo/clickhouse_demo.py [--samples N] [--series N] [--tables N] [--compression lz4|zstd|none] [--tls] [--json]
Prints what was accepted, the rows that the server has, the batches and their sizes, the CPU of the upload per row, the
peak of the daemon's memory before and after the upload, the bytes of a row on the server's disk, and whether the account
holds. FOREBAY_BIN names the binary (build/release/forebay).
"""
import contextlib
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("support/python", "bench")]

from authority import Authority  # noqa: E402
from bench_node import cpu_seconds, peak_rss  # noqa: E402
from clickhouse import ClickHouse  # noqa: E402
from forebay_harness import Forebay  # noqa: E402
from load_demo import finish, load_parser, send_load  # noqa: E402
from nginx import TlsFront  # noqa: E402

COLUMNS = ("Timestamp", "SeriesId", "Labels", "Value", "forebay_batch", "forebay_row")


def run(options, folder):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ClickHouse(folder / "clickhouse").start())
        sink = {"clickhouse": {"dsn": server.dsn("Metrics"), "compression": options.compression}}
        if options.tls:
            authority = Authority(folder / "authority")
            front = stack.enter_context(TlsFront(folder / "front", server.port, authority, mutual=False))
            sink["clickhouse"].update(dsn=server.dsn("Metrics", front.port).replace("http:", "https:"),
                                      ca_file=str(authority.file))
        node = Forebay(folder / "node", {
            "databases": [{"name": "Metrics", "sinks": [sink]}], "storage": {"max_disk": "100GiB"},
            "generation": {"max_age": "1h"}, "batch": {"max_age": "1h"}}).start()
        try:
            accepted = send_load(node, options)
            with node.admin(600) as client:
                assert client.post("/-/flush?upload=false").status == 200
            # Uploaded by a process that did nothing else; a stop in good order would upload first.
            node.restart(kill=True, timeout=120)
            before, small = cpu_seconds(node.pid), peak_rss(node.pid)
            with node.admin(3600) as client:
                answer = client.post("/-/flush?timeout=1h")
            cpu = cpu_seconds(node.pid) - before
            peak = peak_rss(node.pid)
            assert answer.status == 200, answer.text
            outcomes = {outcome: node.metric("forebay_upload_batches_total", outcome=outcome)
                        for outcome in ("delivered", "failed", "refused", "already_there")}
            sent = node.metric("forebay_upload_bytes_total", state="compressed")
            native = node.metric("forebay_upload_bytes_total", state="rows")
        finally:
            node.stop()
        tables = server.tables("Metrics")
        counts = [server.rows(f"SELECT count() AS n, uniqExact(forebay_batch) AS b FROM Metrics.{name}")[0] for name in tables]
        rows = sum(count["n"] for count in counts)
        disk = {row["c"]: round(row["b"] / rows, 2) for row in server.rows(
            "SELECT name AS c, sum(data_compressed_bytes) AS b FROM system.columns WHERE database = 'Metrics' GROUP BY name")}
        return {"accepted_samples": accepted, "rows_in_the_server": rows, "tables": len(tables),
                "batches_in_the_server": sum(count["b"] for count in counts), "tries": outcomes,
                "native_bytes_per_row": round(native / rows, 1), "sent_bytes_per_row": round(sent / rows, 1),
                "upload_cpu_ns_per_row": round(cpu / rows * 1e9), "rss_before_bytes": small, "peak_rss_bytes": peak,
                "server_bytes_per_row": {name: disk.get(name) for name in COLUMNS},
                "account_holds": rows == accepted}


def main():
    parser = load_parser(__doc__)
    parser.add_argument("--compression", default="lz4", choices=("lz4", "zstd", "none"))
    parser.add_argument("--tls", action="store_true", help="by https, which nginx speaks before the server")
    options = parser.parse_args()
    finish(run, options)


if __name__ == "__main__":
    main()
