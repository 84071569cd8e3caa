"""A small Prometheus exporter whose series are awkward on purpose.

Counters, gauges, a histogram, special values, label values with quotes, newlines, backslashes, commas and
characters beyond ASCII, and series that come and go so that senders write stale markers.
"""

import http.server
import threading
import time

from remote_write import f_bytes, f_double, f_varint, varint, zigzag

AWKWARD_VALUES = {
    "quotes": 'say "hello"',
    "newline": "first\nsecond",
    "backslash": "C:\\temp\\",
    "comma": "a,b;c=d",
    "unicode": "Grüße, 世界 🌊",
    "blank": "  spaces around  ",
    "json": '{"k":["v"]}',
}


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def render(name, labels, value):
    inner = ",".join(f'{key}="{escape(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value}\n" if inner else f"{name} {value}\n"


def page(scrape, instances):
    """The text of scrape number `scrape`, from 0; the same number gives the same text."""
    out = ["# HELP demo_requests_total Requests.\n# TYPE demo_requests_total counter\n"]
    for number in range(instances):
        labels = {"instance_id": f"i{number}", "method": "GET" if number % 2 else "POST"}
        out.append(render("demo_requests_total", labels, scrape * (number + 1)))
    out.append("# HELP demo_temperature_celsius Temperature.\n# TYPE demo_temperature_celsius gauge\n")
    out.append(render("demo_temperature_celsius", {"room": "a"}, 20 + scrape / 7))
    out.append(render("demo_temperature_celsius", {"room": "b"}, f"{-1.5e-300 * (scrape + 1)!r}"))
    out.append("# HELP demo_special Special values.\n# TYPE demo_special gauge\n")
    for kind in ("NaN", "+Inf", "-Inf", "0", "-0", "1.7976931348623157e+308", "5e-324"):
        out.append(render("demo_special", {"kind": kind}, kind))
    out.append("# HELP demo_awkward_info Label values.\n# TYPE demo_awkward_info gauge\n")
    for kind, text in AWKWARD_VALUES.items():
        out.append(render("demo_awkward_info", {"kind": kind, "text": text}, 1))
    # Each is there for five scrapes of ten.
    out.append("# HELP demo_comes_and_goes Now and then.\n# TYPE demo_comes_and_goes gauge\n")
    for phase in range(5):
        if (scrape + 2 * phase) % 10 < 5:
            out.append(render("demo_comes_and_goes", {"phase": str(phase)}, scrape))
    out.append("# HELP demo_duration_seconds Durations.\n# TYPE demo_duration_seconds histogram\n")
    for count, bound in enumerate(("0.01", "0.1", "1", "+Inf"), 1):
        out.append(render("demo_duration_seconds_bucket", {"le": bound}, count * scrape))
    out.append(render("demo_duration_seconds_sum", {}, scrape * 0.3))
    out.append(render("demo_duration_seconds_count", {}, 4 * scrape))
    return "".join(out)


def openmetrics_page(scrape):
    """A counter and a histogram with exemplars, whose labels and values tell the number of the scrape."""
    return (f"# TYPE demo_traced counter\ndemo_traced_total{{path=\"/a\"}} {scrape} "
            f"# {{trace_id=\"t{scrape}\",note=\"a \\\"b\\\" ü\"}} {scrape + 0.5}\n"
            "# TYPE demo_traced_seconds histogram\n"
            f"demo_traced_seconds_bucket{{le=\"1.0\"}} {scrape} # {{trace_id=\"h{scrape}\"}} 0.25\n"
            f"demo_traced_seconds_bucket{{le=\"+Inf\"}} {scrape}\ndemo_traced_seconds_count {scrape}\n"
            f"demo_traced_seconds_sum {scrape * 0.25}\n# EOF\n")


def native_histogram(scrape):
    """What demo_native_seconds says at that scrape: absolute bucket counts by index, schema 1."""
    return {"count": 2 + 6 * scrape, "sum": 0.125 * scrape, "schema": 1, "zero_count": 2,
            "positive": {-1: scrape, 0: 2 * scrape, 3: scrape}, "negative": {2: 2 * scrape}}


def native_page(scrape):
    """The same as io.prometheus.client.MetricFamily, delimited."""
    histogram = native_histogram(scrape)

    def spans_and_deltas(span_field, delta_field, spans, counts):
        deltas = [now - before for before, now in zip([0, *counts], counts)]
        return b"".join(f_bytes(span_field, f_varint(1, zigzag(offset)) + f_varint(2, length))
                        for offset, length in spans) + f_bytes(
                            delta_field, b"".join(varint(zigzag(delta)) for delta in deltas))

    body = f_varint(1, histogram["count"]) + f_double(2, histogram["sum"]) + f_varint(5, zigzag(histogram["schema"]))
    body += f_double(6, 1e-9) + f_varint(7, histogram["zero_count"])
    body += spans_and_deltas(9, 10, [(2, 1)], list(histogram["negative"].values()))
    body += spans_and_deltas(12, 13, [(-1, 2), (2, 1)], list(histogram["positive"].values()))
    metric = f_bytes(1, f_bytes(1, "path") + f_bytes(2, "/a,\"b\"")) + f_bytes(7, body)
    family = f_bytes(1, "demo_native_seconds") + f_bytes(2, "Native.") + f_varint(3, 4) + f_bytes(4, metric)
    return varint(len(family)) + family


TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


class Exporter:
    """Serves page n of /metrics, /openmetrics and /native from a thread, n counting the scrapes of each path.

    `served`: path to a list of the times, in Unix seconds, at which pages 0, 1, ... were asked for.
    """

    def __init__(self, instances=20):
        pages = {"/metrics": (TEXT, lambda n: page(n, instances).encode()),
                 "/openmetrics": (OPENMETRICS, lambda n: openmetrics_page(n).encode()),
                 "/native": (PROTOBUF, native_page)}
        self.instances = instances
        self.served = {path: [] for path in pages}
        lock = threading.Lock()
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path not in pages:
                    self.send_error(404)
                    return
                with lock:
                    scrape = len(exporter.served[self.path])
                    exporter.served[self.path].append(time.time())
                content_type, render_page = pages[self.path]
                data = render_page(scrape)
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def scrapes(self):
        return len(self.served["/metrics"])

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
