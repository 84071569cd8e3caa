"""`forebay wal replay`: a volume whose node will not come back is brought away, each row once, whatever is killed on the way."""
import threading

import failpoints
import pytest
from accounting import PROMETHEUS, Account, Senders
from cluster import Cluster, Union
from forebay_harness import wait_for
from test_drain import LONG, assert_empty, block, settle, unblock

POINTS = [name for name in failpoints.all_names() if name.startswith("orphan.")]


class Lost:
    """A node that was killed with journals and segments on its volume, and another one that runs."""

    def __init__(self, make, config=None):
        self.target = make(LONG, name="target")
        self.lost = make({**LONG, **(config or {})}, name="lost")
        self.account = Account()
        self.account.oracle = Union([self.target.out, self.lost.out])
        with Senders(self.lost, self.account, count=1, tables=5, profile=PROMETHEUS, pause=0.01):
            self.account.wait_acknowledged(300, 20)
        with self.lost.admin() as client:  # into segments
            assert client.post("/-/flush?upload=false").status == 200
        with Senders(self.lost, self.account, count=1, seed=9, tables=5, profile=PROMETHEUS, pause=0.01):
            self.account.wait_acknowledged(300, 20)
        self.lost.kill9()

    def replay(self, *arguments, **options):
        # Its journals are read by its own rules.
        config = () if "--config" in arguments else ("--config", self.lost.folder / "config.yaml")
        return self.lost.run("wal", "replay", "--dir", self.lost.data, *config, *arguments, **options)

    def verify(self):
        assert_empty(self.lost)
        self.target.flush()
        self.account.verify(self.target)


def to(node):
    return ("--to", node.ingest_url)


