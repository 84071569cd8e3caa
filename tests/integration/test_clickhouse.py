"""The ClickHouse sink against a real server, with a proxy between them that spoils what it should."""

import itertools
import json
import math
import struct
import time
import urllib.parse

import pytest
from accounting import PROMETHEUS, Account, Senders
from authority import Authority
from clickhouse import PASSWORD, ClickHouse, FaultProxy, ServerOracle, have_clickhouse
from conservation import check
from forebay_harness import STALE, Bits, HttpClient, Sample, Series, merge, proper_case, series_id, wait_for
from log_segments import LOG_FIELDS, log_row, log_segment, post_segment
from nginx import TlsFront

pytestmark = pytest.mark.skipif(not have_clickhouse(), reason="no ClickHouse server: run ./dev setup")

NUMBERS = itertools.count(1)
FAST = {"generation": {"max_age": "200ms"}, "batch": {"max_age": "300ms"},
        "upload": {"retry_initial": "20ms", "retry_max": "200ms"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ClickHouse(tmp_path_factory.mktemp("clickhouse")).start() as running:
        yield running


@pytest.fixture
def database():
    return f"db{next(NUMBERS)}"


def sink_of(dsn, **options):
    return {"databases": [{"name": "Metrics", "sinks": [{"clickhouse": {"dsn": dsn, **options}}]}]}


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def secret_free(node):
    for secret in (PASSWORD, urllib.parse.quote(PASSWORD, safe="")):
        assert secret not in node.log
        assert secret not in json.dumps(node.status())
        assert secret not in node.run("config", "print", "--config", node.folder / "config.yaml").stdout


def test_every_field_is_read_back_as_it_was_sent(make_forebay, server, database):
    node = make_forebay(merge(FAST, sink_of(server.dsn(database))))
    values = [0.0, -0.0, 1.5, -1e-300, 1e300, 0.1, 2.0**53, math.inf, -math.inf, Bits(0x7ff8000000001234), STALE]
    labels = [{"a": "plain"}, {"a": 'quo"te \\ back\nline\ttab', "ü": "日本"}, {}]
    times = [1, 1_793_491_200_123, 1_793_491_200_124, 4_102_444_800_999]
    sent, series = {}, []
    for number, (label, value) in enumerate(itertools.product(labels, values)):
        full = {"__name__": "odd_values", "n": str(number), **label}
        series.append(Series(full, [Sample(value, moment) for moment in times]))
        raw = value.bits if isinstance(value, Bits) else value
        for moment in times:
            key = (series_id(full) % (1 << 64), moment)
            sent[key] = ({k: v for k, v in full.items() if k != "__name__"},
                         raw if isinstance(raw, int) else bits(raw))
    assert node.writer().send_v1(series).status in (200, 204)
    node.flush()
    table = f"{database}.{proper_case('odd_values')}"
    rows = server.rows(f"SELECT SeriesId, Timestamp, Labels, reinterpretAsUInt64(reinterpretAsString(Value)) AS v "
                       f"FROM {table}")
    got = {(row["SeriesId"], row["Timestamp"]): (json.loads(row["Labels"]), row["v"]) for row in rows}
    assert len(rows) == len(sent)
    assert got == sent
    assert node.metric("forebay_upload_rows_total", sink="clickhouse") == len(sent)
    assert node.metric("forebay_upload_special_values_total", kind="stale_marker") == 3 * len(times)
    check(node)
    secret_free(node)


def test_the_schema_grows_and_a_table_that_was_dropped_is_made_again(make_forebay, server, database):
    node = make_forebay(merge(FAST, sink_of(server.dsn(database))))

    def send(number):
        node.writer().send_v1([Series({"__name__": "grown", "host": f"h{number}"}, [Sample(float(number), number)])])
        node.flush()

    send(1)
    config = sink_of(server.dsn(database))
    config["databases"][0]["lift_labels"] = [{"name": "host"}]
    node.config = merge(node.config, config)
    node.restart()
    send(2)
    rows = server.rows(f"SELECT Value, Labels, Host FROM {database}.Grown ORDER BY Value")
    assert rows == [{"Value": 1, "Labels": '{"host":"h1"}', "Host": ""}, {"Value": 2, "Labels": "{}", "Host": "h2"}]
    server.query(f"DROP TABLE {database}.Grown")
    send(3)
    assert server.rows(f"SELECT Value, Host FROM {database}.Grown") == [{"Value": 3, "Host": "h3"}]


def test_a_column_of_another_type_sends_the_batch_to_the_dead_letters_until_it_is_replayed(make_forebay, server, database):
    server.query(f"CREATE DATABASE {database}")
    server.query(f"CREATE TABLE {database}.Odd (Timestamp Int64, SeriesId UInt64, Labels String, Value String) "
                 f"ENGINE = MergeTree() ORDER BY SeriesId")
    node = make_forebay(FAST)
    node.config["databases"][0]["sinks"].append({"clickhouse": {"dsn": server.dsn(database)}})
    node.restart()
    node.writer().send_v1([Series({"__name__": "odd"}, [Sample(1.0, 1)]), Series({"__name__": "even"}, [Sample(2.0, 1)])])
    node.admin().post("/-/flush")
    wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    assert node.metric("forebay_schema_drift_batches_total", sink="clickhouse") == 1
    reason = json.loads(next(node.data.glob("dlq/*/reason.json")).read_text())
    assert "column Value of table Odd is String, which real does not fit" in reason["sinks"][1]["note"]
    assert server.number(f"SELECT count() FROM {database}.Even") == 1
    check(node)

    listed = json.loads(node.run("dlq", "ls", "--json", "--dir", node.data).stdout)
    assert [(one["table"], one["rows"], one["segments"]) for one in listed] == [("Odd", 1, 1)]
    assert "does not fit" in node.run("dlq", "ls", "--dir", node.data).stdout
    assert "reason.json" in node.run("dlq", "show", listed[0]["batch"], "--dir", node.data).stdout
    refused = node.run("dlq", "drop", "--all", "--dir", node.data)
    assert refused.returncode == 1 and "--yes" in refused.stderr
    server.query(f"DROP TABLE {database}.Odd")
    replayed = node.run("dlq", "replay", "--all", "--dir", node.data)
    assert replayed.returncode == 0, replayed.stderr
    # Beside the running daemon: within 10 s, or at a flush.
    node.admin().post("/-/flush")
    wait_for("the replayed row", lambda: "Odd" in server.tables(database)
             and server.number(f"SELECT count() FROM {database}.Odd") == 1)
    drain(node)
    # The sink that had it did not get it again.
    assert len(node.rows("Odd")) == 1
    assert json.loads(node.run("dlq", "ls", "--json", "--dir", node.data).stdout) == []
    check(node)


def test_a_wrong_password_keeps_the_batch_waiting(make_forebay, server, database, tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong\n")
    dsn = f"http://writer@127.0.0.1:{server.port}/{database}"
    node = make_forebay(merge(FAST, sink_of(dsn, password_file=str(password))))
    node.writer().send_v1([Series({"__name__": "kept"}, [Sample(1.0, 1)])])
    wait_for("tries", lambda: node.metric("forebay_upload_retries_total") >= 3)
    assert "denied" in json.dumps(node.status())
    password.write_text(PASSWORD)
    wait_for("the row", lambda: "Kept" in server.tables(database)
             and server.number(f"SELECT count() FROM {database}.Kept") == 1)
    assert node.metric("forebay_upload_dead_letter_batches_total") == 0
    secret_free(node)


BUSY = b"Code: 202, e.displayText() = DB::Exception: Too many simultaneous queries"
MEMORY = b"Code: 241, e.displayText() = DB::Exception: Memory limit exceeded"
FAULTS = ["lost_answer", "cut", "half_close", "refuse", "hang", "hang_answer", "500 late", 429, 500, 502, 503, 413, 404,
          (503, {"Retry-After": "1"}, b"later"), (500, {}, BUSY), (500, {}, MEMORY), (200, {}, MEMORY)]


def test_whatever_happens_to_an_insert_each_row_is_there_once(make_forebay, server, database):
    """Each fault strikes the first, and in another round the second of the inserts of a batch."""
    with FaultProxy(server.port) as proxy:
        node = make_forebay(merge(FAST, merge(
            sink_of(server.dsn(database, proxy.port), insert_timeout="700ms", insert_max_rows=40),
            {"batch": {"max_age": "5m"}})))
        expected = 0
        for fault, where in itertools.product(FAULTS, (0, 1)):
            proxy.faults = [None] * where + [fault]
            used = len(proxy.seen)
            now = 1_793_491_200_000
            series = [Series({"__name__": "struck", "n": str(number)},
                             [Sample(float(expected + number), now - 86_400_000 * (number % 3))])
                      for number in range(100)]
            assert node.writer().send_v1(series).status in (200, 204)
            expected += len(series)
            wait_for(f"{fault} at {where}", lambda: node.admin().post("/-/flush?timeout=5s").status == 200, 40)
            assert len(proxy.seen) == used + 1, f"{fault} was not used"
            count = server.rows(f"SELECT count() AS n, uniqExact(Value) AS u FROM {database}.Struck")[0]
            assert count == {"n": expected, "u": expected}, f"{fault} at insert {where}: {count}, not {expected}"
        assert node.metric("forebay_upload_dead_letter_batches_total") == 0
        check(node)
        secret_free(node)


def test_a_server_that_asks_to_be_left_alone_is(make_forebay, server, database):
    with FaultProxy(server.port) as proxy:
        node = make_forebay(merge(FAST, sink_of(server.dsn(database, proxy.port))))
        proxy.faults = [(429, {"Retry-After": "2"}, b"later")]
        node.writer().send_v1([Series({"__name__": "patient"}, [Sample(1.0, 1)])])
        wait_for("the refusal", lambda: proxy.inserts == 1)
        refused = time.monotonic()
        wait_for("the row", lambda: "Patient" in server.tables(database)
                 and server.number(f"SELECT count() FROM {database}.Patient") == 1)
        assert time.monotonic() - refused > 1.8
        assert proxy.inserts == 2


def test_rows_that_the_server_names_as_bad_stand_alone_in_the_dead_letters(make_forebay, server, database):
    bad = (400, {}, b"Code: 469. DB::Exception: Constraint `c` is violated")
    with FaultProxy(server.port) as proxy:
        node = make_forebay(merge(FAST, merge(sink_of(server.dsn(database, proxy.port)), {"batch": {"max_age": "5m"}})))
        # 4 rows: refused; the first two: refused; the first: refused. The others pass.
        proxy.faults = [bad, bad, bad]
        node.writer().send_v1([Series({"__name__": "mixed", "n": str(n)}, [Sample(float(n), 1000)]) for n in range(4)])
        node.admin().post("/-/flush?timeout=10s")
        wait_for("three rows", lambda: server.tables(database) == ["Mixed"]
                 and server.number(f"SELECT count() FROM {database}.Mixed") == 3)
        kept = wait_for("the bad row", lambda: list(node.data.glob("dlq/*/rejected.clickhouse.csv")))
        lines = kept[0].read_text().splitlines()
        assert len(lines) == 2 and lines[0] == "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real"
        assert "Constraint `c` is violated" in (kept[0].parent / "rejected.clickhouse.json").read_text()
        values = {row["Value"] for row in server.rows(f"SELECT Value FROM {database}.Mixed")}
        assert values | {float(lines[1].rsplit(",", 1)[1])} == {0.0, 1.0, 2.0, 3.0}
        assert node.metric("forebay_upload_rejected_rows_total") == 1
        check(node)

        # Replayed, the row goes to the sink that did not want it, and to no other.
        assert node.run("dlq", "replay", "--all", "--dir", node.data).returncode == 0
        drain(node)
        assert server.number(f"SELECT uniqExact(Value) FROM {database}.Mixed") == 4
        assert server.number(f"SELECT count() FROM {database}.Mixed") == 4
        assert list(node.data.glob("dlq/*")) == []
        check(node)


def test_above_their_limit_dead_letters_wait_and_other_tables_go_on(make_forebay, server, database):
    server.query(f"CREATE DATABASE {database}")
    for table in ("OddA", "OddB"):
        server.query(f"CREATE TABLE {database}.{table} (Timestamp Int64, SeriesId UInt64, Labels String, Value String) "
                     f"ENGINE = MergeTree() ORDER BY SeriesId")
    node = make_forebay(merge(FAST, merge(sink_of(server.dsn(database)), {"storage": {"dead_letters_max": 1}})))
    # One after the other: two that are refused at once may both find room.
    for name in ("odd_a", "odd_b"):
        node.writer().send_v1([Series({"__name__": name}, [Sample(1.0, 1)])])
        node.admin().post("/-/flush?timeout=5s")
        wait_for("the dead letter", lambda: node.metric("forebay_upload_dead_letter_batches_total") == 1)
    wait_for("one that waits", lambda: node.metric("forebay_dead_letters_full") == 1)
    assert node.metric("forebay_upload_dead_letter_batches_total") == 1
    letters = node.status()["dead_letters"]
    assert (letters["full"], letters["waiting_batches"], letters["batches"], letters["max_bytes"]) == (True, 1, 1, 1)
    assert any("storage.dead_letters_max" in batch["last_error"] for batch in node.status()["batches"])
    check(node)
    node.writer().send_v1([Series({"__name__": "even"}, [Sample(2.0, 1)])])
    node.admin().post("/-/flush?timeout=5s")
    assert server.number(f"SELECT count() FROM {database}.Even") == 1
    # Its bytes count as used.
    assert node.status()["limits"]["disk"]["by_class"]["dead_letters"]["bytes"] >= letters["bytes"]


def drain(node, timeout=60):
    wait_for("everything to be uploaded", lambda: node.admin().post("/-/flush?timeout=5s").status == 200
             and not node.metric("forebay_conservation_rows", state="pending"), timeout)


def test_a_server_that_is_killed_in_mid_insert_leaves_each_row_once(make_forebay, tmp_path, database):
    with ClickHouse(tmp_path / "server").start() as own:
        node = make_forebay(merge(FAST, sink_of(own.dsn(database), insert_max_rows=200)))
        account = Account()
        account.oracle = ServerOracle(own, database)
        with Senders(node, account, count=2, seed=5, tables=3, profile=PROMETHEUS, pause=0.02):
            for _ in range(3):
                account.wait_acknowledged(400, 20)
                own.kill9()
                account.wait_acknowledged(100, 20)
                own.start()
        drain(node)
        print(account.verify(node))
        check(node)


def test_a_node_that_is_killed_while_it_uploads_leaves_each_row_once(make_forebay, server, database):
    node = make_forebay(merge(FAST, sink_of(server.dsn(database), insert_max_rows=20)))
    account = Account()
    account.oracle = ServerOracle(server, database)
    with Senders(node, account, count=2, seed=6, tables=3, profile=PROMETHEUS, pause=0.01):
        for round_ in range(8):
            account.wait_acknowledged(150, 20)
            time.sleep(0.05 * (round_ % 4))
            node.kill9()
            node.start()
    drain(node)
    print(account.verify(node))


def test_two_servers_each_get_every_batch_though_one_is_away(make_forebay, server, database, tmp_path):
    with ClickHouse(tmp_path / "second").start() as second:
        config = merge(FAST, {"databases": [{"name": "Metrics", "sinks": [
            {"name": "one", "clickhouse": {"dsn": server.dsn(database)}},
            {"name": "two", "clickhouse": {"dsn": second.dsn(database), "compression": "zstd"}}]}]})
        node = make_forebay(config)
        second.stop()
        node.writer().send_v1([Series({"__name__": "both"}, [Sample(1.0, 1)])])
        wait_for("the first", lambda: server.tables(database) == ["Both"])
        second.start()
        wait_for("the second", lambda: second.tables(database) == ["Both"]
                 and second.number(f"SELECT count() FROM {database}.Both") == 1)
        assert server.number(f"SELECT count() FROM {database}.Both") == 1


def test_one_table_for_all_metrics(make_forebay, server, database):
    node = make_forebay(merge(FAST, sink_of(server.dsn(database), samples_table="metrics_samples")))
    node.writer().send_v1([Series({"__name__": "cpu_a"}, [Sample(1.0, 1)]), Series({"__name__": "cpu_b"}, [Sample(2.0, 1)])])
    node.flush()
    assert server.tables(database) == ["metrics_samples"]
    assert server.rows(f"SELECT Metric, Value FROM {database}.metrics_samples ORDER BY Metric") == [
        {"Metric": "CpuA", "Value": 1}, {"Metric": "CpuB", "Value": 2}]


def test_logs_of_collectors_go_to_one_table_beside_that_of_metrics(make_forebay, server, database):
    node = make_forebay(merge(FAST, sink_of(server.dsn(database), samples_table="samples", logs_table="otel_logs")))
    rows = [log_row(number, f"line {number},\n\"quoted\"") for number in range(5)]
    assert post_segment(node, "Metrics_App_2f24a73200006003.wal", log_segment(rows[:2], rows[2:])) == 202
    assert post_segment(node, "Metrics_Web_2f24a73200006004.wal", log_segment(rows[:1])) == 202
    node.writer().send_v1([Series({"__name__": "up"}, [Sample(1.0, 1)])])
    node.flush()
    assert server.tables(database) == ["otel_logs", "samples"]
    found = server.rows(f"SELECT * FROM {database}.otel_logs WHERE LogTable = 'App' ORDER BY Timestamp")
    assert [row["Body"] for row in found] == [f"line {n},\n\"quoted\"" for n in range(5)]
    theirs = {"Resource": "ResourceAttributes", "Attributes": "LogAttributes"}
    assert set(found[0]) == {"LogTable", "forebay_batch", "forebay_row", *(theirs.get(name, name) for name in LOG_FIELDS)}
    assert (found[3]["SeverityText"], found[3]["SeverityNumber"], found[3]["TraceId"]) == ("WARN", 13, f"{3:032x}")
    assert json.loads(found[3]["LogAttributes"]) == {"n": 3, "text": "a,b"}
    assert found[3]["Timestamp"] == 1_793_491_203_500
    assert server.number(f"SELECT count() FROM {database}.otel_logs WHERE LogTable = 'Web'") == 1
    assert server.rows(f"SELECT Metric FROM {database}.samples") == [{"Metric": "Up"}]
    check(node)


def test_records_and_spans_of_otlp_in_tables_as_users_of_the_exporter_know_them(make_forebay, server, database):
    dsn = server.dsn(database)
    config = merge(FAST, {"otlp": {"logs": {"columns": "full"}, "traces": {"lift_attributes": [{"name": "http.route"}]}}})
    node = make_forebay(merge(config, sink_of(dsn, samples_table="metrics_samples", logs_table="otel_logs", traces_table="otel_traces")))

    def attributes(**values):
        return [{"key": key.replace("_", "."), "value": {"stringValue": value}} for key, value in values.items()]

    record = {"timeUnixNano": "1793491200123456789", "severityNumber": 9, "severityText": "INFO", "flags": 1,
              "body": {"stringValue": "a \"quoted\"\nline"}, "attributes": attributes(user="ü")}
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "GET /", "kind": 2,
            "startTimeUnixNano": "1793491200123456789", "endTimeUnixNano": "1793491200123456889",
            "attributes": attributes(http_route="/", tab="a,\tb"), "status": {"code": 2, "message": "bad"}}
    resource = {"attributes": attributes(service_name="shop")}
    with HttpClient(node.ingest_url) as client:
        for path, message in (("/v1/logs", {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}),
                              ("/v1/traces", {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})):
            assert client.post(path, json.dumps(message).encode(), {"Content-Type": "application/json"}).status == 200
    node.flush()
    assert server.tables(database) == ["otel_logs", "otel_traces"]
    log, = server.rows(f"SELECT * FROM {database}.otel_logs")
    assert (log["LogTable"], log["Timestamp"], log["ObservedTimestamp"], log["SeverityText"], log["TraceFlags"]) == (
        "OtelLogs", 1_793_491_200_123, 0, "INFO", 1)
    assert json.loads(log["Body"]) == "a \"quoted\"\nline"
    assert json.loads(log["LogAttributes"]) == {"user": "ü"}
    assert json.loads(log["ResourceAttributes"]) == {"service.name": "shop"}
    found, = server.rows(f"SELECT * FROM {database}.otel_traces")
    assert (found["TraceTable"], found["SpanName"], found["SpanKind"], found["ServiceName"], found["Duration"], found["StatusCode"]) == (
        "OtelTraces", "GET /", "Server", "shop", 100, "Error")
    assert json.loads(found["SpanAttributes"]) == {"tab": "a,\tb"}
    assert found["HttpRoute"] == "/"
    assert {"Name", "Kind", "Attributes", "Resource"}.isdisjoint(found)
    check(node)


def test_tls_with_a_certificate_of_the_client(make_forebay, server, database, tmp_path):
    authority = Authority(tmp_path / "authority")
    with TlsFront(tmp_path / "front", server.port, authority) as front:
        dsn = server.dsn(database, front.port).replace("http:", "https:")

        def config(parameters="", **options):
            return merge(FAST, sink_of(dsn + parameters, **{name: str(value) for name, value in options.items()}))

        certificate, key = authority.issue("client")
        mutual = {"cert_file": certificate, "key_file": key}
        node = make_forebay(config(**mutual))  # an authority that the system does not know
        node.writer().send_v1([Series({"__name__": "secure"}, [Sample(1.0, 1)])])
        refusals = (config(**mutual), config(ca_file=authority.file), config(ca_file=Authority(tmp_path / "other").file, **mutual))
        for number, refused in enumerate(refusals):
            node.config = merge(node.config, refused)
            node.restart()
            wait_for(f"a failed try, {number}", lambda: node.metric("forebay_upload_retries_total") > 0)
            assert server.tables(database) == []
        node.config = merge(node.config, config(ca_file=authority.file, **mutual))
        node.restart()
        wait_for("the row", lambda: server.tables(database) == ["Secure"]
                 and server.number(f"SELECT count() FROM {database}.Secure") == 1)
        node.config = merge(node.config, config("?skip_verify=1", ca_file="", **mutual))
        node.restart()
        node.writer().send_v1([Series({"__name__": "secure"}, [Sample(2.0, 2)])])
        wait_for("the second", lambda: server.number(f"SELECT count() FROM {database}.Secure") == 2)
        secret_free(node)


def test_a_dsn_of_adx_mon_is_taken_for_the_http_port_and_said(make_forebay, server, database):
    node = make_forebay(merge(FAST, sink_of("clickhouse://127.0.0.1:9000/" + database)), start=False)
    node.start()
    assert "native protocol" in node.log and "http://127.0.0.1:8123" in node.log
