"""Discovery of the cluster's members by the real binary: a list, a real dnsmasq, a strict stand-in for the Kubernetes API."""
import json
import os
import subprocess

import pytest
from dnsmasq import SERVICE, Dnsmasq, pod_host
from forebay_harness import binary
from kubernetes_api import NAMESPACE, FakeKubernetes
from processes import Process, free_port, wait_for



def members_once(*settings, owner=None):
    command = [binary(), "cluster", "members", "--json", "--timeout", "5"]
    for setting in settings:
        command += ["--set", setting]
    if owner:
        command += ["--owner", owner]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FOREBAY_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)


class Watcher(Process):
    """`forebay cluster members --watch`; the last line that it printed."""

    def __init__(self, folder, *settings):
        super().__init__("members", folder)
        command = [binary(), "cluster", "members", "--watch"]
        for setting in settings:
            command += ["--set", setting]
        self.spawn(command, unset="FOREBAY_")

    def last(self):
        lines = [line for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {"members": []}

    def states(self):
        return {member["name"]: member["ready"] for member in self.last()["members"]}

    def wait(self, expected):
        try:
            wait_for(f"members {expected}", lambda: self.states() == expected, timeout=20)
        except TimeoutError:
            pytest.fail(f"members are {self.states()}, not {expected}\n{self.log_path.read_text()}")


@pytest.fixture
def watch(tmp_path):
    watchers = []

    def start(*settings):
        watchers.append(Watcher(tmp_path / f"watch{len(watchers)}", *settings))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.process.kill()
        watcher.process.wait()


def test_without_discovery_a_node_is_alone_and_owns_everything():
    done = members_once("cluster.member=me", owner="Metrics_Up")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [member["name"] for member in report["members"]] == ["me"]
    assert report["leader"] == "me" and report["owners"] == {"Metrics_Up": "me"}


def test_a_static_list_names_all_members_and_their_owner():
    done = members_once("cluster.discovery=static", "cluster.members.0.name=ingestor-0",
                        "cluster.members.0.address=h0:9092", "cluster.members.1.name=ingestor-1",
                        "cluster.members.1.address=h1:9092", "cluster.members.2.name=ingestor-2",
                        "cluster.members.2.address=[::1]:9092", owner="Logs_Kubelet")
    report = json.loads(done.stdout)
    assert [member["address"] for member in report["members"]] == ["h0:9092", "h1:9092", "[::1]:9092"]
    assert report["owners"]["Logs_Kubelet"] == "ingestor-1"


@pytest.mark.parametrize("settings, says", [
    (["cluster.discovery=static"], "cluster.members"),
    (["cluster.discovery=dns"], "cluster.dns.service"),
    (["cluster.discovery=consul"], "none, static, dns"),
    (["cluster.discovery=static", "cluster.members.0.name=a", "cluster.members.0.address=a"], "has no port"),
    (["cluster.discovery=kubernetes", "cluster.kubernetes.namespace=x", "cluster.kubernetes.token_file=/nowhere/token"],
     "automountServiceAccountToken"),
])
def test_settings_that_cannot_work_are_refused_with_the_key(settings, says):
    done = members_once(*settings)
    assert done.returncode == 1
    assert says in done.stderr, done.stderr


# ---- DNS


@pytest.fixture
def dnsmasq(tmp_path):
    server = Dnsmasq(tmp_path / "dns", free_port())
    yield server
    server.stop_if_running()


def dns_settings(server):
    return ["cluster.discovery=dns", f"cluster.dns.service={SERVICE}", f"cluster.dns.servers=127.0.0.1:{server.port}",
            "cluster.dns.interval=200ms", "cluster.dns.timeout=300ms", "cluster.member=forebay-0"]


def test_dns_members_come_and_go_with_the_records(dnsmasq, watch):
    dnsmasq.serve([(pod_host(0), 9092), (pod_host(1), 9093)])
    watcher = watch(*dns_settings(dnsmasq))
    watcher.wait({"forebay-0": True, "forebay-1": True})
    assert watcher.last()["members"][1]["address"] == f"{pod_host(1)}:9093"
    dnsmasq.serve([(pod_host(0), 9092), (pod_host(1), 9093), (pod_host(2), 9092)])
    watcher.wait({"forebay-0": True, "forebay-1": True, "forebay-2": True})
    dnsmasq.serve([(pod_host(2), 9092)])
    watcher.wait({"forebay-2": True})


def test_dns_that_is_away_takes_nobody_for_gone(dnsmasq, watch):
    dnsmasq.serve([(pod_host(0), 9092), (pod_host(1), 9092)])
    watcher = watch(*dns_settings(dnsmasq))
    watcher.wait({"forebay-0": True, "forebay-1": True})
    dnsmasq.stop_if_running()
    wait_for("a warning", lambda: "those known before stay" in watcher.log_path.read_text())
    assert watcher.states() == {"forebay-0": True, "forebay-1": True}
    dnsmasq.serve([(pod_host(0), 9092)])
    watcher.wait({"forebay-0": True})


def test_dns_with_very_many_members_uses_tcp_or_large_answers(dnsmasq):
    dnsmasq.serve([(pod_host(number), 9092) for number in range(60)])
    done = members_once(*dns_settings(dnsmasq))
    assert len(json.loads(done.stdout)["members"]) == 60, done.stderr


def test_dns_without_records_is_an_empty_set(dnsmasq):
    dnsmasq.serve([])
    done = members_once(*dns_settings(dnsmasq), owner="Metrics_Up")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["members"] == [] and report["leader"] is None and report["owners"] == {"Metrics_Up": None}


# ---- Kubernetes


@pytest.fixture
def kubernetes(tmp_path):
    with FakeKubernetes() as api:
        (tmp_path / "token").write_text(api.token + "\n")
        (tmp_path / "namespace").write_text(NAMESPACE)
        api.settings = ["cluster.discovery=kubernetes", f"cluster.kubernetes.api_server={api.url}",
                        f"cluster.kubernetes.token_file={tmp_path}/token", "cluster.kubernetes.ca_file=",
                        f"cluster.kubernetes.namespace_file={tmp_path}/namespace", "cluster.member=forebay-0"]
        api.token_file = tmp_path / "token"
        for number in range(5):
            api.put_pod(f"forebay-{number}", ip=f"10.0.0.{number}", ready=number != 3)
        yield api


ALL_BUT_3 = {f"forebay-{number}": number != 3 for number in range(5)}


def test_kubernetes_lists_in_pages_and_follows_the_watch(kubernetes, watch):
    watcher = watch(*kubernetes.settings)
    watcher.wait(ALL_BUT_3)
    assert watcher.last()["members"][0]["address"] == "10.0.0.0:9092"
    kubernetes.put_pod("forebay-3", ip="10.0.0.3")
    watcher.wait({**ALL_BUT_3, "forebay-3": True})
    kubernetes.put_pod("forebay-4", ip="10.0.0.4", deleting=True)
    watcher.wait({**ALL_BUT_3, "forebay-3": True, "forebay-4": False})
    kubernetes.delete_pod("forebay-4")
    watcher.wait({"forebay-0": True, "forebay-1": True, "forebay-2": True, "forebay-3": True})
    assert kubernetes.count("list", 200) == 3, "one list of three pages, all else by the watch"


def test_kubernetes_counts_only_pods_of_its_own_stateful_set(kubernetes, watch):
    kubernetes.put_pod("other-0", ip="10.0.1.1", stateful_set="other")
    kubernetes.put_pod("forebay-9", ip="")
    watch(*kubernetes.settings).wait(ALL_BUT_3)


def test_kubernetes_watch_that_ends_goes_on_where_it_was(kubernetes, watch):
    watcher = watch(*kubernetes.settings)
    watcher.wait(ALL_BUT_3)
    kubernetes.bookmark()
    for number in range(3):
        kubernetes.end_watches()
        kubernetes.put_pod(f"forebay-{10 + number}", ip="10.0.2.1")
    watcher.wait({**ALL_BUT_3, "forebay-10": True, "forebay-11": True, "forebay-12": True})
    assert kubernetes.count("list", 200) == 3, "it lists once"


def test_kubernetes_lists_again_when_its_version_is_compacted(kubernetes, watch):
    watcher = watch(*kubernetes.settings)
    watcher.wait(ALL_BUT_3)
    with kubernetes.lock:
        kubernetes.end_watches()
        del kubernetes.pods["forebay-4"]  # its deletion is in no history
        kubernetes.compact()
    watcher.wait({name: ready for name, ready in ALL_BUT_3.items() if name != "forebay-4"})


def test_kubernetes_token_is_read_again_when_it_was_rotated(kubernetes, watch):
    watcher = watch(*kubernetes.settings)
    watcher.wait(ALL_BUT_3)
    kubernetes.token = "second-token"
    kubernetes.end_watches()
    wait_for("a refusal", lambda: kubernetes.count("watch", 401) + kubernetes.count("list", 401) > 0)
    assert watcher.states() == ALL_BUT_3
    kubernetes.token_file.write_text("second-token\n")
    kubernetes.put_pod("forebay-7", ip="10.0.0.7")
    watcher.wait({**ALL_BUT_3, "forebay-7": True})


def test_kubernetes_that_is_away_takes_nobody_for_gone(kubernetes, watch):
    watcher = watch(*kubernetes.settings)
    watcher.wait(ALL_BUT_3)
    kubernetes.broken = True
    kubernetes.end_watches()
    wait_for("an error", lambda: "etcd is away" in watcher.log_path.read_text())
    assert watcher.states() == ALL_BUT_3
    kubernetes.broken = False
    kubernetes.delete_pod("forebay-3")
    watcher.wait({name: ready for name, ready in ALL_BUT_3.items() if name != "forebay-3"})


def test_kubernetes_role_without_list_is_told_what_it_needs(kubernetes, watch):
    kubernetes.verbs.discard("list")
    watcher = watch(*kubernetes.settings)
    wait_for("a hint", lambda: "the pod's role needs get, list, watch and patch" in watcher.log_path.read_text())


def test_kubernetes_annotation_asks_this_pod_to_leave(kubernetes, watch):
    watcher = watch(*kubernetes.settings)
    watcher.wait(ALL_BUT_3)
    kubernetes.put_pod("forebay-1", ip="10.0.0.1", annotations={"shutdown-requested": ""})
    kubernetes.put_pod("forebay-0", ip="10.0.0.0", annotations={"shutdown-requested": ""})
    wait_for("the request", lambda: "asked to hand over and leave" in watcher.log_path.read_text())
    assert watcher.log_path.read_text().count("asked to hand over and leave") == 1
