#!/usr/bin/env python3
"""docs/metrics.md, made of what nodes with every part turned on export: name, type, labels and HELP of each metric.

Usage: tests/deploy/metrics_docs.py > docs/metrics.md; FOREBAY_BIN names the binary. A test compares the page with what
nodes say, and the names in the sources with the page: what is exported is in it, and what is in it is exported.
"""
import contextlib
import pathlib
import re
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "support" / "python"), str(pathlib.Path(__file__).resolve().parent)]

from certificates import self_signed  # noqa: E402
from forebay_harness import Forebay, Sample, Series  # noqa: E402
from kubernetes_api import FakeKubernetes  # noqa: E402
from processes import ROOT, free_port  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
HEAD = """<!-- Generated: tests/deploy/metrics_docs.py > docs/metrics.md -->
# Metrics

What `GET /metrics` of the admin port has, in Prometheus' text format. Base units; counters end in `_total` and begin at 0 when the
process starts. Histograms have `_bucket`, `_sum` and `_count`. A metric of a part that is not configured (cluster, a kind of sink, limits of
tenants) is not there. No label names a table: how many series there are does not grow with what is received, but for `tenant`, which has
one for each tenant that was refused something, at most 100. What to watch and when to worry: [operations.md](operations.md#metrics-to-watch).
"""
# Title of a section by the word behind "forebay_", in the order of the page.
SECTIONS = {
    "Node": ("ready", "build", "time", "config", "drain", "tls", "log"),
    "HTTP": ("http",),
    "Receiving": ("receive", "table", "tables", "series", "tenant", "remote"),
    "OpenTelemetry": ("otlp",),
    "Journals, generations and segments": ("wal", "generation", "journal", "recovery", "ledger", "idempotency"),
    "Disk and quarantine": ("disk", "quarantine"),
    "Batches": ("batch",),
    "Uploads and dead letters": ("upload", "dead", "sink"),
    "Azure Data Explorer": ("adx",),
    "ClickHouse": ("clickhouse",),
    "Cluster and transfer": ("cluster", "transfer", "discovery", "kubernetes", "dns"),
    "Account of rows": ("conservation",),
    "Others": (),
    "The process": ("process",),
}


def parse(text):
    """{name: (type, help, names of labels)} of a page of /metrics."""
    found = {}
    for name, help_text in re.findall(r"^# HELP (\S+) (.*)$", text, flags=re.MULTILINE):
        kind = re.search(rf"^# TYPE {name} (\w+)$", text, flags=re.MULTILINE)[1]
        found[name] = (kind, help_text, set())
    for name, labels in re.findall(r"^([a-z_:][\w:]*)(?:\{(.*)\})? [^ ]+$", text, flags=re.MULTILINE):
        family = name if name in found else re.sub(r"_(bucket|sum|count)$", "", name)
        found[family][2].update(set(re.findall(r'(?:^|,)(\w+)="', labels)) - {"le"})
    return found


def node_of_everything(folder):
    """Each kind of sink, a cluster, limits of tenants, certificates."""
    port, nowhere = free_port(), free_port()
    self_signed(folder / "tls", "me")
    tls = {f"{kind}_file": str(folder / "tls" / name) for kind, name in {"cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"}.items()}
    sinks = [{"file": {"root": str(folder / "out")}},
             {"clickhouse": {"dsn": f"http://127.0.0.1:{nowhere}/metrics"}},
             {"adx": {"endpoint": f"http://127.0.0.1:{nowhere}", "auth": {"kind": "none"}}}]
    return Forebay(folder / "everything", {
        "databases": [{"name": "Metrics", "sinks": sinks}],
        "listen": {"transfer": f"127.0.0.1:{port}"},
        "tenants": {"limits": {"requests_per_second": 1}},
        "upload": {"retry_initial": "50ms", "retry_max": "100ms"},
        "cluster": {"discovery": "static", "member": "me", "members": [{"name": "me", "address": f"127.0.0.1:{port}"}],
                    "transfer_tls": {**tls, "server_name": "me"}}})


def node_of_dns(folder):
    return Forebay(folder / "dns", {
        "listen": {"transfer": f"127.0.0.1:{free_port()}"},
        "cluster": {"discovery": "dns", "member": "me", "dns": {"service": "_transfer._tcp.forebay.invalid"}}})


def node_of_kubernetes(folder, api):
    token = folder / "token"
    token.write_text(api.token)
    return Forebay(folder / "kubernetes", {
        "listen": {"transfer": f"127.0.0.1:{free_port()}"},
        "cluster": {"discovery": "kubernetes", "member": "me", "kubernetes": {
            "api_server": api.url, "namespace": "monitoring", "token_file": str(token)}}})


def exported(folder):
    """{name: (type, help, names of labels)} of all nodes together."""
    found = {}
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(FakeKubernetes())
        nodes = [node_of_everything(folder), node_of_dns(folder), node_of_kubernetes(folder, api)]
        for node in nodes:
            stack.callback(node.kill9)  # their sinks and members are not there: to drain would take its time
            node.start(wait=False)
            node.wait_listening()
        one = [Series({"__name__": "up"}, [Sample(1.0, 1_700_000_000_000)])]
        statuses = {nodes[0].writer().send_v1(one).status for _ in range(3)}
        assert statuses == {204, 429}, statuses
        with nodes[0].admin() as client:
            client.post("/-/flush?timeout=1s")
        for node in nodes:
            for name, (kind, text, labels) in parse(node.metrics_text()).items():
                known = found.setdefault(name, (kind, text, set()))
                assert known[:2] == (kind, text), f"{name}: {known} and {(kind, text)}"
                known[2].update(labels)
    return found


def section_of(name):
    words = name.split("_")
    key = words[1] if words[0] == "forebay" else words[0]
    return next((title for title, keys in SECTIONS.items() if key in keys), "Others")


def page(found):
    out = [HEAD]
    for title in SECTIONS:
        names = sorted(name for name in found if section_of(name) == title)
        if not names:
            continue
        out.append(f"\n## {title}\n\n| metric | type | labels | |\n|---|---|---|---|\n")
        for name in names:
            kind, text, labels = found[name]
            escaped = text.replace("|", "\\|").replace("\\\\", "\\").replace("<", "&lt;")
            out.append(f"| `{name}` | {kind} | {', '.join(f'`{one}`' for one in sorted(labels))} | {escaped} |\n")
    return "".join(out)


def names_in_sources():
    """Every name that the sources give to a metric; those that are put together have a {} in them."""
    names = set()
    for folder in ("lib", "cmd"):
        for path in (ROOT / folder).rglob("*.cc"):
            text = re.sub(r'"\s*\n\s*"', "", path.read_text())
            names.update(re.findall(r'"(forebay_[a-z0-9_{}]+)"', text))
    return names


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.stdout.write(page(exported(pathlib.Path(temporary))))
