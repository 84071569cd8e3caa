"""What is in the image, what it says of itself, and the daemon run from its files as a container would run it."""

import json
import os
import re
import stat
import subprocess
import urllib.request

import pytest
from forebay_harness import Sample, Series, binary, read_rows
from processes import ROOT, Process, free_port
from remote_write import RemoteWriter

MEGABYTE = 1000 * 1000
UID = 65532

# Mounts as a container has them: the image's files for reading alone, a volume, /proc. No capability is left once the user
# changed, and none can be had again.
CONTAINER = """set -eu
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
mount --bind "$3" "$2/var/lib/forebay"
root=$2 folder=$4
shift 4
exec setpriv --no-new-privs unshare --root "$root" --wd "$folder" --setgid 65532 --setuid 65532 "$@"
"""


class Container(Process):
    def __init__(self, image, folder):
        super().__init__("container", folder)
        self.image = image
        self.volume, self.mounted = self.folder / "volume", self.folder / "mounted"
        for one in (self.volume, self.mounted):
            one.mkdir()
        os.chown(self.volume, UID, UID)
        self.ports = {name: free_port() for name in ("INGEST", "ADMIN")}

    def start(self):
        environment = dict(one.split("=", 1) for one in self.image.config["Env"])
        environment.update({f"FOREBAY_LISTEN_{name}": f"127.0.0.1:{port}" for name, port in self.ports.items()})
        command = [*self.image.config["Entrypoint"], *self.image.config["Cmd"]]
        self.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-c", CONTAINER, "sh", self.image.root, self.mounted,
                    self.volume, self.image.config["WorkingDir"], *command], environment, unset="FOREBAY_")
        self.wait_ready(f"http://127.0.0.1:{self.ports['ADMIN']}/readyz")
        return self

    def status(self):
        lines = open(f"/proc/{self.pid}/status").read().splitlines()
        return {line.split(":")[0]: line.split()[1:] for line in lines}


@pytest.fixture
def container(image, tmp_path):
    with Container(image, tmp_path).start() as made:
        yield made


def files(image):
    return [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]


def test_the_image_is_small(image):
    assert sum(path.stat().st_size for path in files(image)) < 60 * MEGABYTE


def test_nothing_but_the_binary_can_be_run(image):
    programs = {str(path.relative_to(image.root)) for path in files(image)
                if path.stat().st_mode & stat.S_IXUSR and ".so" not in path.name}
    assert programs == {"usr/local/bin/forebay"}
    assert not [path for path in files(image) if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [path for path in image.root.rglob("*") if path.name in ("sh", "bash", "dash", "busybox", "apt-get", "dpkg")]


def test_only_the_volume_and_tmp_can_be_written_by_its_user(image):
    writable = set()
    for path in image.root.rglob("*"):
        at = path.lstat()
        if not path.is_symlink() and (at.st_uid == UID or at.st_mode & stat.S_IWOTH):
            writable.add(str(path.relative_to(image.root)))
    assert writable == {"var/lib/forebay", "tmp"}


def test_what_it_says_of_itself(image):
    config = image.config
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/local/bin/forebay"] and config["Cmd"] == ["serve"]
    assert config["WorkingDir"] == "/var/lib/forebay" and set(config["Volumes"]) == {"/var/lib/forebay"}
    assert set(config["ExposedPorts"]) == {"9090", "9091", "9092"} or set(config["ExposedPorts"]) == {"9090/tcp", "9091/tcp", "9092/tcp"}
    version = (ROOT / "VERSION").read_text().strip()
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["version"] == version and labels["licenses"] == "MIT" and labels["title"] == "forebay"
    assert labels["revision"] == "unknown" or re.fullmatch("[0-9a-f]{40}", labels["revision"])
    assert re.fullmatch(rf"forebay:{re.escape(version)}(-g[0-9a-f]{{12}}(-dirty)?)?", image.name)


def test_the_same_sources_give_the_same_image(image):
    assert image.identity(image.build("--tag", "again")) == image.identity(image.name)


def test_certificates_and_time_zones_are_there(image):
    bundle = (image.root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 100
    assert (image.root / "usr/lib/ssl/cert.pem").readlink().is_absolute()
    assert (image.root / "usr/share/zoneinfo/Europe/Berlin").read_bytes().startswith(b"TZif")


def test_the_binary_runs_on_processors_without_avx(image):
    """x86-64-v2 is what is asked for; libraries choose what is faster while they run."""
    if image.architecture != "amd64":
        pytest.skip("for x86-64")
    code = subprocess.run(["objdump", "--disassemble", "--no-show-raw-insn", image.root / "usr/local/bin/forebay"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    assert len(code) > MEGABYTE and not re.search(r"%[yz]mm\d", code)


def test_the_daemon_takes_writes_as_its_user_on_read_only_files(container):
    status = container.status()
    assert set(status["Uid"]) == {str(UID)} and set(status["Gid"]) == {str(UID)} and status.get("Groups") == []
    assert int(status["CapEff"][0], 16) == 0 and status["NoNewPrivs"] == ["1"]
    now = 1_700_000_000_000
    answer = RemoteWriter(f"http://127.0.0.1:{container.ports['INGEST']}").send_v1(
        [Series({"__name__": "up", "job": "node"}, [Sample(1.0, now), Sample(0.0, now + 1000)])])
    assert answer.status == 204
    flush = urllib.request.Request(f"http://127.0.0.1:{container.ports['ADMIN']}/-/flush", b"", method="POST")
    with urllib.request.urlopen(flush, timeout=60) as flushed:
        assert json.load(flushed)["ok"]
    rows = read_rows(container.volume / "data" / "out", "Up")
    assert [(row["Value"], row["Labels"]) for row in rows] == [("1", {"job": "node"}), ("0", {"job": "node"})]
    assert container.terminate() == 0


def test_every_command_of_the_binary_finds_its_libraries(image):
    done = subprocess.run(["chroot", "--userspec=65532:65532", image.root, "/usr/local/bin/forebay", "version"],
                          capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == subprocess.run([binary(), "version"], capture_output=True, text=True).stdout


def run_dev(*arguments, path=None):
    return subprocess.run([ROOT / "deploy/image/build.sh", *arguments], capture_output=True, text=True,
                          env={**os.environ, **({"PATH": str(path)} if path else {})})


def test_a_machine_without_a_builder_is_told_what_to_install(tmp_path):
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = run_dev(path=tmp_path)
    assert done.returncode == 1 and "apt-get install buildah" in done.stderr


def test_wrong_arguments_of_dev_image_are_named():
    assert 'no builder "kaniko"; there are: docker podman buildah' in run_dev("--builder", "kaniko").stderr
    assert "/nowhere: no such file" in run_dev("--builder", "buildah", "--binary", "/nowhere").stderr
    assert run_dev("--what").returncode == 2
