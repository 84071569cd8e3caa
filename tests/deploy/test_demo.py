"""./dev demo runs as it is shown, ends at Ctrl-C with an exact account, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from clickhouse import have_clickhouse
from forebay_harness import binary
from processes import ROOT, wait_for


def processes_below(folder):
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found]


@pytest.mark.skipif(not have_clickhouse(), reason="no ClickHouse on this machine")
def test_the_demo_ends_at_ctrl_c_with_an_exact_account_and_no_process_is_left(tmp_path):
    log = tmp_path / "out"
    folder = tmp_path / "demo"
    folder.mkdir()
    with open(log, "wb") as out:
        demo = subprocess.Popen([sys.executable, "-B", ROOT / "tests/demo/demo.py", "--dir", folder], stdout=out, stderr=out,
                                env={**os.environ, "FOREBAY_BIN": str(binary())}, start_new_session=True)
    try:
        wait_for("a line of the demo", lambda: demo.poll() is not None or "samples accepted" in log.read_text(), 90)
        text = log.read_text()
        # What is printed leads somewhere.
        for url in re.findall(r"http://\S+/(?:status|metrics|graph)", text):
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200, url
        os.killpg(demo.pid, signal.SIGINT)
        status = demo.wait(60)
    finally:
        demo.terminate()  # it ends what it started
        demo.wait(60)
    assert status == 0 and re.search(r"^[1-9]\d* rows accepted, .*: exact$", log.read_text(), flags=re.MULTILINE), log.read_text()
    assert not processes_below(folder)
