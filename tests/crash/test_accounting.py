"""The account and its oracle find what they are there for, and the account outlives the test that keeps it."""

import gzip
import json

import conservation
import pytest
from accounting import FIRST_VALUE, ONCE, Account, Senders
from oracle import Oracle


def deliver(root, rows, name="1.csv.gz"):
    """A file of the sink. rows: (value, labels, time of day)."""
    folder = root / "Metrics" / "Crash0" / "2026" / "11" / "02"
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / name, "wt", newline="") as text:
        text.write("Timestamp,SeriesId,Labels,Value\n")
        for value, labels, time in rows:
            quoted = json.dumps(labels).replace('"', '""')
            text.write(f'2026-11-02T{time}Z,1,"{quoted}",{value}\n')


TIME = 1_793_577_600_000  # 2026-11-02T00:00:00Z
LABELS = {"series": "1", "worker": "0"}


@pytest.fixture
def account():
    """Three samples: acknowledged, refused, unknown."""
    made = Account()
    values = made.take(3)
    for value in values:
        made.note_sent({value: ("Crash0", tuple(LABELS.items()), TIME)})
    made.note(values[:1], 204)
    made.note(values[1:2], 503)
    made.note(values[2:], None)
    return made


def compare(account, root):
    oracle = Oracle(root)
    oracle.read_new()
    return oracle.compare(account, complete=True)


def test_what_is_acknowledged_must_be_there_what_is_unknown_may(account, tmp_path):
    deliver(tmp_path, [(FIRST_VALUE, LABELS, "00:00:00")])
    assert compare(account, tmp_path).clean()
    deliver(tmp_path, [(FIRST_VALUE + 2, LABELS, "00:00:00")], "2.csv.gz")
    assert compare(account, tmp_path).clean()


@pytest.mark.parametrize("wrong, rows", [
    ("lost", []),
    ("duplicated", [(FIRST_VALUE, LABELS, "00:00:00")] * 2),
    ("duplicated", [(FIRST_VALUE, LABELS, "00:00:00")] + [(FIRST_VALUE + 2, LABELS, "00:00:00")] * 2),
    ("invented", [(FIRST_VALUE, LABELS, "00:00:00"), (FIRST_VALUE + 7, LABELS, "00:00:00")]),
    ("refused_and_delivered", [(FIRST_VALUE, LABELS, "00:00:00"), (FIRST_VALUE + 1, LABELS, "00:00:00")]),
    ("changed", [(FIRST_VALUE, LABELS, "00:00:00.001")]),
    ("changed", [(FIRST_VALUE, {**LABELS, "worker": "1"}, "00:00:00")]),
])
def test_each_kind_of_wrong_is_found(account, tmp_path, wrong, rows):
    deliver(tmp_path, rows)
    result = compare(account, tmp_path)
    assert not result.clean()
    assert [name for name in ("lost", "duplicated", "invented", "changed", "refused_and_delivered")
            if getattr(result, name)] == [wrong]


def test_a_file_that_changes_after_it_was_finished_is_found(account, tmp_path):
    deliver(tmp_path, [(FIRST_VALUE, LABELS, "00:00:00")])
    oracle = Oracle(tmp_path)
    oracle.read_new()
    deliver(tmp_path, [(FIRST_VALUE, LABELS, "00:00:00"), (FIRST_VALUE + 2, LABELS, "00:00:00")])
    with pytest.raises(AssertionError, match="was changed"):
        oracle.read_new()


def test_the_journal_of_an_account_tells_the_same_account(make_forebay, tmp_path):
    node = make_forebay()
    account = Account(tmp_path / "journal")
    with Senders(node, account, count=2, seed=1, profile=None, bad=0.5):
        account.wait_acknowledged(500, timeout=20)
        node.kill9()
    with Senders(node, account, count=1, seed=2, profile=ONCE):
        pass
    account.close()
    assert account.refused and account.statuses.get(None)
    with open(tmp_path / "journal", "a", encoding="utf-8") as journal:
        journal.write('{"event":"sent","sam')  # torn
    read = Account.load(tmp_path / "journal")
    assert (read.sent, read.acknowledged, read.refused) == (account.sent, account.acknowledged, account.refused)
    assert read.next_value == account.next_value
    node.start()
    node.flush()
    read.verify(node)


def test_rows_that_do_not_add_up_are_found():
    def metrics(**states):
        rows = {(conservation.FAMILY, (("database", "A"), ("side", side), ("state", state))): value
                for side, names in (("in", conservation.COMES_IN), ("out", conservation.GOES_OUT)) for state in names
                for value in [states.get(state, {"received": 5, "recovered": 2, "uploaded": 7}.get(state, 0))]}
        return {**rows, ("forebay_receive_received_samples_total", ()): 5.0}

    assert not conservation.differences(metrics())
    assert conservation.differences(metrics(uploaded=6))
    assert conservation.differences(metrics(uploaded=6, pending=1)) == []
    assert conservation.differences(metrics(from_peers=1, transferred=1)) == []
    assert conservation.differences(metrics(from_peers=1))
    assert conservation.differences(metrics(received=4, uploaded=6)) == ["4 rows received by database, 5 by kind"]
