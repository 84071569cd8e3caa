"""The admin port against the real binary: metrics, health, status, flush, reload."""

import json
import signal
import subprocess

import pytest
from forebay_harness import Forebay, HttpClient, Sample, Series, program, wait_for


def send(node, count=3, metric="demo_total", **options):
    series = [Series({"__name__": metric, "n": str(n)}, [Sample(float(n), 1000 + n)]) for n in range(count)]
    response = node.writer().send_v1(series, **options)
    assert response.status == 204, response.text


def blocked_sink(tmp_path):
    """Configuration whose sink cannot work: its root is a file. Permissions would not stop root."""
    root = tmp_path / "blocked"
    root.write_text("in the way")
    return root, {"databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(root)}}]}],
                  "upload": {"retry_initial": "50ms", "retry_max": "200ms"}}


def test_metrics_are_clean_for_promtool(forebay):
    send(forebay)
    forebay.writer().send_v1([Series({"n": "nameless"}, [Sample(1.0, 1)])])
    forebay.flush()
    with forebay.admin() as client:
        response = client.get("/metrics")
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    check = subprocess.run([program("promtool"), "check", "metrics"], input=response.text, text=True,
                           capture_output=True)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")


def test_metrics_have_no_series_per_table(forebay):
    send(forebay, metric="first_metric_total")
    before = set(forebay.metrics())
    for number in range(20):
        send(forebay, metric=f"further_{number}_total")
    assert set(forebay.metrics()) == before


def test_metrics_count_what_was_sent(forebay):
    send(forebay, 3)
    assert forebay.metric("forebay_receive_samples_total", database="Metrics") == 3
    assert forebay.metric("forebay_receive_requests_total", protocol="remote_write_1", code="204") == 1
    forebay.flush()
    assert forebay.metric("forebay_upload_rows_total", database="Metrics", sink="file") == 3
    assert forebay.metric("forebay_build_info") == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
def test_a_running_node_is_healthy(forebay, path):
    with forebay.admin() as client:
        assert client.get(path).status == 200
        assert client.request("HEAD", path).status == 200


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/-/flush", 405), ("GET", "/-/reload", 405), ("POST", "/metrics", 405), ("GET", "/nothing", 404),
    ("POST", "/api/v1/write", 404)])
def test_wrong_methods_and_paths_are_refused(forebay, method, path, status):
    with forebay.admin() as client:
        response = client.request(method, path)
    assert response.status == status
    if status == 405:
        assert response.headers["allow"]


def test_flush_answers_when_the_rows_are_in_files(forebay):
    send(forebay, 5)
    assert forebay.rows() == []
    answer = json.loads(forebay.flush().body)
    assert len(forebay.rows("DemoTotal")) == 5
    assert answer["ok"] is True and answer["batches"]["delivered"] == 1
    assert forebay.status()["segments"]["count"] == 0
    # Nothing is left to do: at once, and no empty files.
    assert json.loads(forebay.flush().body)["batches"]["delivered"] == 0
    assert len(list(forebay.out.rglob("*.csv.gz"))) == 1


def test_flush_says_when_a_sink_does_not_work(make_forebay, tmp_path):
    root, config = blocked_sink(tmp_path)
    node = make_forebay(config)
    send(node)
    with node.admin() as client:
        response = client.post("/-/flush?timeout=5s")
        assert client.post("/-/flush?timeout=soon").status == 400
    assert response.status == 503
    answer = json.loads(response.body)
    assert answer["ok"] is False and answer["sealed"] is True and answer["errors"]
    root.unlink()
    wait_for("rows after the mending", lambda: root.is_dir() and len(list(root.rglob("*.csv.gz"))) == 1)


def test_status_tells_what_an_operator_asks(forebay):
    send(forebay, 4)
    status = forebay.status()
    assert status["ready"] is True and status["not_ready_reason"] == "" and status["version"]
    assert status["series"]["known"] == 4 and status["series"]["max"] == 2_000_000
    assert status["tables"]["seen"] == 1
    assert status["generations"]["open"]["samples"] == 4 and status["generations"]["journal_bytes"] > 0
    assert status["segments"]["count"] == 0 and status["batches"] == []
    assert status["sinks"][0]["name"] == "file" and status["sinks"][0]["last_error"] == ""
    assert status["limits"]["disk"]["max_bytes"] == 10 << 30
    assert status["config"]["storage"]["dir"] == str(forebay.data)


def test_status_tells_of_a_sink_that_fails_and_of_what_waits(make_forebay, tmp_path):
    root, config = blocked_sink(tmp_path)
    node = make_forebay(config)
    send(node, 4)
    with node.admin() as client:
        client.post("/-/flush?timeout=5s")

    def failing():
        status = node.status()
        return status if status["sinks"][0]["last_error"] and status["batches"] else None

    status = wait_for("the error in the status", failing)
    (sink,), (batch,) = status["sinks"], status["batches"]
    assert str(root) in sink["last_error"] and sink["failures"] >= 1 and sink["last_error_time"]
    assert (batch["database"], batch["table"], batch["rows"]) == ("Metrics", "DemoTotal", 4)
    assert batch["reason"] == "flush" and batch["last_error"]
    assert status["segments"]["count"] == 1 and status["segments"]["rows"] == 4
    assert status["ready"] is True


