#!/usr/bin/env python3
"""What instructions.py reads from callgrind, and when it fails."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import instructions  # noqa: E402

OUTPUT = """version: 1
desc: Trigger: --dump-after=gate_seal
events: Ir
ob=(1) /build/hot_path
fl=(1) a.cc
fn=(1) Seal
16 100
+2 20
* 3
cob=(2) /usr/lib/libisal.so.2
cfn=(2) crc
calls=2 0
17 5000
-1 7
ob=(2)
fn=(2)
0 5000
ob=(3) /usr/lib/ld-linux-x86-64.so.2
0 900
ob=(4) /usr/lib/libsnappy.so.1
fn=(3) Compress
0 30
totals: 6060
"""


def phase(count, unit="sample"):
    return {"per": unit, "instructions": count}


class InstructionsTest(unittest.TestCase):
    def test_costs_are_those_of_each_object_without_what_it_calls(self):
        costs = instructions.costs(OUTPUT.splitlines())
        self.assertEqual(costs["/build/hot_path"], 130)
        self.assertEqual(costs["/usr/lib/libisal.so.2"], 5000)

    def test_isal_and_the_dynamic_linker_are_not_counted(self):
        self.assertEqual(instructions.counted(instructions.costs(OUTPUT.splitlines())), 160)

    def test_an_output_names_its_phase(self):
        self.assertEqual(instructions.phase_of(OUTPUT.splitlines()), "seal")
        self.assertIsNone(instructions.phase_of(["desc: Trigger: Program termination"]))

    def test_up_to_three_percent_more_or_less_passes_in_silence(self):
        for now in (97.01, 100, 102.99):
            _, failures, hints = instructions.compare({"seal": phase(100)}, {"seal": phase(now)})
            self.assertEqual((failures, hints), ([], []))

    def test_more_fails_and_says_phase_old_and_new(self):
        _, failures, _ = instructions.compare({"seal": phase(100)}, {"seal": phase(103.5)})
        self.assertEqual(len(failures), 1)
        for part in ("seal", "103.50", "100.00", "+3.5 %"):
            self.assertIn(part, failures[0])

    def test_less_asks_for_an_update(self):
        _, failures, hints = instructions.compare({"seal": phase(100)}, {"seal": phase(90)})
        self.assertEqual(failures, [])
        self.assertIn("./dev instructions --update", hints[0])

    def test_a_phase_that_is_on_one_side_alone_or_counts_other_things_fails(self):
        for old, new in (({}, {"seal": phase(1)}), ({"seal": phase(1)}, {}),
                         ({"seal": phase(1)}, {"seal": phase(1, "segment")})):
            _, failures, _ = instructions.compare(old, new)
            self.assertEqual(len(failures), 1)


if __name__ == "__main__":
    unittest.main()
