"""TLS, authentication and limits of the ports against the real binary, with clients that behave badly."""

import base64
import contextlib
import http.client
import json
import re
import resource
import socket
import ssl
import struct
import time

import pytest
from authority import Authority
from forebay_harness import (CONTENT_TYPE_V1, Sample, Series, encode_v1, snappy, snappy_literals, wait_for)
from remote_write import varint

BODY = snappy(encode_v1([Series({"__name__": "up"}, [Sample(1.0, 1000)])]))
HEADERS = {"Content-Type": CONTENT_TYPE_V1, "Content-Encoding": "snappy"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


def address(node):
    host, port = node.ingest_address.split(":")
    return host, int(port)


def post(node, body=BODY, headers=None, context=None):
    """Status of a write on a connection of its own, with TLS when there is a context."""
    host, port = address(node)
    connection = (http.client.HTTPSConnection(host, port, timeout=20, context=context) if context else
                  http.client.HTTPConnection(host, port, timeout=20))
    with contextlib.closing(connection):
        connection.request("POST", "/api/v1/write", body=body, headers={**HEADERS, **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def raw(node, data, timeout=20):
    """What comes back for these bytes, until the server closes or a second of silence after an answer."""
    with socket.create_connection(address(node), timeout=timeout) as connection:
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError, socket.timeout):
            while True:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
                connection.settimeout(1)
        return answer


def peer_subject(node, context):
    """The name in the server's certificate."""
    with socket.create_connection(address(node), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            return dict(pair[0] for pair in secure.getpeercert()["subject"])["commonName"]


def reload(node, status=200):
    with node.admin() as client:
        response = client.post("/-/reload")
    assert response.status == status, response.text
    return response.text


def test_tls_serves_and_plain_http_does_not(make_forebay, authority):
    certificate, key = authority.issue("server")
    node = make_forebay({"listen": {"tls": {"cert_file": str(certificate), "key_file": str(key)}}})
    context = ssl.create_default_context(cafile=authority.file)
    assert post(node, context=context) == 204
    assert b"204" not in raw(node, b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        post(node, context=ssl.create_default_context())
    old = ssl.create_default_context(cafile=authority.file)
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        post(node, context=old)
    assert post(node, context=context) == 204
    assert node.metric("forebay_http_tls_handshake_failures_total", port="ingest") >= 2


def test_a_new_certificate_is_served_after_a_reload_and_a_bad_one_is_not(make_forebay, authority, tmp_path):
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def install(name):
        issued = authority.issue(name)
        certificate.write_bytes(issued[0].read_bytes())
        key.write_bytes(issued[1].read_bytes())

    install("first")
    node = make_forebay({"listen": {"tls": {"cert_file": str(certificate), "key_file": str(key)}}})
    context = ssl.create_default_context(cafile=authority.file)
    assert peer_subject(node, context) == "first"
    install("second")
    assert peer_subject(node, context) == "first"
    reload(node)
    assert peer_subject(node, context) == "second"
    certificate.write_text("no certificate")
    assert "tls.crt" in reload(node, 400)
    assert peer_subject(node, context) == "second" and post(node, context=context) == 204


def test_a_reload_takes_other_file_names_too(make_forebay, authority):
    certificate, key = authority.issue("one")
    node = make_forebay({"listen": {"tls": {"cert_file": str(certificate), "key_file": str(key)}}})
    context = ssl.create_default_context(cafile=authority.file)
    certificate, key = authority.issue("other")
    path = node.folder / "config.yaml"
    config = json.loads(path.read_text())
    config["listen"]["tls"] = {"cert_file": str(certificate), "key_file": str(key)}
    path.write_text(json.dumps(config))
    assert "applied" in reload(node)
    assert peer_subject(node, context) == "other"


def test_credentials_can_be_demanded_by_a_reload(make_forebay, tmp_path):
    node = make_forebay()
    path = node.folder / "config.yaml"
    config = json.loads(path.read_text())
    (tmp_path / "tokens").write_text("t-1\n")
    config["listen"]["auth"] = {"bearer_file": str(tmp_path / "tokens")}
    path.write_text(json.dumps(config))
    assert post(node) == 204
    reload(node)
    assert post(node) == 401 and post(node, headers={"Authorization": "Bearer t-1"}) == 204
    # All or nothing: the bad file of one port leaves the other as it is.
    config["listen"]["auth"] = {}
    config["listen"]["admin_auth"] = {"basic_file": str(tmp_path / "nothing")}
    path.write_text(json.dumps(config))
    assert "nothing" in reload(node, 400)
    assert post(node) == 401


def test_client_certificates_are_demanded_when_an_authority_is_given(make_forebay, authority, tmp_path):
    certificate, key = authority.issue("server")
    node = make_forebay({"listen": {"tls": {"cert_file": str(certificate), "key_file": str(key),
                                            "client_ca_file": str(authority.file)}}})
    context = ssl.create_default_context(cafile=authority.file)
    with pytest.raises(OSError):
        post(node, context=context)
    stranger = Authority(tmp_path / "stranger").issue("client")
    context.load_cert_chain(*stranger)
    with pytest.raises(OSError):
        post(node, context=context)
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(*authority.issue("client"))
    assert post(node, context=context) == 204


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_basic_and_bearer_credentials_are_checked_and_reloaded(make_forebay, tmp_path):
    users, tokens = tmp_path / "users", tmp_path / "tokens"
    users.write_text("# people\nalice:pass:word\n"
                     "bob:{SHA256}5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8\n")
    tokens.write_text("agent:t-1\nt-2\n")
    node = make_forebay({"listen": {"auth": {"basic_file": str(users), "bearer_file": str(tokens)}},
                         "idempotency": {"window": "0s"}})  # every post has the same body
    good = [basic("alice", "pass:word"), basic("bob", "password"), {"Authorization": "Bearer t-1"},
            {"authorization": "bearer t-2"}]
    bad = [{}, basic("alice", "x"), basic("bob", "Password"), basic("carol", ""), {"Authorization": "Bearer t-3"},
           {"Authorization": "Bearer "}, {"Authorization": "Basic %%%"}, {"Authorization": "Digest x"}]
    assert [post(node, headers=one) for one in good] == [204] * len(good)
    assert [post(node, headers=one) for one in bad] == [401] * len(bad)
    assert b"WWW-Authenticate" in raw(node, b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                                            b"Connection: close\r\n\r\n")
    users.write_text("carol:new\n")
    assert post(node, headers=basic("alice", "pass:word")) == 204
    reload(node)
    assert post(node, headers=basic("alice", "pass:word")) == 401 and post(node, headers=basic("carol", "new")) == 204
    users.write_text("no colon here\n")
    assert "users" in reload(node, 400)
    assert post(node, headers=basic("carol", "new")) == 204
    node.flush()
    assert len(node.rows()) == len(good) + 3


def test_bodies_above_the_limit_are_refused_both_ways(make_forebay):
    node = make_forebay({"http": {"max_body": "64KiB", "max_decoded_body": "128KiB"}})
    big = [Series({"__name__": "up", "n": str(n)}, [Sample(1.0, n)]) for n in range(4000)]
    encoded = encode_v1(big)
    assert len(encoded) > 128 * 1024
    # By its length, before it is read; chunked, while it is read; decoded, by what it says of itself.
    literals = snappy_literals(encoded[:100 * 1024])
    assert post(node, snappy_literals(encoded)) == 413
    assert post(node, iter([literals[:30000], literals[30000:60000], literals[60000:]])) == 413
    bomb = snappy(b"\0" * (129 * 1024))
    assert len(bomb) < 64 * 1024 and post(node, bomb) == 413
    assert post(node, snappy_literals(encode_v1(big[:500]))) == 204
    node.expect_running()


@pytest.mark.parametrize("claim", [2**32 - 1, 2**32, 2**40, 2**63])
def test_a_body_that_claims_to_be_huge_costs_nothing(make_forebay, claim):
    node = make_forebay()
    before = node.metric("process_resident_memory_bytes")
    status = post(node, varint(claim) + b"\x00a" * 20)
    # Snappy's length is 32 bits; more is no snappy.
    assert status == (413 if claim < 2**32 else 400)
    assert post(node) == 204
    assert node.metric("process_resident_memory_bytes") < before + (64 << 20)


@pytest.mark.parametrize("data, status", [
    (b"nonsense\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"POST /api/v1/write HTTP/1.1\r\n\r\n", 400),
    (b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n", 400),
    (b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    (b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
    (b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n", 431),
    (b"GET /api/v1/write HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
    (b"POST /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 404),
])
def test_malformed_requests_are_told_so(forebay, data, status):
    answer = raw(forebay, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert post(forebay) == 204


def test_pipelined_requests_are_answered_in_order(make_forebay):
    forebay = make_forebay({"idempotency": {"window": "0s"}})  # the same body twice

    def request(body, path="/api/v1/write", close=False):
        return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Length: {len(body)}\r\n"
                f"{'Connection: close' if close else 'X: y'}\r\n\r\n").encode() + body

    answer = raw(forebay, request(BODY) + request(b"bad") + request(BODY, "/no") + request(BODY, close=True))
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [
        b"204", b"400", b"404", b"204"]
    forebay.flush()
    assert len(forebay.rows()) == 2


def test_slow_clients_are_cut_and_others_are_served_meanwhile(make_forebay):
    node = make_forebay({"http": {"header_timeout": "400ms", "body_timeout": "600ms"}})
    head = b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(address(node), timeout=20)) for _ in range(20)]
        for number, connection in enumerate(slow):
            connection.sendall(head[:40] if number % 2 else head + b"\r\nabc")
        begun = time.monotonic()
        assert post(node) == 204
        assert time.monotonic() - begun < 5
        for connection in slow:
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
    assert node.metric("forebay_http_timeouts_total", port="ingest") == 20
    wait_for("closed connections", lambda: node.metric("forebay_http_connections", port="ingest") == 0)


def test_a_thousand_idle_connections_do_not_stop_service(make_forebay):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3000:
        pytest.skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    node = make_forebay({"http": {"header_timeout": "1m"}})
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(address(node), timeout=20))
        wait_for("the connections", lambda: node.metric("forebay_http_connections", port="ingest") == 1000)
        assert [post(node) for _ in range(10)] == [204] * 10
        assert node.metric("process_resident_memory_bytes") < 256 << 20
        assert node.terminate(30) == 0


def test_connections_above_the_limit_are_refused_with_503(make_forebay):
    node = make_forebay({"http": {"max_connections": 5}})
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(address(node), timeout=20))
        wait_for("the connections", lambda: node.metric("forebay_http_connections", port="ingest") == 5)
        answer = raw(node, b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in answer
    wait_for("service again", lambda: post(node) == 204)


def test_clients_that_reset_in_the_middle_cost_nothing(forebay):
    for cut in (1, 60, 150, len(BODY) + 150):
        request = (f"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\n"
                   f"Content-Length: {len(BODY)}\r\n\r\n").encode() + BODY
        connection = socket.create_connection(address(forebay), timeout=20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(request[:cut])
        connection.close()
    wait_for("closed connections", lambda: forebay.metric("forebay_http_connections", port="ingest") == 0)
    # 503: the last of them was whole, and is being stored still.
    wait_for("a request that is stored", lambda: post(forebay) == 204)
    forebay.expect_running()
