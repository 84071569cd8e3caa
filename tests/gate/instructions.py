#!/usr/bin/env python3
"""Counts the instructions of each phase of a sample's way and compares them with those that are committed.

Usage: tests/gate/instructions.py --binary build/release/tests/gate/hot_path [--update] [--keep DIRECTORY]

The program runs under valgrind's callgrind; a phase is one call of a function named gate_<phase>. Counted is what the program and
its libraries do, but for ISA-L, which picks its code by the machine, and the dynamic linker. glibc is told which of its functions to
use. So the figures are the same on every x86-64 machine with the same packages, and can be compared closely: more than
TOLERANCE_PERCENT above what instructions.json says fails, so much below asks for an update. Neither time nor caches are in them.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

COMMITTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
TOLERANCE_PERCENT = 3.0
PREFIX = "gate_"
NOT_COUNTED = ("libisal.so", "ld-linux")
# The same memcpy and memcmp everywhere, and the same sizes from which they change their ways.
GLIBC = ("glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-BMI2,-MOVBE,-SSSE3,-SSE4_1,-SSE4_2"
         ":glibc.cpu.x86_data_cache_size=32768:glibc.cpu.x86_shared_cache_size=1048576"
         ":glibc.cpu.x86_non_temporal_threshold=786432")
UPDATE = "./dev instructions --update"


class GateError(Exception):
    pass


def phases_of(binary):
    """Names of the phases, from the program's symbols."""
    symbols = subprocess.run(["nm", "--defined-only", binary], check=True, capture_output=True, text=True).stdout
    return sorted(re.findall(rf" T {PREFIX}(\w+)$", symbols, re.MULTILINE))


def costs(lines):
    """Instructions by object of a callgrind output (its manual, "Callgrind Format Specification")."""
    objects, by_object = {}, Counter()
    current, is_call = None, False
    for line in lines:
        if match := re.match(r"c?ob=\((\d+)\)(?: (.*))?$", line):
            if match[2]:
                objects[match[1]] = match[2]
            if not line.startswith("c"):
                current = objects[match[1]]
        elif line.startswith("calls="):
            is_call = True  # the next line is what the callee took
        elif match := re.match(r"[+\-*\d]\S* (\d+)$", line):
            if not is_call:
                by_object[current] += int(match[1])
            is_call = False
    return by_object


def counted(by_object):
    return sum(cost for name, cost in by_object.items() if not os.path.basename(name).startswith(NOT_COUNTED))


def phase_of(lines):
    for line in lines:
        if match := re.match(rf"desc: Trigger: --dump-after={PREFIX}(\w+)$", line):
            return match[1]
    return None


def run(binary, keep):
    """Instructions and items of each phase."""
    phases = phases_of(binary)
    if not phases:
        raise GateError(f"{binary} has no functions named {PREFIX}*")
    out = os.path.join(keep, "callgrind.out")
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={PREFIX}*",
               *(f"--dump-after={PREFIX}{phase}" for phase in phases), os.path.abspath(binary)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=keep,
                          env={"PATH": os.environ["PATH"], "GLIBC_TUNABLES": GLIBC, "LD_BIND_NOW": "1"}, check=False)
    if done.returncode != 0:
        raise GateError(f"{binary} failed under valgrind:\n{done.stdout}{done.stderr}")
    items = dict(re.findall(r"^(\w+) (\d+ \w+)$", done.stdout, re.MULTILINE))
    if sorted(items) != phases:
        raise GateError(f"phases of the program: {phases}, reported: {sorted(items)}")
    found = {}
    for name in sorted(os.listdir(keep)):
        with open(os.path.join(keep, name), encoding="utf-8") as file:
            lines = file.read().splitlines()
        phase = phase_of(lines)
        if phase is None:
            continue
        if phase in found:
            raise GateError(f"{PREFIX}{phase} was called twice")
        count, unit = items[phase].split()
        found[phase] = {"per": unit, "instructions": round(counted(costs(lines)) / int(count), 2)}
        os.rename(os.path.join(keep, name), os.path.join(keep, f"{phase}.out"))
    if sorted(found) != phases:
        raise GateError(f"phases of the program: {phases}, counted: {sorted(found)}")
    return found


def compare(old, new):
    """A row of the table for each phase, messages of those that fail, and those that became cheaper."""
    rows, failures, hints = [], [], []
    for phase in sorted(set(old) | set(new)):
        before, after = old.get(phase), new.get(phase)
        if before is None or after is None or before["per"] != after["per"]:
            failures.append(f"{phase}: it is {before} in instructions.json and {after} in the program; {UPDATE}")
            continue
        percent = (after["instructions"] / before["instructions"] - 1) * 100
        what = (f"{phase}: {after['instructions']:.2f} instructions a {after['per']}, {before['instructions']:.2f} "
                f"are committed: {percent:+.1f} %")
        if percent > TOLERANCE_PERCENT:
            failures.append(f"{what}, more than {TOLERANCE_PERCENT:.0f} %")
        elif percent < -TOLERANCE_PERCENT:
            hints.append(f"{what}; keep that by {UPDATE}")
        rows.append(f"{phase:<14} {after['per']:<8} {before['instructions']:>12.2f} {after['instructions']:>12.2f} {percent:>+7.1f} %")
    return rows, failures, hints


def compiler():
    return "g++ " + subprocess.run(["g++", "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--update", action="store_true", help="write the figures to tests/gate/instructions.json")
    parser.add_argument("--keep", help="directory for callgrind's output, <phase>.out each")
    options = parser.parse_args()
    keep = options.keep or tempfile.mkdtemp(prefix="forebay-gate-")
    try:
        if options.keep:
            shutil.rmtree(keep, ignore_errors=True)
            os.makedirs(keep)
            keep = os.path.abspath(keep)
        new = run(options.binary, keep)
    finally:
        if not options.keep:
            shutil.rmtree(keep, ignore_errors=True)
    try:
        with open(COMMITTED, encoding="utf-8") as file:
            committed = json.load(file)
    except FileNotFoundError:
        committed = {"compiler": "", "phases": {}}
    rows, failures, hints = compare(committed["phases"], new)
    print(f"{'phase':<14} {'per':<8} {'committed':>12} {'now':>12} {'':>9}")
    print("\n".join(rows))
    if options.update:
        with open(COMMITTED, "w", encoding="utf-8") as file:
            json.dump({"what": f"instructions of the release build, counted by callgrind; written by {UPDATE}",
                       "compiler": compiler(), "phases": dict(sorted(new.items()))}, file, indent=2)
            file.write("\n")
        print(f"written to {os.path.relpath(COMMITTED)}")
        return 0
    for hint in hints:
        print(f"cheaper: {hint}")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if not failures:
        return 0
    if committed["compiler"] != compiler():
        print(f"The committed figures are of {committed['compiler']}, this is {compiler()}.", file=sys.stderr)
    if options.keep:
        print(f"Where they go: callgrind_annotate {options.keep}/<phase>.out", file=sys.stderr)
    print(f"If it is meant: {UPDATE}, and commit tests/gate/instructions.json with the reason.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GateError as error:
        sys.exit(f"instructions: {error}")
