#!/usr/bin/env python3
"""The way of samples to Azure Data Explorer, on this machine: `forebay load` -> forebay -> Azurite and a stand-in of a cluster.

Usage: tests/demo/adx_demo.py [--samples N] [--series N] [--tables N] [--tls] [--json]
Prints what was accepted, the rows that the cluster has, the batches with their sizes, the CPU of the upload per row, the
peak of the daemon's memory, and whether the account holds. FOREBAY_BIN names the binary (build/release/forebay).
"""
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("support/python", "bench")]

import azurite  # noqa: E402
from authority import Authority  # noqa: E402
from bench_node import cpu_seconds, peak_rss  # noqa: E402
from forebay_harness import Forebay  # noqa: E402
from kusto_fake import KustoFake  # noqa: E402
from load_demo import finish, load_parser, send_load  # noqa: E402


def run(options, folder):
    authority = Authority(folder / "authority") if options.tls else None
    over = {"ca_file": str(authority.file)} if authority else {}
    with azurite.Azurite(folder / "azurite") as storage, KustoFake(storage, auth=False, authority=authority) as kusto:
        kusto.only_count = True
        node = Forebay(folder / "node", {
            "databases": [{"name": "Metrics", "sinks": [kusto.sink(**over)]}], "storage": {"max_disk": "100GiB"},
            "generation": {"max_age": "1h"}, "batch": {"max_age": "1h"}}).start()
        try:
            accepted = send_load(node, options)
            with node.admin(600) as client:
                assert client.post("/-/flush?upload=false").status == 200
            before = cpu_seconds(node.pid)
            with node.admin(3600) as client:
                assert client.post("/-/flush?timeout=1h").status == 200
            cpu = cpu_seconds(node.pid) - before
            peak = peak_rss(node.pid)
            rows = sum(kusto.counted.values())
            batches = {outcome: node.metric("forebay_upload_batches_total", outcome=outcome)
                       for outcome in ("delivered", "failed", "refused", "already_there")}
            kusto.check()
        finally:
            node.stop()
        sizes = sorted(raw for _, raw in kusto.blob_sizes)
        return {"accepted_samples": accepted, "rows_in_the_cluster": rows, "batches": batches,
                "batch_bytes": {"least": sizes[0], "most": sizes[-1], "all": sum(sizes)},
                "storage_requests": kusto.count("storage.put"), "upload_cpu_ns_per_row": round(cpu / rows * 1e9),
                "peak_rss_bytes": peak, "account_holds": rows == accepted}


def main():
    parser = load_parser(__doc__)
    parser.add_argument("--tls", action="store_true", help="everything by https")
    options = parser.parse_args()
    finish(run, options)


if __name__ == "__main__":
    main()
