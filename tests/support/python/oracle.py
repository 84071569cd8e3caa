"""What the file sink has, compared with an account of what was sent; see accounting.py.

Files are read once, when they first appear: a finished file never changes, which is checked. So the comparison of a
run with hundreds of restarts costs what is new since the last one.
"""

import csv
import dataclasses
import gzip
import json
import os
import pathlib
import sys

from forebay_harness import millis

csv.field_size_limit(sys.maxsize)


@dataclasses.dataclass
class Result:
    """Values by what is wrong with them, and the counts of the whole."""

    sent: int
    acknowledged: int
    refused: int
    delivered: int
    lost: list
    duplicated: list
    invented: list
    refused_and_delivered: list
    changed: list  # delivered with another table, label, time or value than sent

    def wrong(self):
        """True for what can never be right, also while data is on its way."""
        return bool(self.duplicated or self.invented or self.refused_and_delivered or self.changed)

    def clean(self):
        return not self.wrong() and not self.lost

    def __str__(self):
        return (f"{self.sent} sent, {self.acknowledged} acknowledged, {self.refused} refused, {self.delivered} delivered; "
                f"{len(self.lost)} lost, {len(self.duplicated)} duplicated, {len(self.invented)} invented, "
                f"{len(self.changed)} changed, {len(self.refused_and_delivered)} refused and yet delivered")

    def examples(self):
        names = ("lost", "duplicated", "invented", "changed", "refused_and_delivered")
        return "; ".join(f"{name}: {getattr(self, name)[:5]}" for name in names if getattr(self, name))


class Oracle:
    """The rows of the file sink below `root`, by value. Tables without a Value column are left out."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = {}  # path -> (size, modification time)
        self.rows = 0
        self.first = {}  # value -> (table, labels, timestamp in ms, file)
        self.again = {}  # value -> files of its further rows
        self.unchecked = []  # values read since the last comparison
        self.invented = []
        self.changed = []

    def read_new(self):
        for path in self.finished():
            state = os.stat(path)
            seen = (state.st_size, state.st_mtime_ns)
            if path not in self.files:
                self.files[path] = seen
                self.read(path)
            assert self.files[path] == seen, f"{path} was changed after it was finished"

    def finished(self):
        return sorted(self.root.glob("*/*/[0-9]*/[0-9]*/[0-9]*/*.csv.gz"))

    def read(self, path):
        table = path.parents[3].name
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            lines = csv.reader(text)
            columns = next(lines)
            if not {"Timestamp", "Labels", "Value"} <= set(columns):
                return
            time_at, labels_at, value_at = map(columns.index, ("Timestamp", "Labels", "Value"))
            for fields in lines:
                number = float(fields[value_at])
                value = int(number)
                self.rows += 1
                if value in self.first or value != number:
                    self.again.setdefault(value, []).append(str(path))
                    continue
                labels = tuple(sorted(json.loads(fields[labels_at]).items()))
                self.first[value] = (table, labels, millis(fields[time_at]), str(path))
                self.unchecked.append(value)

    def compare(self, account, complete=False):
        """complete: everything acknowledged must be here by now. The account may grow meanwhile."""
        for value in self.unchecked:
            if value not in account.sent:
                self.invented.append(value)
            elif account.sent[value] != self.first[value][:3]:
                self.changed.append((value, account.sent[value], self.first[value]))
        self.unchecked = []
        delivered = self.first.keys()
        with account.changed:
            return Result(
                sent=len(account.sent), acknowledged=len(account.acknowledged), refused=len(account.refused),
                delivered=self.rows,
                lost=sorted(account.acknowledged - delivered) if complete else [],
                duplicated=sorted(self.again.items()),
                invented=self.invented,
                refused_and_delivered=sorted(account.refused & delivered),
                changed=self.changed)
