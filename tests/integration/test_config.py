"""`forebay config`, the environment and the flags of `serve`, against the real binary."""

import json
import subprocess

import pytest
from forebay_harness import Forebay, binary

ISSUE_FILE = """\
storage: {dir: ./data, max_disk: 10GiB}
listen: {ingest: "127.0.0.1:9090", admin: "127.0.0.1:9091"}
durability: sync            # sync | write | none
generation: {max_age: 60s, max_memory: 256MiB}
batch: {min_bytes: 100MB, max_bytes: 1GB, max_age: 5m}
databases:
  - name: Metrics
    sinks:
      - file: {root: ./data/out}
"""


@pytest.fixture
def tool(tmp_path):
    """tool(arguments..., env={}) runs the binary in tmp_path with nothing but env in FOREBAY_*."""
    node = Forebay(tmp_path)

    def run(*arguments, env=None):
        return node.run(*arguments, env={"PATH": "/usr/bin:/bin", **(env or {})})

    return run


def printed(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("text", [ISSUE_FILE, "", "# nothing\n", "durability: none\n"])
def test_a_good_file_is_good(tool, tmp_path, text):
    (tmp_path / "f.yaml").write_text(text)
    result = tool("config", "check", "f.yaml")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("text, place, parts", [
    ("generatoin: {max_age: 60s}\n", "f.yaml:1:1", ["generatoin", "generation"]),
    ("generation:\n  max_agee: 60s\n", "f.yaml:2:3", ["generation.max_agee", "max_age"]),
    ("batch:\n  min_bytes: 10 parsecs\n", "f.yaml:2:14", ["batch.min_bytes", "10 parsecs"]),
    ("generation: {max_age: 60}\n", "f.yaml:1:23", ["generation.max_age"]),
    ("durability: often\n", "f.yaml:1:13", ["durability", "sync"]),
    ("http:\n  io_threads: many\n", "f.yaml:2:15", ["http.io_threads"]),
    ("storage: {dir: a\n", "f.yaml:2:1", ["YAML"]),
    ("databases:\n  - name: Metr-ics\n    sinks: [{file: {root: x}}]\n", "f.yaml:2:11", ["databases.0.name"]),
    ("databases:\n  - name: M\n    sinks:\n      - fiel: {root: x}\n", "f.yaml:4:9", ["fiel", "file"]),
    ("batch: {min_bytes: 2GB, max_bytes: 1GB}\n", "f.yaml:1:", ["batch.m"]),
    ("remote_write:\n  relabel_configs:\n    - {regex: '(', action: drop, source_labels: [a]}\n", "f.yaml:3:",
     ["regex", "missing )"]),
    ("storage:\n  dir: a\n  dir: b\n", "f.yaml:3:3", ["dir"]),
])
def test_a_bad_file_is_told_with_its_place_and_the_nearest_key(tool, tmp_path, text, place, parts):
    (tmp_path / "f.yaml").write_text(text)
    result = tool("config", "check", "f.yaml")
    assert result.returncode == 1
    assert place in result.stderr
    for part in parts:
        assert part in result.stderr


def test_all_mistakes_are_told_at_once(tool, tmp_path):
    (tmp_path / "f.yaml").write_text("durability: x\nbatch: {min_bytes: y}\nnonsense: 1\n")
    lines = tool("config", "check", "f.yaml").stderr.splitlines()
    assert len([line for line in lines if line.startswith("f.yaml:")]) == 3


def test_a_file_that_is_not_there_is_an_error(tool):
    result = tool("config", "check", "none.yaml")
    assert result.returncode == 1 and "none.yaml" in result.stderr


def test_what_is_printed_can_be_loaded_and_says_the_same(tool, tmp_path):
    (tmp_path / "f.yaml").write_text(
        ISSUE_FILE + "remote_write:\n  relabel_configs:\n    - source_labels: [a, \"b: c\"]\n      regex: 'x\\.(\\d+)'\n"
                     "      target_label: d\n      replacement: $$1 - $1\n")
    for flags in ([], ["--comments"]):
        first = tool("config", "print", "--config", "f.yaml", *flags)
        assert first.returncode == 0, first.stderr
        (tmp_path / "printed.yaml").write_text(first.stdout)
        assert tool("config", "check", "printed.yaml").returncode == 0
        assert tool("config", "print", "--config", "printed.yaml", *flags).stdout == first.stdout
    as_json = [printed(tool("config", "print", "--json", "--config", name)) for name in ("f.yaml", "printed.yaml")]
    assert as_json[0] == as_json[1]
    assert as_json[0]["batch"]["max_bytes"] == "1GB" and as_json[0]["generation"]["max_age"] in ("60s", "1m")


def test_flags_go_over_the_environment_over_the_file_over_defaults(tool, tmp_path):
    (tmp_path / "f.yaml").write_text("batch: {max_segments: 2}\nupload: {workers: 2}\ndurability: none\n")
    env = {"FOREBAY_CONFIG": "f.yaml", "FOREBAY_UPLOAD_WORKERS": "3", "FOREBAY_DURABILITY": "write",
           "FOREBAY_DATABASES_0_NAME": "Env", "FOREBAY_DATABASES_0_SINKS_0_FILE_ROOT": "/from/env"}
    found = printed(tool("config", "print", "--json", "--set", "durability=sync", env=env))
    assert (found["batch"]["max_segments"], found["upload"]["workers"], found["durability"]) == (2, 3, "sync")
    assert found["databases"][0]["name"] == "Env"
    assert found["databases"][0]["sinks"][0]["file"]["root"] == "/from/env"
    assert found["generation"]["max_memory"] == "256MiB"


def test_an_unknown_variable_or_assignment_names_the_nearest(tool):
    result = tool("config", "print", env={"FOREBAY_BATCH_MINBYTES": "1"})
    assert result.returncode == 1 and "FOREBAY_BATCH_MIN_BYTES" in result.stderr
    result = tool("config", "print", "--set", "batch.min_byte=1")
    assert result.returncode == 1 and "batch.min_bytes" in result.stderr


def test_variables_in_the_file_are_expanded(tool, tmp_path):
    (tmp_path / "f.yaml").write_text('storage: {dir: "${PLACE}/a", max_disk: "${SIZE:-7GiB}"}\n')
    found = printed(tool("config", "print", "--json", "--config", "f.yaml", env={"PLACE": "/there"}))
    assert (found["storage"]["dir"], found["storage"]["max_disk"]) == ("/there/a", "7GiB")
    result = tool("config", "check", "f.yaml")
    assert result.returncode == 1 and "f.yaml:1:" in result.stderr and "PLACE" in result.stderr


def test_flags_of_adx_mon_are_aliases(tool):
    found = printed(tool("config", "print", "--json", "--storage-dir", "/x", "--max-disk-usage", "1000000000",
                         "-uploads=3", "--enable-wal-fsync=false", "--max-segment-age", "30s"))
    assert found["storage"]["dir"] == "/x" and found["storage"]["max_disk"] == "1GB"
    assert found["upload"]["workers"] == 3 and found["durability"] == "write"
    assert found["generation"]["max_age"] == "30s"
    found = printed(tool("config", "print", "--json", "--metrics-kusto-endpoints", "Metrics=https://x.kusto.windows.net"))
    assert [(d["name"], s["adx"]["endpoint"]) for d in found["databases"] for s in d["sinks"]] == \
        [("Metrics", "https://x.kusto.windows.net")]
    refused = tool("config", "print", "--metrics-kusto-endpoints", "Metrics=x")
    assert refused.returncode == 1 and "metrics-kusto-endpoints" in refused.stderr


def test_serve_takes_flags_of_adx_mon_assignments_and_variables(make_forebay, tmp_path):
    node = make_forebay(start=False, arguments=["--storage-dir", str(tmp_path / "elsewhere"), "--uploads", "5",
                                                "--hostname", "h1", "--set", "batch.max_segments=7"],
                        env={"FOREBAY_LIMITS_SERIES_MAX": "77"})
    node.start()
    config = node.status()["config"]
    assert config["storage"]["dir"] == str(tmp_path / "elsewhere")
    assert (config["upload"]["workers"], config["batch"]["max_segments"], config["limits"]["series_max"]) == (5, 7, 77)
    assert (tmp_path / "elsewhere" / "journal").is_dir()
    assert any(line["level"] == "warn" and "hostname" in line["msg"] for line in node.log_lines())


@pytest.mark.parametrize("arguments, message", [
    (["--nosuch"], "--nosuch"), (["--set", "nosuch=1"], "nosuch"), (["--config", "none.yaml"], "none.yaml"),
    (["--set", "listen.ingest=nonsense"], "listen.ingest"), (["--logs-kusto-endpoints", "a=b"], "logs-kusto")])
def test_serve_with_a_mistake_ends_at_once_with_the_reason(tool, arguments, message):
    result = tool("serve", *arguments)
    assert result.returncode == 1 and message in result.stderr


def test_defaults_alone_serve_with_the_embedded_file_sink(tmp_path):
    # Ports are the only thing given, since others may use the default ones.
    process = subprocess.Popen([binary(), "serve", "--set", "listen.ingest=127.0.0.1:0", "--set",
                                "listen.admin=127.0.0.1:0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                               env={"PATH": "/usr/bin:/bin"})
    try:
        assert "listening" in process.stderr.readline()
        assert (tmp_path / "data" / "journal").is_dir()
    finally:
        process.terminate()
        assert process.wait(30) == 0
