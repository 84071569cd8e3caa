"""What the chart renders, run: arguments, configuration, probes and certificates with the real binary instead of a cluster."""

import json
import re
import ssl
import time
import urllib.error
import urllib.request

import pytest
from certificates import self_signed
from chart import generate, render
from forebay_harness import Sample, Series, binary
from processes import Process, free_port, wait_for
from remote_write import RemoteWriter

PORTS = {"ingest": 9090, "admin": 9091, "transfer": 9092}


class Pod(Process):
    """The forebay container of a case in a folder that stands for its root; its ports are free ones of this machine."""

    def __init__(self, case, folder, name="forebay-0", extra=(), certificates=None):
        super().__init__(name, folder / name)
        self.rendered = case if not isinstance(case, str) else render(case)
        self.ports = {port["name"]: free_port() for port in self.rendered.container["ports"]}
        self.numbers = {PORTS[name]: port for name, port in self.ports.items()}
        self.root = self.folder / "root"
        self.extra = list(extra)
        for volume in self.rendered.pod["spec"]["volumes"]:
            self.write_volume(volume, certificates or {})
        (self.root / "var/lib/forebay").mkdir(parents=True, exist_ok=True)

    def write_volume(self, volume, certificates):
        mount = next((one["mountPath"] for one in self.rendered.container["volumeMounts"] if one["name"] == volume["name"]), None)
        if mount is None:
            return
        folder = self.root / mount.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            for key, text in self.rendered.find("ConfigMap", volume["configMap"]["name"])["data"].items():
                (folder / key).write_text(self.inside(text))
        elif "secret" in volume:
            name = volume["secret"]["secretName"]
            files = certificates.get(name) or self.rendered.secret_files(name)
            for key, content in files.items():
                (folder / key).write_bytes(content)

    def inside(self, text):
        """Absolute paths below the folder, addresses on the free ports."""
        text = re.sub(r"(?<![\w./])/(etc|var)/", rf"{self.root}/\1/", text)
        return re.sub(r"0\.0\.0\.0:(\d+)", lambda match: f"127.0.0.1:{self.numbers[int(match[1])]}", text)

    def start(self):
        arguments = [self.inside(word) for word in self.rendered.container["args"]]
        environment = {name: self.inside(value) for name, value in self.rendered.environment.items()}
        self.spawn([binary(), *arguments, *self.extra], environment, unset="FOREBAY_")
        return self

    def probe(self, kind, context=None):
        """Status of one of the container's probes, as the kubelet would send it."""
        self.expect_running()
        get = self.rendered.container[kind]["httpGet"]
        url = f"{get.get('scheme', 'HTTP').lower()}://127.0.0.1:{self.ports[get['port']]}{get['path']}"
        try:
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_probes(self, context=None):
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            wait_for(f"{kind} of {self.name}\n{self.tail(5)}", lambda kind=kind: self.probe(kind, context) == 200, timeout=20)

    def metric_sum(self, name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=5).read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


@pytest.fixture
def start_pod(tmp_path):
    pods = []

    def start(case, **options):
        pods.append(Pod(case, tmp_path, **options).start())
        return pods[-1]

    yield start
    for pod in pods:
        pod.stop()


@pytest.mark.parametrize("case", ["default", "single-node-file", "hpa"])
def test_a_rendered_pod_starts_and_its_probes_are_answered(start_pod, case):
    pod = start_pod(case)
    pod.wait_probes()
    assert pod.terminate(timeout=60) == 0


def test_probes_follow_the_admin_port_to_https_and_senders_need_their_token(start_pod, tmp_path):
    made = self_signed(tmp_path / "made", "forebay")
    secrets = {name: made for name in ("forebay-ingest-tls", "forebay-admin-tls", "forebay-transfer")}
    secrets["forebay-senders"] = {"users": b"prometheus:secret\n", "tokens": b"sender:abc\n"}
    pod = start_pod("three-nodes-mtls", certificates=secrets)
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE  # the kubelet does not verify either
    pod.wait_probes(unverified)
    text = urllib.request.urlopen(f"https://127.0.0.1:{pod.ports['admin']}/metrics", timeout=5, context=unverified).read().decode()
    ends = dict(re.findall(r'^forebay_tls_certificate_expiry_timestamp_seconds{port="(\w+)"} (\S+)$', text, flags=re.MULTILINE))
    assert set(ends) == {"ingest", "admin", "transfer"}
    assert all(abs(float(end) - time.time() - 2 * 86400) < 600 for end in ends.values())
    assert abs(float(re.search(r"^forebay_time_seconds (\S+)$", text, flags=re.MULTILINE)[1]) - time.time()) < 60
    request = urllib.request.Request(f"https://127.0.0.1:{pod.ports['ingest']}/api/v1/write", data=b"", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5, context=unverified)
    assert refused.value.code == 401
    request.add_header("Authorization", "Bearer abc")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5, context=unverified)
    assert refused.value.code == 415, "let in, and told that this is no remote write"


def peers(start_pod, rendered, second=None):
    """Two pods of the case that know each other by a list, since there is no DNS of a cluster here."""
    names = ["forebay-0", "forebay-1"]
    pods = []
    ports = [free_port(), free_port()]
    members = json.dumps([{"name": name, "address": f"127.0.0.1:{port}"} for name, port in zip(names, ports)])
    for name, port, one in zip(names, ports, (rendered, second or rendered)):
        extra = ["--set", "cluster.discovery=static", "--set", f"cluster.members={members}", "--set", f"cluster.member={name}",
                 "--set", f"listen.transfer=127.0.0.1:{port}", "--set", "generation.max_age=200ms", "--set", "batch.max_age=5s"]
        pods.append(start_pod(one, name=name, extra=extra))
    for pod in pods:
        pod.wait_probes()
    return pods


def send(pods):
    now = 1_700_000_000_000
    for pod in pods:
        writer = RemoteWriter(f"http://127.0.0.1:{pod.ports['ingest']}/api/v1/write")
        series = [Series({"__name__": f"metric_{i}"}, [Sample(1.0, now)]) for i in range(20)]
        writer.send_v1(series)


def test_pods_give_each_other_segments_with_the_certificate_that_helm_made(start_pod):
    pods = peers(start_pod, render("default"))
    send(pods)
    wait_for("rows given and taken", lambda: all(pod.metric_sum("forebay_transfer_received_rows_total") > 0 for pod in pods))
    assert all(pod.metric_sum("forebay_transfer_failures_total") == 0 for pod in pods)


def test_a_certificate_of_another_release_opens_nothing(start_pod):
    """Helm makes an authority for each rendering: these two do not trust each other."""
    other = render("default", generate.KUBERNETES, "--set", "minReadySeconds=11")
    assert other.secret_files("forebay-transfer")["ca.crt"] != render("default").secret_files("forebay-transfer")["ca.crt"]
    pods = peers(start_pod, render("default"), other)
    send(pods)
    wait_for("a refused call", lambda: any(pod.metric_sum("forebay_transfer_failures_total") > 0 for pod in pods))
    assert all(pod.metric_sum("forebay_transfer_received_rows_total") == 0 for pod in pods)
