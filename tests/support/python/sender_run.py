"""One run of both real senders against one node that is killed in the middle, and what came of it.

Prometheus scrapes itself and the exporter, vmagent scrapes an exporter of its own. Both write to one node:
vmagent as a tenant with a database of its own, Prometheus to the default one, since Debian's build leaves the
configured headers of remote_write out. About second 30 the node gets SIGKILL and is away for 3 seconds. At the end
the targets go, the senders' queues empty, and the node is flushed.
"""

import dataclasses
import time

import conservation
from exporter import Exporter
from forebay_harness import Forebay, proper_case, read_rows, series_id, value_key, millis
from processes import Prometheus, VmAgent, wait_for

SCRAPE_SECONDS = 62  # both senders, from their first scrape
KILL_AFTER_SECONDS = 30
DOWN_SECONDS = 3

# A request whose answer is lost by the kill is sent again by any sender; the node's ledger of requests knows it, so
# no row may be there twice.
SHARDS = 4
SAMPLES_PER_REQUEST = 500

SIDE_TABLES = ("Exemplars", "NativeHistograms", "MetricMetadata")


@dataclasses.dataclass
class Run:
    """What the tests look at; times in Unix seconds."""

    begin: float
    killed: float
    back: float
    end: float
    prometheus: Prometheus
    prometheus_exporter: Exporter
    vmagent: VmAgent
    vmagent_exporter: Exporter
    forebay: Forebay

    def rows(self, database, side=False):
        return [row for row in read_rows(self.forebay.out, database=database)
                if (row["_table"] in SIDE_TABLES) == side]


def samples_by_series(rows):
    """{(table, SeriesId, labels): {timestamp in ms: [value keys]}} of rows of metrics tables."""
    result = {}
    for row in rows:
        key = (row["_table"], int(row["SeriesId"]), frozenset(row["Labels"].items()))
        result.setdefault(key, {}).setdefault(millis(row["Timestamp"]), []).append(value_key(row["Value"]))
    return result


def series_key(labels):
    """The same key of labels with __name__."""
    rest = {name: value for name, value in labels.items() if name != "__name__"}
    return proper_case(labels["__name__"]), series_id(labels), frozenset(rest.items())


def duplicates(by_series):
    """[(series key, timestamp, value)] of every row beyond the first of its series, time and value."""
    extra = []
    for key, samples in by_series.items():
        for timestamp, values in samples.items():
            assert len(set(values)) == 1, f"{key} at {timestamp} has differing values {values}"
            extra += [(key, timestamp, values[0])] * (len(values) - 1)
    return extra


def check_duplicates(run, by_series, who):
    """None, also not of the requests that were in flight at the kill."""
    extra = duplicates(by_series)
    print(f"{who}: {sum(len(v) for s in by_series.values() for v in s.values())} rows, {len(extra)} of them twice")
    assert not extra, f"there twice: {extra[:5]}"


def first_scrapes(run_prometheus, *exporters):
    def scraped():
        run_prometheus.expect_running()
        return all(exporter.scrapes >= 1 for exporter in exporters)

    wait_for("the first scrapes", scraped, 60)


def wait_until_sent(prometheus, vmagent, forebay):
    """Both queues are empty and the node's count of samples has not moved for a while."""
    calm = {"accepted": -1.0, "since": time.monotonic()}

    def sent():
        prometheus.expect_running()
        vmagent.expect_running()
        pending = prometheus.metric("prometheus_remote_storage_samples_pending")
        pending += prometheus.metric("prometheus_remote_storage_exemplars_pending")
        pending += prometheus.metric("prometheus_remote_storage_histograms_pending")
        pending += vmagent.metric("vmagent_remotewrite_pending_data_bytes")
        accepted = sum(forebay.metric(f"forebay_receive_{what}_total")
                       for what in ("samples", "exemplars", "histograms", "metadata"))
        if pending or accepted != calm["accepted"]:
            calm.update(accepted=accepted, since=time.monotonic())
        return time.monotonic() - calm["since"] > 2.5

    wait_for("empty queues", sent, 60, 0.3)


def wait_until_gone(prometheus, vmagent):
    """Neither scrapes any more; what follows a target's end (stale markers) comes up to three scrapes later."""
    wait_for("Prometheus without targets", lambda: prometheus.api("targets")["activeTargets"] == [], 30, 0.2)
    wait_for("vmagent without targets", lambda: vmagent.metric("vm_promscrape_targets", status="up") == 0, 30, 0.2)


def senders_run(folder):
    """A generator of one Run; everything ends when it is closed."""
    forebay = Forebay(folder / "node", {
        "generation": {"max_age": "4s"},
        "batch": {"max_age": "12s"},
        "databases": [{"name": name, "sinks": [{"file": {"root": str(folder / "node" / "out")}}]}
                      for name in ("Prometheus", "Vmagent")],
    })
    with forebay, Exporter() as exporter, Exporter() as vm_exporter:
        forebay.start()
        prometheus = Prometheus(
            folder / "prometheus",
            [{"url": forebay.write_url, "send_exemplars": True,
              "send_native_histograms": True, "metadata_config": {"send_interval": "5s"},
              "queue_config": {"max_shards": SHARDS, "max_samples_per_send": SAMPLES_PER_REQUEST,
                               "batch_send_deadline": "1s"}}],
            {"demo": [exporter.address], "traced": {"targets": [exporter.address], "path": "/openmetrics"},
             "native": {"targets": [exporter.address], "path": "/native"}},
            features=["exemplar-storage", "native-histograms"])
        vmagent = VmAgent(
            folder / "vmagent", [forebay.write_url], {"demo": [vm_exporter.address]},
            arguments=["-remoteWrite.headers=X-Scope-OrgID: Vmagent", f"-remoteWrite.queues={SHARDS}",
                       f"-remoteWrite.maxRowsPerBlock={SAMPLES_PER_REQUEST}"])
        with prometheus, vmagent:
            begin = time.time()
            prometheus.start()
            vmagent.start()
            first_scrapes(prometheus, exporter, vm_exporter)
            first = time.monotonic()
            wait_for("half of the time", lambda: time.monotonic() > first + KILL_AFTER_SECONDS, 60, 0.2)
            killed = time.time()
            forebay.kill9()
            wait_for("the time down", lambda: time.time() > killed + DOWN_SECONDS, 60, 0.05)
            forebay.start()
            back = time.time()
            wait_for("the whole time", lambda: time.monotonic() > first + SCRAPE_SECONDS, 90, 0.2)
            prometheus.stop_scraping()
            vmagent.stop_scraping()
            wait_until_gone(prometheus, vmagent)
            wait_until_sent(prometheus, vmagent, forebay)
            forebay.flush()
            conservation.check(forebay)
            yield Run(begin, killed, back, time.time(), prometheus, exporter, vmagent, vm_exporter, forebay)
