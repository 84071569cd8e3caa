#!/usr/bin/env python3
"""Runs clang-tidy on the sources of lib/ and cmd/ within a time bound, what has changed first.

A file that was clean is not checked again until it, a project header that it includes (also indirectly),
or .clang-tidy changes: its digest is kept below the build folder. Prints a line per problem, then
`clang-tidy: N checked, N clean before, N not reached, N with problems`. Standard library only.
"""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
JOBS = 2


class Digests:
    """Digest of a file and all project headers that it includes."""

    def __init__(self):
        self.closures = {}

    def closure(self, path):
        seen, pending = set(), [path]
        while pending:
            current = pending.pop()
            if current in seen or not current.is_file():
                continue
            seen.add(current)
            if current not in self.closures:
                names = INCLUDE.findall(current.read_text(errors="replace"))
                self.closures[current] = [
                    folder / name for name in names for folder in (ROOT / "lib", current.parent)
                ]
            pending.extend(self.closures[current])
        return sorted(seen)

    def of(self, path, command):
        digest = hashlib.sha256(command.encode())
        for part in [ROOT / ".clang-tidy", *self.closure(path)]:
            digest.update(hashlib.sha256(part.read_bytes()).digest())
        return digest.hexdigest()


def changed_files():
    """Files that differ from the main branch, or in the working tree; none when git is not there."""
    names = set()
    for arguments in (["diff", "--name-only", "origin/main...HEAD"], ["diff", "--name-only", "HEAD"],
                      ["ls-files", "--others", "--exclude-standard"]):
        result = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        if result.returncode == 0:
            names.update(result.stdout.split())
    return {ROOT / name for name in names}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="folder with compile_commands.json")
    parser.add_argument("--seconds", type=float, default=240, help="start no file after this time")
    parser.add_argument("files", nargs="*", help="only these sources")
    options = parser.parse_args()
    build = pathlib.Path(options.build).resolve()
    commands = json.loads((build / "compile_commands.json").read_text())
    wanted = {pathlib.Path(name).resolve() for name in options.files}
    sources = {}
    for entry in commands:
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(ROOT / "lib") or path.is_relative_to(ROOT / "cmd"):
            if path.is_file() and (not wanted or path in wanted):
                sources[path] = entry.get("command", "")
    cache = build / "clang-tidy-clean"
    cache.mkdir(exist_ok=True)
    digests = Digests()
    changed = changed_files()

    def touches_change(path):
        return path in changed or not changed.isdisjoint(digests.closure(path))

    # Smaller steps: what a change touches, then the rest by name.
    order = sorted(sources, key=lambda path: (not touches_change(path), path))
    keys = {path: digests.of(path, sources[path]) for path in order}
    todo = [path for path in order if not (cache / keys[path]).exists()]
    deadline = time.monotonic() + options.seconds

    def check(path):
        if time.monotonic() > deadline:
            return path, None, ""
        result = subprocess.run(["clang-tidy-14", "--quiet", "-p", str(build), str(path)],
                                capture_output=True, text=True)
        return path, result.returncode, result.stdout + result.stderr

    checked = bad = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for path, status, output in pool.map(check, todo):
            if status is None:
                skipped += 1
                continue
            checked += 1
            if status == 0:
                (cache / keys[path]).touch()
            else:
                bad += 1
                output = re.sub(r"^\d+ warnings? .*\n|^Suppressed .*\n|^Use -header-filter.*\n", "", output, flags=re.M)
                print(output.replace(f"{ROOT}/", ""), flush=True)
    print(f"clang-tidy: {checked} checked, {len(order) - len(todo)} clean before, "
          f"{skipped} not reached in {options.seconds:.0f} s, {bad} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
