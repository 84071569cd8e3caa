"""docs/openapi.yaml is valid, names the server's routes, and every operation and status in it is one that a node answers."""

import contextlib
import json
import re
import socket
import threading
import time

import jsonschema
import pytest
import yaml
from forebay_harness import Forebay, HttpClient, Sample, Series, encode_v1, snappy
from processes import ROOT, TOOLS, wait_for

DOCUMENT = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
METHODS = ("get", "post", "delete", "put", "patch")
WRITE = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
SEGMENT = "Metrics_DiskTornTail_2cawzsrvl4mw4_2f24a73200008001.wal"
OTLP_PATHS = ("/v1/metrics", "/v1/logs", "/v1/traces")
JSON = {"Content-Type": "application/json"}
WRITE_PATHS = ("/api/v1/write", "/receive", "/remote_write")
JOBS = ("/-/flush", "/-/drain", "/-/audit", "/-/reload")
MAX_QUEUED_JOBS = 16  # server/job_thread.h
# Shown where a disk or another request can be held in the middle: unit tests of transfer and server.
ELSEWHERE = {("post", "/transfer", 423), ("post", "/transfer", 500), ("get", "/startupz", 503)}


def operations():
    return {(method, path): one for path, item in DOCUMENT["paths"].items() for method, one in item.items() if method in METHODS}


def port_of(path):
    return "ingest" if "servers" in DOCUMENT["paths"][path] else "admin"


class Asked:
    """Sends requests and checks each answer against what is documented of it."""

    def __init__(self):
        self.seen = set()

    def __call__(self, node, method, path, status, body=None, headers=None, query=""):
        with HttpClient(getattr(node, f"{port_of(path)}_url"), 60) as client:
            answer = client.request(method.upper(), path + query, body if body is not None else b"" if method == "post" else None, headers)
        assert answer.status == status, f"{method} {path}{query}: {answer.status} {answer.text}"
        documented = operations()[method, path]["responses"][str(status)]
        content, kind = documented.get("content", {}), answer.headers.get("content-type", "").partition(";")[0]
        assert kind in content if answer.body else not content, f"{method} {path} {status}: content type {kind!r}, documented {list(content)}"
        if kind == "application/json":
            jsonschema.validate(json.loads(answer.body), content[kind]["schema"], cls=jsonschema.Draft4Validator)
        for name, header in documented.get("headers", {}).items():
            assert name.lower() in answer.headers or not header.get("required"), f"{method} {path} {status}: no {name}"
        self.seen.add((method, path, status))
        return answer