def test_status_lists_the_tables_whose_segments_wait_for_a_batch(make_forebay):
    node = make_forebay({"generation": {"max_age": "20ms"}})
    send(node, 4)
    (table,) = wait_for("a sealed segment", lambda: node.status()["tables"]["pending"])
    assert (table["database"], table["table"], table["schema"]) == ("Metrics", "DemoTotal", "2cawzsrvl4mw4")
    assert (table["segments"], table["rows"]) == (1, 4) and table["row_bytes"] > table["rows"] * 40


def test_secrets_do_not_show_in_the_status(make_forebay, tmp_path):
    users = tmp_path / "users"
    users.write_text("alice:opensesame\n")
    node = make_forebay({"listen": {"auth": {"basic_file": str(users)}},
                         "remote_write": {"tenant_header": "X-Scope-OrgID"}})
    text = json.dumps(node.status()) + node.metrics_text() + node.log
    assert "opensesame" not in text and "alice" not in text


def reload(node):
    with node.admin() as client:
        return client.post("/-/reload")


def write_config(node, **changes):
    path = node.folder / "config.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_reload_applies_what_can_change(forebay):
    assert reload(forebay).text == "nothing changed\n"
    drop = [{"source_labels": ["__name__"], "regex": "dropped_.*", "action": "drop"}]
    send(forebay, 1, "dropped_total")
    write_config(forebay, remote_write={"relabel_configs": drop}, batch={"max_age": "7m"})
    response = reload(forebay)
    assert response.status == 200
    assert response.text == "batch: applied\nremote_write.relabel_configs: applied\n"
    assert forebay.status()["config"]["batch"]["max_age"] == "7m"
    # A series known before obeys the new rule too.
    send(forebay, 2, "dropped_total")
    send(forebay, 3, "kept_total")
    forebay.flush()
    assert len(forebay.rows("DroppedTotal")) == 1 and len(forebay.rows("KeptTotal")) == 3


def test_a_bad_reload_changes_nothing_and_says_where(forebay):
    before = forebay.status()["config"]
    write_config(forebay, batch={"max_age": "7m"}, durability="often")
    response = reload(forebay)
    assert response.status == 400 and "config.yaml:" in response.text and "durability" in response.text
    assert forebay.status()["config"] == before
    assert forebay.metric("forebay_config_last_reload_successful") == 0
    assert forebay.metric("forebay_config_reload_failures_total") == 1
    send(forebay)
    write_config(forebay, durability="sync")
    assert reload(forebay).status == 200
    assert forebay.metric("forebay_config_last_reload_successful") == 1


def test_a_reload_says_what_needs_a_restart(forebay):
    write_config(forebay, batch={"max_age": "7m"}, generation={"max_age": "9s"})
    response = reload(forebay)
    assert response.status == 200
    assert response.text == "batch: applied\ngeneration.max_age: needs a restart\n"
    config = forebay.status()["config"]
    assert config["batch"]["max_age"] == "7m" and config["generation"]["max_age"] == "1m"


def test_sighup_reloads(forebay):
    write_config(forebay, batch={"max_age": "8m"})
    forebay.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: forebay.status()["config"]["batch"]["max_age"] == "8m")
    write_config(forebay, durability="often")
    forebay.process.send_signal(signal.SIGHUP)
    wait_for("the failed reload", lambda: forebay.metric("forebay_config_reload_failures_total") == 1)
    assert any(line["level"] == "error" and "durability" in line.get("error", "") for line in forebay.log_lines())
    assert forebay.status()["config"]["batch"]["max_age"] == "8m"


def test_the_admin_port_can_be_closed_to_strangers_but_not_its_probes(make_forebay, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("ops:sesame\n")
    node = make_forebay({"listen": {"admin_auth": {"bearer_file": str(tokens)}}})
    node.opaque = True
    with HttpClient(node.admin_url) as client:
        assert [client.get(path).status for path in ("/livez", "/readyz", "/startupz")] == [200] * 3
        assert [client.get(path).status for path in ("/metrics", "/api/v1/status", "/nothing")] == [401] * 3
        assert client.post("/-/flush").status == 401
        assert client.request("GET", "/metrics", headers={"Authorization": "Bearer sesame"}).status == 200


def test_two_nodes_do_not_know_each_other(make_forebay):
    first, second = make_forebay(name="one"), make_forebay(name="two")
    send(first)
    assert (first.status()["series"]["known"], second.status()["series"]["known"]) == (3, 0)
    assert isinstance(first, Forebay) and first.ingest_address != second.ingest_address
