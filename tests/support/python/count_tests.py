"""Prints `PASSED FAILED` of JUnit files written by ctest and pytest.

ctest knows one case per binary; where its output holds the summary of Catch2 or unittest, their cases
are counted instead. Standard library only.
"""

import re
import sys
import xml.etree.ElementTree

CATCH_ALL = re.compile(r"All tests passed \(.* in (\d+) test cases?\)")
CATCH_SOME = re.compile(r"^test cases:\s*(\d+)(.*)$", re.M)
UNITTEST = re.compile(r"^Ran (\d+) tests? in", re.M)


def inner_counts(output):
    match = CATCH_ALL.search(output)
    if match:
        return int(match.group(1)), 0
    match = CATCH_SOME.search(output)
    if match:
        failed = re.search(r"(\d+) failed", match.group(2))
        passed = re.search(r"(\d+) passed", match.group(2))
        return int(passed.group(1)) if passed else 0, int(failed.group(1)) if failed else 0
    match = UNITTEST.search(output)
    if match:
        failed = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", output))
        return int(match.group(1)) - failed, failed
    return None


def counts(path):
    passed = failed = 0
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            # ctest marks a test whose program was not built this way: that is no pass.
            failed += case.get("status") == "notrun"
            continue
        bad = case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail"
        inner = inner_counts(case.findtext("system-out") or "") if case.get("status") else None
        if inner is None:
            passed, failed = passed + (not bad), failed + bad
        else:
            # A binary that died after its summary, or of a sanitizer's report, is one failure more.
            passed, failed = passed + inner[0], failed + inner[1] + (1 if bad and inner[1] == 0 else 0)
    return passed, failed


def main():
    passed = failed = 0
    for path in sys.argv[1:]:
        more = counts(path)
        passed, failed = passed + more[0], failed + more[1]
    print(passed, failed)


if __name__ == "__main__":
    main()
