"""A small Prometheus exporter whose series are awkward on purpose.

Counters, gauges, a histogram, special values, label values with quotes, newlines, backslashes, commas and
characters beyond ASCII, and series that come and go so that senders write stale markers.
"""

import http.server
import threading

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


class Exporter:
    """Serves page(n) at /metrics from a thread, n counting the scrapes. Port 0: any."""

    def __init__(self, instances=20):
        self.scrapes = 0
        self.instances = instances
        lock = threading.Lock()
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with lock:
                    scrape = exporter.scrapes
                    exporter.scrapes += 1
                data = page(scrape, exporter.instances).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
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

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
