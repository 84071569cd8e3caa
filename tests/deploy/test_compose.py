"""deploy/compose as far as it can be tried without Docker: its schema, what it mounts by the programs that read it, and
the three nodes and nginx of it as processes of this machine."""

import json
import os
import re
import subprocess

import jsonschema
import pytest
import yaml
from forebay_harness import Forebay, Sample, Series, binary
from nginx import Nginx
from processes import ROOT, TOOLS, free_port, program, wait_for
from remote_write import RemoteWriter

FOLDER = ROOT / "deploy" / "compose"
NODES = ["forebay-0", "forebay-1", "forebay-2"]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((FOLDER / "docker-compose.yaml").read_text())


def test_it_is_valid_by_the_schema_of_compose(compose):
    schema = TOOLS[0].parent / "lib/python3/dist-packages/compose/config/compose_spec.json"
    document = dict(compose)
    # Of the specification since that schema was written.
    assert document.pop("name") == "forebay"
    jsonschema.validate(document, json.loads(schema.read_text()), cls=jsonschema.Draft7Validator)


def test_what_it_mounts_and_names_is_there(compose):
    volumes = set()
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (FOLDER / source).is_file(), f"{name}: {mount}"
            elif not source.startswith("/"):
                volumes.add(source)
        assert set(service.get("depends_on", [])) <= compose["services"].keys(), name
        if "build" in service:
            assert (FOLDER / service["build"] / "Dockerfile").is_file()
    assert volumes == compose["volumes"].keys()
    assert all(compose["services"][name]["hostname"] == name for name in NODES)


def test_names_and_ports_of_the_files_are_those_of_the_services(compose):
    text = "".join((FOLDER / name).read_text() for name in ("forebay.yaml", "nginx.conf", "prometheus.yml"))
    hosts = set(re.findall(r"(?:[@ /\"])([a-z][a-z0-9-]*):\d+", text)) - {"localhost"}
    assert hosts and hosts <= compose["services"].keys()
    listen = yaml.safe_load((FOLDER / "forebay.yaml").read_text())["listen"]
    ports = {name: address.split(":")[1] for name, address in listen.items()}
    assert set(re.findall(r"server forebay-\d:(\d+)", text)) == {ports["ingest"]}
    assert set(re.findall(r"\"forebay-\d:(\d+)\"\]", text)) == {ports["admin"]}
    assert set(re.findall(r"address: \"forebay-\d:(\d+)", text)) == {ports["transfer"]}
    for name in NODES:
        assert compose["services"][name]["ports"][0].split(":")[-1] == ports["admin"]


def test_the_programs_accept_their_files(compose, tmp_path):
    check = subprocess.run([binary(), "config", "check", FOLDER / "forebay.yaml"], capture_output=True, text=True,
                           env={"PATH": os.environ["PATH"], **compose["services"]["forebay-0"]["environment"]})
    assert check.returncode == 0, check.stderr
    check = subprocess.run([program("promtool"), "check", "config", FOLDER / "prometheus.yml", "--agent"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    flags = compose["services"]["collector"]["command"]
    known = subprocess.run([program("prometheus"), "--help-long"], capture_output=True, text=True)
    help_text = known.stdout + known.stderr
    assert all(re.match("--[a-z.-]+", flag)[0] in help_text for flag in flags)
    assert nginx_test((FOLDER / "nginx.conf").read_text(), tmp_path) == ""
    # That nginx looks at all.
    assert "unknown directive" in nginx_test((FOLDER / "nginx.conf").read_text().replace("keepalive", "keepalve"), tmp_path)


def nginx_test(text, folder):
    """What nginx -t finds wrong; names stand for this machine."""
    # Those that the package is built with are not there where it is only unpacked.
    folders = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = re.sub(r"forebay-\d:", "127.0.0.1:", text).replace("http {", "http { " + folders, 1)
    (folder / "nginx.conf").write_text(f"pid {folder}/pid;\n{text}")
    done = subprocess.run([program("nginx"), "-t", "-q", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"], capture_output=True,
                          text=True)
    return done.stderr.strip()


def test_three_nodes_of_it_are_one_cluster_behind_nginx(compose, tmp_path):
    config = yaml.safe_load((FOLDER / "forebay.yaml").read_text())
    transfer = {name: f"127.0.0.1:{free_port()}" for name in NODES}
    for member in config["cluster"]["members"]:
        member["address"] = transfer[member["name"]]
    nodes = []
    try:
        for name in NODES:
            mine = {key: value for key, value in config.items() if key not in ("storage", "listen", "databases")}
            mine["cluster"] = {**config["cluster"], "member": name}  # in a container its host's name
            nodes.append(Forebay(tmp_path / name, {**mine, "listen": {"transfer": transfer[name]}}).start())
        for node in nodes:
            wait_for("the members", lambda node=node: [one["ready"] for one in node.status()["cluster"]["members"]] == [True] * 3)
        with Nginx(tmp_path / "nginx", nodes).start() as balancer:
            for number in range(6):
                one = Series({"__name__": "up"}, [Sample(number, 1_700_000_000_000 + number)])
                assert RemoteWriter(balancer.ingest_url).send_v1([one]).status == 204
        received = [node.metric("forebay_receive_samples_total") for node in nodes]
        assert sum(received) == 6 and all(received)
    finally:
        for node in nodes:
            node.stop()

