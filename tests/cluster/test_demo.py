"""The demonstration runs as it is shown, ends with an exact account, and leaves nothing behind."""
import os
import pathlib
import re
import signal
import subprocess
import sys

from forebay_harness import binary
from processes import ROOT, wait_for

DEMO = [sys.executable, "-B", ROOT / "tests" / "demo" / "cluster_demo.py"]


def environment():
    return {**os.environ, "FOREBAY_BIN": str(binary())}


def processes_below(folder):
    """Those whose command line names a file in there."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def test_the_demo_ends_with_an_exact_account(tmp_path):
    done = subprocess.run([*DEMO, "--seconds", "10", "--dir", tmp_path], capture_output=True, text=True, timeout=120,
                          env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"node-2 drained and ended in .* exit status 0, 0 rows left on it", done.stdout), done.stdout
    assert "exact: every accepted sample is there once" in done.stdout
    assert not processes_below(tmp_path)


def test_an_interrupted_demo_ends_all_its_processes(tmp_path):
    demo = subprocess.Popen([*DEMO, "--seconds", "60", "--dir", tmp_path], stdout=subprocess.PIPE, text=True, env=environment())
    wait_for("the demo", lambda: len(processes_below(tmp_path)) >= 5)
    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130, out
    wait_for("the end of its processes", lambda: not processes_below(tmp_path), 10)