def test_segments_and_journals_go_to_another_node(make_forebay):
    volume = Lost(make_forebay)
    looked = volume.replay(*to(volume.target), "--dry-run")
    assert looked.returncode == 0 and "1 journals to recover" in looked.stdout, looked.stdout + looked.stderr
    assert volume.target.metric("forebay_transfer_http_requests_total") == 0
    done = volume.replay(*to(volume.target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left in" in done.stdout
    volume.verify()
    again = volume.replay(*to(volume.target))
    assert again.returncode == 0 and "0 rows in 0 segments" in again.stdout, again.stdout + again.stderr


def test_journals_are_not_read_by_the_rules_of_others(make_forebay):
    volume = Lost(make_forebay)
    bare = ("wal", "replay", "--dir", volume.lost.data, *to(volume.target))
    refused = volume.lost.run(*bare)
    assert refused.returncode == 1 and "--config" in refused.stderr, refused.stdout + refused.stderr
    volume.lost.start()
    with volume.lost.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200
    volume.lost.kill9()
    done = volume.lost.run(*bare)
    assert done.returncode == 0, done.stdout + done.stderr
    volume.verify()


def test_a_volume_that_is_in_use_is_refused(make_forebay):
    volume = Lost(make_forebay)
    volume.lost.start()
    done = volume.replay(*to(volume.target))
    assert done.returncode == 1 and str(volume.lost.pid) in done.stderr, done.stderr


@pytest.mark.parametrize("arguments, says", [
    ([], "--to"),
    (["--to", "localhost:9090"], "http://HOST:PORT"),
])
def test_what_cannot_be_meant_is_refused(make_forebay, arguments, says):
    node = make_forebay(start=False)
    (node.data / "journal").mkdir(parents=True)
    done = node.run("wal", "replay", "--dir", node.data, *arguments)
    assert done.returncode == 1 and says in done.stderr, done.stderr


def test_a_folder_that_is_no_volume_does_not_become_one(make_forebay, tmp_path):
    node = make_forebay(start=False)
    (tmp_path / "other").mkdir()
    done = node.run("wal", "replay", "--dir", tmp_path / "other", "--to", "http://127.0.0.1:9")
    assert done.returncode == 1 and "no data directory" in done.stderr
    assert not list((tmp_path / "other").iterdir())


@failpoints.needed
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("passes", [1, 3])
def test_a_replay_that_is_killed_goes_on_where_it_was(make_forebay, point, passes):
    volume = Lost(make_forebay)
    killed = volume.replay(*to(volume.target), env={"FOREBAY_FAILPOINT": f"{point}:{passes}"})
    assert killed.returncode == -9, killed.stdout + killed.stderr
    done = volume.replay(*to(volume.target))
    assert done.returncode == 0, done.stdout + done.stderr
    volume.verify()


@failpoints.needed
@pytest.mark.parametrize("point", ["transfer.before_commit", "transfer.before_answer"])
def test_a_target_that_is_killed_gets_nothing_twice(make_forebay, point):
    volume = Lost(make_forebay)
    volume.target.env["FOREBAY_FAILPOINT"] = f"{point}:2"
    volume.target.restart()
    # It is started again while the replay goes on trying.
    back = threading.Thread(target=lambda: (wait_for("the kill", lambda: not volume.target.running, 20),
                                            volume.target.env.pop("FOREBAY_FAILPOINT"), volume.target.start()))
    back.start()
    done = volume.replay(*to(volume.target))
    back.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trying again" in done.stderr
    volume.verify()


@failpoints.needed
def test_what_may_be_at_one_node_is_not_sent_to_another(make_forebay):
    volume = Lost(make_forebay)
    killed = volume.replay(*to(volume.target), env={"FOREBAY_FAILPOINT": "orphan.after_answer:2"})
    assert killed.returncode == -9
    other = make_forebay({**LONG, "cluster": {"member": "another"}}, name="other")
    volume.account.oracle.roots.append(other.out)
    done = volume.replay(*to(other))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "may have it, to which it was being sent" in done.stdout, done.stdout
    done = volume.replay(*to(volume.target))
    assert done.returncode == 0, done.stdout + done.stderr
    other.flush()
    volume.verify()


@failpoints.needed
def test_what_was_sent_too_long_ago_is_not_sent_again(make_forebay):
    volume = Lost(make_forebay)
    killed = volume.replay(*to(volume.target), env={"FOREBAY_FAILPOINT": "orphan.before_send:1"})
    assert killed.returncode == -9
    notes = volume.lost.data / "sent-to"
    member, at, name = notes.read_text().split()
    notes.write_text(f"{member} {int(at) - 4 * 3600 * 1000} {name}\n")
    done = volume.replay(*to(volume.target))
    assert done.returncode == 2 and "longer ago than" in done.stdout, done.stdout + done.stderr
    done = volume.replay(*to(volume.target), "--resend")
    assert done.returncode == 0, done.stdout + done.stderr
    volume.verify()


def test_batches_that_a_sink_may_have_are_settled_by_their_own_configuration(make_forebay):
    volume = Lost(make_forebay, {"batch": {"max_age": "1s"}, "upload": {"retry_initial": "20ms", "retry_max": "200ms"},
                                 "generation": {"max_age": "200ms"}})
    volume.lost.start()
    block(volume.lost)
    wait_for("batches that fail", lambda: volume.lost.metric("forebay_batch_live") >= 3, 20)
    volume.lost.kill9()
    done = volume.replay(*to(volume.target))
    assert done.returncode == 2 and "a batch's manifest names it" in done.stdout, done.stdout + done.stderr
    unblock(volume.lost)
    done = volume.replay("--config", volume.lost.folder / "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    volume.verify()


def test_with_its_configuration_a_volume_goes_into_its_own_sinks(make_forebay):
    volume = Lost(make_forebay)
    block(volume.lost)
    config = volume.lost.folder / "config.yaml"
    done = volume.replay("--config", config, "--timeout", "2s", "--set", "upload.retry_initial=20ms",
                         "--set", "upload.retry_max=100ms")
    assert done.returncode == 2 and "cannot be uploaded" in done.stdout, done.stdout + done.stderr
    unblock(volume.lost)
    done = volume.replay("--config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert volume.lost.rows()
    volume.verify()


@failpoints.needed
def test_transfers_in_doubt_are_settled_with_the_members_that_may_have_them(make_forebay):
    cluster = Cluster(make_forebay, start=False)
    lost = cluster["node-1"]
    lost.env["FOREBAY_FAILPOINT"] = "transfer.after_answer:2"
    for node in cluster:
        node.start()
    # To this node alone: what others were giving to it only it can tell.
    with Senders(lost, cluster.account, count=1, tables=9, profile=PROMETHEUS, pause=0.01):
        wait_for("the end of the node", lambda: not lost.running, 30)
    config = lost.folder / "config.yaml"
    refused = lost.run("wal", "replay", "--dir", lost.data, "--config", config, "--set", "cluster.member=")
    assert refused.returncode == 1 and "cluster.member" in refused.stderr, refused.stdout + refused.stderr
    done = lost.run("wal", "replay", "--dir", lost.data, "--config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_empty(lost)
    settle(cluster.account, cluster["node-0"], cluster["node-2"])
