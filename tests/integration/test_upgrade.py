"""What earlier versions have left on their volumes is read, delivered and known again: tests/data/upgrade."""

import base64

import pytest
import upgrade
from remote_write import CONTENT_TYPE_V1


def test_there_are_volumes_of_earlier_versions():
    assert upgrade.versions()


@pytest.mark.parametrize("version", upgrade.versions())
def test_volumes_of_an_earlier_version_give_every_row_once(make_forebay, tmp_path, version):
    known = upgrade.facts(version)
    cluster = upgrade.start(make_forebay, version, tmp_path)
    first = cluster["node-0"]
    with first.writer() as writer:  # the sender has not seen the answer before the kill
        again = writer.send(base64.b64decode(known["request"]["body"]), CONTENT_TYPE_V1, "0.1.0",
                            headers={"Idempotency-Key": known["request"]["key"]})
    assert again.status == 204
    cluster.settle()
    assert upgrade.comparable(first.rows()) == known["rows"]
    assert cluster.metric("forebay_transfer_gave_up_rows_total") == 0
    assert cluster.metric("forebay_quarantine_files") == 0


@pytest.mark.parametrize("version", upgrade.versions())
def test_the_tools_read_volumes_of_an_earlier_version(make_forebay, tmp_path, version):
    upgrade.unpack(version, tmp_path)
    node = make_forebay(name="tools", start=False)
    for name in upgrade.NAMES:
        for command in ("ls", "verify", "stat"):
            done = node.run("wal", command, "--dir", tmp_path / name / "data")
            assert done.returncode == 0, done.stdout + done.stderr


def test_the_clock_of_a_volume_is_that_of_its_kill(make_forebay):
    node = make_forebay(start=False)
    node.env.update(upgrade.clock(1_700_000_000))
    node.start()
    assert all(line["ts"].startswith("2023-11-14T22:13:") for line in node.log_lines("listening"))
