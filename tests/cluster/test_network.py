"""The network of the tests does what it is told, and what a killed test leaves is swept."""
import pathlib
import socket
import subprocess
import sys
import time

import netns
import pytest
from processes import ROOT, wait_for

LEFT_BEHIND = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import netns
network = netns.Network(["left"]).__enter__()
child = subprocess.Popen([*network.hosts["left"].prefix, "sleep", "600"])
print(network.base, child.pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_test_leaves_is_swept_with_its_processes(lines):
    maker = subprocess.Popen([sys.executable, "-c", LEFT_BEHIND, str(ROOT / "tests" / "support" / "python")],
                             stdout=subprocess.PIPE, text=True)
    base, child = maker.stdout.readline().split()
    assert not [name for name in netns.sweep() if name.startswith(base)], "one that is in use was swept"
    maker.kill()
    maker.wait()
    maker.stdout.close()
    assert [name for name in netns.sweep() if name.startswith(base)]
    assert not list(netns.NAMES.glob(f"{base}*"))
    wait_for("the end of the process", lambda: not pathlib.Path(f"/proc/{child}/cmdline").exists()
             or not pathlib.Path(f"/proc/{child}/cmdline").read_bytes(), 10)


def reaches(network, name):
    """Whether a packet gets from the clients to the host and one back; refused is an answer."""
    try:
        socket.create_connection((network.hosts[name].address, 9), timeout=0.5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.parametrize("source, target", [("clients", "node-0"), ("node-0", "clients")])
def test_a_line_is_cut_on_one_side_and_healed(lines, source, target):
    assert reaches(lines, "node-0")
    lines.block(source, target)
    assert not reaches(lines, "node-0")
    assert reaches(lines, "node-1")
    assert lines.dropped() > 0
    lines.heal()
    assert reaches(lines, "node-0")


def test_a_late_line_is_late_and_healed(lines):
    def elapsed():
        began = time.monotonic()
        assert reaches(lines, "node-2")
        return time.monotonic() - began

    lines.disturb("node-2", delay_ms=100)
    assert elapsed() > 0.2
    lines.heal()
    assert min(elapsed() for _ in range(5)) < 0.1