class Silent:
    """A server that takes connections and never answers."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        return self

    def __exit__(self, *_):
        self.listener.close()


def message(number=0, name="up"):
    return snappy(encode_v1([Series({"__name__": name}, [Sample(number, 1_700_000_000_000 + number)])]))


def writes(ask, node):
    for number, path in enumerate(WRITE_PATHS):
        ask(node, "post", path, 204, message(number), WRITE)
        ask(node, "post", path, 400, b"no snappy", WRITE)
        ask(node, "post", path, 413, b"x" * 20000, WRITE)
        ask(node, "post", path, 415, message(), {**WRITE, "Content-Type": "application/json"})


def otlp(ask, node):
    for path in OTLP_PATHS:
        ask(node, "post", path, 200, b"{}", JSON)
        ask(node, "post", path, 400, b"{", JSON)
        ask(node, "post", path, 400, b"\x0a\x7f", {"Content-Type": "application/x-protobuf"})
        ask(node, "post", path, 413, b"x" * 20000, JSON)
        ask(node, "post", path, 415, b"{}", {"Content-Type": "text/plain"})


def transfers(ask, node):
    body, query = (ROOT / "tests/data/adxmon" / SEGMENT).read_bytes(), f"?filename={SEGMENT}"
    ask(node, "post", "/transfer", 202, body, query=query)
    ask(node, "post", "/transfer", 409, body, query=query)
    ask(node, "post", "/transfer", 400, body)
    # Refused by what it announces.
    with socket.create_connection(tuple(node.ingest_address.rsplit(":", 1))) as connection:
        connection.sendall(b"POST /transfer%s HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000000\r\n\r\n" % query.encode())
        assert b" 413 " in connection.recv(4096)
    ask.seen.add(("post", "/transfer", 413))


def admin(ask, node):
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/api/v1/status", "/api/v1/tables", "/api/v1/history", "/api/v1/config"):
        ask(node, "get", path, 200)
    for path, query in (("status", "tables=many"), ("tables", "sort=size"), ("history", "from=then")):
        ask(node, "get", f"/api/v1/{path}", 400, query=f"?{query}")
    ask(node, "get", "/", 302)
    tag = ask(node, "get", "/status", 200).headers["etag"]
    ask(node, "get", "/status", 304, headers={"If-None-Match": tag})
    ask(node, "post", "/-/flush", 200)
    ask(node, "post", "/-/flush", 400, query="?timeout=soon")
    ask(node, "post", "/-/audit", 200)
    ask(node, "post", "/-/reload", 200)
    path = node.folder / "config.yaml"
    good = path.read_text()
    path.write_text("nonsense: 1\n")
    ask(node, "post", "/-/reload", 400)
    path.write_text(good)


def drains(ask, node):
    ask(node, "get", "/-/drain", 202)
    ask(node, "post", "/-/drain", 400, query="?timeout=soon")
    ask(node, "post", "/-/drain", 200, query="?timeout=30s")
    ask(node, "get", "/-/drain", 200)
    ask(node, "get", "/readyz", 503)
    for path in WRITE_PATHS:
        ask(node, "post", path, 503, message(100), WRITE)  # not one that is known
    for path in OTLP_PATHS:
        ask(node, "post", path, 503, b"{}", JSON)
    ask(node, "post", "/transfer", 429, b"x", query=f"?filename={SEGMENT}")
    ask(node, "delete", "/-/drain", 200)


def limits(ask, node):
    def refused(path):
        with HttpClient(node.ingest_url) as client:
            return client.post(path, message(), WRITE).status == 429

    for path in WRITE_PATHS:
        wait_for("the limit", lambda path=path: refused(path), 10)
        ask(node, "post", path, 429, message(), WRITE)
    for path in OTLP_PATHS:
        ask(node, "post", path, 429, b"{}", JSON)  # the limit has been reached


def busy(ask, node):
    """A sink that never answers keeps the one thread of jobs at a flush; the queue behind it is filled."""
    ask(node, "post", "/api/v1/write", 204, message(), WRITE)
    ask(node, "post", "/-/flush", 503, query="?timeout=200ms")

    def post(path):
        with contextlib.suppress(OSError), HttpClient(node.admin_url, 60) as client:
            client.post(path)

    threads = [threading.Thread(target=post, args=("/-/flush?timeout=4s",))]
    threads[0].start()
    time.sleep(0.2)
    threads += [threading.Thread(target=post, args=("/-/audit",)) for _ in range(MAX_QUEUED_JOBS + 1)]
    for thread in threads[1:]:
        thread.start()
    # Those that were too many have ended.
    wait_for("the queue to be full", lambda: any(not thread.is_alive() for thread in threads[1:]), 4)
    for path in JOBS:
        ask(node, "post", path, 503)
    for thread in threads:
        thread.join()
    ask(node, "post", "/-/drain", 202)
    ask(node, "get", "/-/drain", 202)


def locked(ask, node):
    for (method, path), operation in operations().items():
        if "401" in operation["responses"]:
            ask(node, method, path, 401, headers=WRITE if path in WRITE_PATHS else None)
        else:
            assert operation["security"] == []
            ask(node, method, path, 200)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Every operation has been asked for, in nodes that are in the states that it takes."""
    folder, ask = tmp_path_factory.mktemp("openapi"), Asked()
    (folder / "users").write_text("user:password\n")
    auth = {"basic_file": str(folder / "users")}
    with contextlib.ExitStack() as stack:
        hung = stack.enter_context(Silent())

        def node(name, config=None):
            one = Forebay(folder / name, config)
            stack.callback(one.kill9)
            return one.start()

        plain = node("plain", {"http": {"max_body": "16KiB"}})
        for part in (writes, otlp, transfers, admin, drains):
            part(ask, plain)
        limits(ask, node("limits", {"tenants": {"limits": {"requests_per_second": 1}}}))
        locked(ask, node("locked", {"listen": {"auth": auth, "admin_auth": auth}}))
        sink = {"clickhouse": {"dsn": f"http://127.0.0.1:{hung.port}/metrics"}}
        busy(ask, node("busy", {"databases": [{"name": "Metrics", "sinks": [sink]}]}))
    return ask


def test_it_is_valid_openapi():
    schema = json.loads((TOOLS[0].parents[1] / "openapi" / "schema.json").read_text())
    # Keys of YAML may be numbers; those of JSON are not.
    jsonschema.validate(json.loads(json.dumps(DOCUMENT)), schema, cls=jsonschema.Draft4Validator)


def test_every_documented_status_was_answered_as_documented(asked):
    documented = {(method, path, int(status)) for (method, path), one in operations().items() for status in one["responses"]}
    assert documented - asked.seen == ELSEWHERE
    assert asked.seen <= documented


def test_every_route_of_the_server_is_documented_and_no_other():
    """A new route has to be described in docs/openapi.yaml and asked for above."""
    source = (ROOT / "lib/server/admin.cc").read_text() + (ROOT / "lib/server/node.cc").read_text()
    routes = {("get", path) for path in re.findall(r'\bGet\("([^"]+)"', source)}
    routes |= {("post", path) for path in re.findall(r'\bPostJob\("([^"]+)"', source)}
    routes |= {(method.lower(), path) for method, path in re.findall(r'\{"([A-Z]+)", "(/[^"]*)"', source)}
    routes |= {(method.lower(), path) for method, path in re.findall(r'Route\("([A-Z]+)", "(/[^"]*)"', source)}
    routes |= {("post", path) for path in WRITE_PATHS + OTLP_PATHS}
    assert routes == operations().keys()


def test_other_methods_of_documented_paths_are_405(tmp_path):
    with Forebay(tmp_path).start() as node:
        for path in DOCUMENT["paths"]:
            with HttpClient(getattr(node, f"{port_of(path)}_url")) as client:
                answer = client.request("PATCH", path)
            allowed = {one.strip().lower() for one in answer.headers["allow"].split(",")} - {"head"}
            assert answer.status == 405 and allowed == {method for method, one in operations() if one == path}
