"""The Helm chart, by the real helm: it lints, renders what is in tests/data/helm, and Kubernetes would take it."""

import copy
import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from chart import (CASES, ROOT, SELECTOR, VERSIONS, custom_errors, generate, kubernetes_errors, matches, quantity, render)
from forebay_harness import binary
from kubernetes_api import FakeKubernetes

WANTED = {"default", "adx", "clickhouse", "three-nodes-mtls", "kubernetes-discovery", "single-node-file", "everything", "hpa"}
# Sinks that this binary may not have yet: the rest of the file is checked by a binary that knows them.
SINKS = {"adx": "adx", "clickhouse": "clickhouse"}


def helm(*arguments):
    return subprocess.run([generate.helm(), *map(str, arguments)], capture_output=True, text=True)


def values_file(case):
    return generate.CHART / "ci" / f"{case}-values.yaml"


def test_the_cases_are_there():
    assert set(CASES) == WANTED


def test_everything_that_is_made_is_current():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "deploy" / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_no_golden_without_a_case():
    assert {path.stem for path in generate.GOLDENS.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_chart_lints(case):
    done = helm("lint", "--strict", generate.CHART, "--values", values_file(case))
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_would_take_the_objects(case, version):
    for one in render(case, version).objects:
        errors = kubernetes_errors(version, one)
        if errors is None:
            errors = custom_errors(one)
        assert errors is not None, f"no schema for {one['apiVersion']} {one['kind']}"
        assert errors == []


def test_otlp_over_grpc_has_a_port_where_it_is_wanted_only():
    def places(rendered):
        """Where the port is: the Services' numbers, the container's, and whether the policy lets senders in."""
        policy = rendered.find("NetworkPolicy")["spec"]["ingress"]
        return ({one["metadata"]["name"]: port["port"] for one in rendered.all("Service") for port in one["spec"]["ports"]
                 if port.get("targetPort") == "otlp-grpc"},
                [port["containerPort"] for port in rendered.container["ports"] if port["name"] == "otlp-grpc"],
                [rule.get("from") for rule in policy if {"port": "otlp-grpc", "protocol": "TCP"} in rule["ports"]],
                rendered.config["listen"].get("otlp_grpc"))

    assert places(render("default")) == ({}, [], [], None)
    wanted = render("default", generate.KUBERNETES, "--set", "otlp.grpc.enabled=true,otlp.grpc.port=80")
    assert places(wanted) == ({"forebay": 80, "forebay-headless": 4317}, [4317], [None], "0.0.0.0:4317")
    [_, _, senders, _] = places(render("everything"))
    assert senders == [[{"ipBlock": {"cidr": "10.0.0.0/8"}}]]


def test_the_schemas_would_notice_a_mistake():
    stateful = render("default").set
    for version in VERSIONS:
        wrong = copy.deepcopy(stateful)
        wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
        assert "livenesProbe" in " ".join(kubernetes_errors(version, wrong))
        wrong = copy.deepcopy(stateful)
        wrong["spec"]["replicas"] = "3"
        assert kubernetes_errors(version, wrong)
    monitor = copy.deepcopy(render("three-nodes-mtls").find("ServiceMonitor"))
    monitor["spec"]["endpoints"][0]["intervall"] = "30s"
    assert "intervall" in " ".join(custom_errors(monitor))


def walk(values, schema, path=""):
    """Keys of the values that the schema does not have, and of the schema that the values do not have."""
    assert schema.get("additionalProperties") is False, f"{path or 'the top'} takes any key"
    properties = set(schema["properties"]) - ({"global"} if not path else set())
    assert set(values) == properties, f"{path}: values.yaml and values.schema.json differ in {set(values) ^ properties}"
    for key, value in values.items():
        inner = schema["properties"][key]
        if "properties" in inner and key != "issuerRef":
            walk(value, inner, f"{path}.{key}".lstrip("."))


def test_values_and_their_schema_have_the_same_keys():
    walk(yaml.safe_load((generate.CHART / "values.yaml").read_text()),
         json.loads((generate.CHART / "values.schema.json").read_text()))


def test_every_value_is_explained():
    """By a comment of its own, or of the map that it is in."""
    table = generate.values_table()
    explained = set(re.findall(r"^\| `([\w.]+)` ", table, flags=re.MULTILINE))

    def leaves(node, path):
        if path in explained:
            return
        assert isinstance(node, dict) and node, f"values.yaml: {path} has no comment that begins with # --"
        for key, value in node.items():
            leaves(value, f"{path}.{key}".lstrip("."))

    leaves(yaml.safe_load((generate.CHART / "values.yaml").read_text()), "")


@pytest.mark.parametrize("setting, words", [
    ("replicas=3", "Additional property replicas is not allowed"),
    ("image.tga=1", "Additional property tga is not allowed"),
    ("persistence.size=20GB", "persistence.size"),
    ("cluster.discovery=consul", "cluster.discovery"),
    ("replicaCount=three", "replicaCount"),
    ("secretMounts[0].name=a", "mountPath is required"),
    ("databases[0].name=Metrics", "sinks is required"),
    ("cluster.tls.source=existingSecret", "set cluster.tls.existingSecret"),
    ("persistence.retentionPolicy.whenScaled=Delete", "acceptLossOfWhatADrainLeft"),
    ("persistence.existingClaim=mine", "for a single pod"),
    ("tls.ingestClientCertificates=true", "needs tls.ingestSecret"),
])
def test_a_wrong_value_is_refused_with_its_name(setting, words):
    done = helm("template", "forebay", generate.CHART, "--set", setting)
    assert done.returncode != 0 and words in done.stderr, done.stderr


def config_check(rendered, tmp_path):
    path = tmp_path / "forebay.yaml"
    path.write_text(rendered.config_text)
    return subprocess.run([binary(), "config", "check", path], capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", **rendered.environment})


@pytest.mark.parametrize("case", CASES)
def test_the_binary_accepts_the_configuration(case, tmp_path):
    done = config_check(render(case), tmp_path)
    unknown = re.findall(r"sinks\.\d+\.(\w+): unknown key", done.stdout + done.stderr)
    if unknown and set(unknown) <= set(SINKS):
        pytest.skip(f"this binary has no sink of the kind {', '.join(sorted(set(unknown)))}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_binary_refuses_a_wrong_configuration_of_the_chart(tmp_path):
    done = config_check(render("default", generate.KUBERNETES, "--set", "config.batch.min_byte=1"), tmp_path)
    assert done.returncode == 1 and "min_bytes" in done.stdout + done.stderr


def test_large_numbers_stay_whole():
    config = render("everything").config
    assert config["limits"]["series_max"] == 4000000 and config["tenants"]["limits"]["samples_per_second"] == 1500000
    assert "4e+06" not in render("everything").config_text


@pytest.mark.parametrize("case", CASES)
def test_the_objects_fit_each_other(case):
    """Selectors, port names and the name that peers are looked up by."""
    rendered = render(case)
    labels = rendered.pod["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    own = rendered.set["spec"]["selector"]["matchLabels"]
    assert set(own) == set(SELECTOR) and matches(own, labels)
    services = {one["metadata"]["name"]: one for one in rendered.all("Service")}
    for service in services.values():
        assert matches(service["spec"]["selector"], labels)
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    headless = services[rendered.set["spec"]["serviceName"]]
    assert headless["spec"]["clusterIP"] == "None" and headless["spec"]["publishNotReadyAddresses"] is True

    cluster = rendered.config.get("cluster", {})
    if cluster.get("discovery") == "dns":
        service = cluster["dns"]["service"].split(".")
        assert service[:4] == ["_transfer", "_tcp", headless["metadata"]["name"], headless["metadata"]["namespace"]]
        assert "transfer" in {port["name"] for port in headless["spec"]["ports"]}
    if cluster.get("discovery") == "kubernetes":
        selector = dict(one.split("=") for one in cluster["kubernetes"]["label_selector"].split(","))
        assert matches(selector, labels)

    for policy in rendered.all("NetworkPolicy"):
        assert matches(policy["spec"]["podSelector"]["matchLabels"], labels)
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert allowed == set(ports)
    for monitor in rendered.all("ServiceMonitor"):
        chosen = [one for one in services.values()
                  if matches(monitor["spec"]["selector"]["matchLabels"], one["metadata"]["labels"])]
        assert chosen == [headless], "each pod is scraped once"
        assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in headless["spec"]["ports"]}
    for monitor in rendered.all("PodMonitor"):
        assert matches(monitor["spec"]["selector"]["matchLabels"], labels)
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
    for scaler in rendered.all("HorizontalPodAutoscaler") + rendered.all("ScaledObject"):
        assert scaler["spec"]["scaleTargetRef"]["name"] == rendered.set["metadata"]["name"]
        assert "replicas" not in rendered.set["spec"]
    for budget in rendered.all("PodDisruptionBudget"):
        assert matches(budget["spec"]["selector"]["matchLabels"], labels)


@pytest.mark.parametrize("case", CASES)
def test_files_that_the_configuration_names_are_mounted(case):
    rendered = render(case)
    mounts = {mount["mountPath"]: mount["name"] for mount in rendered.container["volumeMounts"]}
    volumes = {volume["name"] for volume in rendered.pod["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in rendered.set["spec"].get("volumeClaimTemplates", [])}
    assert set(mounts.values()) <= volumes
    named = re.findall(r"_file: (\S+)", rendered.config_text) + [rendered.config["storage"]["dir"]]
    named += [sink["file"]["root"] for database in rendered.config["databases"] for sink in database["sinks"]
              if "file" in sink and not sink["file"]["root"].startswith("$")]
    for path in named:
        assert any(path.startswith(mount + "/") or path == mount for mount in mounts), f"{path} is on no volume"


def test_only_discovery_by_kubernetes_has_permissions():
    for case in CASES:
        rendered = render(case)
        discovers = rendered.config.get("cluster", {}).get("discovery") == "kubernetes"
        assert bool(rendered.all("Role")) == bool(rendered.all("RoleBinding")) == discovers
        assert rendered.pod["spec"]["automountServiceAccountToken"] is discovers
    role = render("kubernetes-discovery").find("Role")
    with_verbs = set(role["rules"][0]["verbs"])
    api = FakeKubernetes()
    assert api.verbs <= with_verbs <= api.verbs | {"get"}, "what the discovery does, and no more"


def test_pods_are_restricted():
    """As the Pod Security Standard `restricted` asks, with a root file system that cannot be written."""
    for case in CASES:
        pod, container = render(case).pod["spec"], render(case).container
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                "capabilities": {"drop": ["ALL"]}}


def test_peers_use_mtls_unless_it_is_switched_off():
    for case in CASES:
        rendered = render(case)
        cluster = rendered.config.get("cluster", {})
        assert ("transfer_tls" in cluster) == (bool(cluster) and case != "hpa")
        assert cluster.get("transfer_tls", {}).get("require_client_certificate", True)
    assert render("default").all("Secret") and not render("three-nodes-mtls").all("Secret")
    made = render("three-nodes-mtls").find("Certificate", "forebay-transfer")
    assert made["spec"]["dnsNames"] == [render("three-nodes-mtls").config["cluster"]["transfer_tls"]["server_name"]]
    # cert-manager is taken where it is.
    there = render("default", generate.KUBERNETES, "--api-versions", "cert-manager.io/v1")
    assert there.all("Certificate") and not there.all("Secret")


def test_a_change_of_the_configuration_replaces_the_pods():
    def checksum(*options):
        return render("default", generate.KUBERNETES, *options).pod["metadata"]["annotations"]["checksum/config"]

    assert checksum() != checksum("--set", "config.batch.max_age=6m")
    assert checksum() == checksum("--set", "service.port=80")


def test_the_time_to_leave_holds_a_drain():
    for case in CASES:
        rendered = render(case)
        drain = rendered.config.get("drain", {}).get("timeout", "4m")
        assert drain == "4m" and rendered.pod["spec"]["terminationGracePeriodSeconds"] >= 240 + 30


def test_prometheus_rule_holds_the_alerts_of_the_rules_file():
    source = yaml.safe_load((ROOT / "deploy" / "prometheus" / "forebay.rules.yaml").read_text())
    assert render("three-nodes-mtls").find("PrometheusRule")["spec"]["groups"] == source["groups"]
    changed = {rule["alert"]: rule for group in render("everything").find("PrometheusRule")["spec"]["groups"]
               for rule in group["rules"] if "alert" in rule}
    assert "ForebayCostUp" not in changed and len(changed) == sum("alert" in r for g in source["groups"] for r in g["rules"]) - 1
    assert all(rule["labels"]["team"] == "observability" for rule in changed.values())
    assert changed["ForebayDataOld"]["labels"]["severity"] == "critical"
    assert changed["ForebayDataOld"]["annotations"]["runbook_url"] == "https://git.example.com/forebay/docs/runbooks.md#forebaydataold"


def test_the_disk_limit_is_a_part_of_the_volume():
    for case in CASES:
        values = yaml.safe_load((generate.CHART / "values.yaml").read_text())
        own = yaml.safe_load(values_file(case).read_text()) or {}
        percent = own.get("storage", values["storage"])["maxDiskPercent"]
        size = quantity(own.get("persistence", {}).get("size", values["persistence"]["size"]))
        limit = quantity(render(case).config["storage"]["max_disk"])
        assert 0.99 * size * percent / 100 < limit <= size * percent / 100


def effective(rendered, tmp_path):
    path = tmp_path / "forebay.yaml"
    path.write_text(rendered.config_text)
    done = subprocess.run([binary(), "config", "print", "--config", path, "--json"], capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", **rendered.environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", ["default", "three-nodes-mtls", "kubernetes-discovery", "everything"])
def test_the_memory_limit_holds_what_the_configuration_allows(case, tmp_path):
    """The sum of docs/operations.md, "Memory"."""
    config = effective(render(case), tmp_path)

    def size(section, key):
        return quantity(config[section][key])

    mib = 2**20
    body, decoded, flight = size("http", "max_body"), size("http", "max_decoded_body"), size("limits", "in_flight_bodies")
    total = (64 * mib + size("limits", "series_bytes") + int(config["limits"]["tables_max"]) * 1024
             + 1.25 * size("generation", "max_memory") + 2 * (flight + body) + 2 * (flight + 3 * decoded + 64 * mib)
             + int(config["http"]["io_threads"]) * (48 * mib + 8 * decoded)
             + int(config["http"]["max_connections"]) * 80 * 1024
             + int(config["upload"]["workers"]) * (int(config["batch"]["max_segments"]) + 2) * mib
             + int(config["idempotency"]["max_entries"]) * 150)
    limit = quantity(render(case).container["resources"]["limits"]["memory"])
    assert total < limit, f"{total / 2**30:.2f} GiB"


def notes(tmp_path, *options):
    """What helm says after an installation: `helm template` does not print it, so here it is an object of a copy of the chart."""
    chart = tmp_path / "chart"
    shutil.copytree(generate.CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "notes.txt")
    (chart / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: |\n"
        '{{ tpl (.Files.Get "notes.txt") . | indent 4 }}\n')
    done = helm("template", "forebay", chart, "--namespace", "monitoring", "--kube-version", generate.KUBERNETES,
                "--show-only", "templates/notes.yaml", *options)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["data"]["notes"]


def test_notes_tell_how_to_send_and_what_is_not_for_production(tmp_path):
    said = notes(tmp_path / "default")
    assert "url: http://forebay.monitoring.svc:9090/api/v1/write" in said
    assert "nothing removes them" in said and "made by Helm" in said and "WARNING" not in said
    said = notes(tmp_path / "hpa", "--values", values_file("hpa"))
    assert said.count("WARNING") == 2 and "emptyDir" not in said
    said = notes(tmp_path / "adx", "--values", values_file("adx"), "--api-versions", "cert-manager.io/v1")
    assert "NOTE" not in said and "WARNING" not in said
