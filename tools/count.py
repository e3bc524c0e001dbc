"""count.py - adds up the test cases behind a ctest run.

usage: count.py RESULTS.xml CTEST_EXIT_CODE

One ctest test is a whole program with many cases. How many it ran is read from its output, in any of these forms:
  pytest's last line       "3 failed, 10 passed, 1 skipped in 2.10s" (errors count as failed)
  cmocka's summary         "[  PASSED  ] 4 test(s)." and "[  FAILED  ] 1 test(s), listed below:", once per group
  TAP                      "ok 1 - name", "not ok 2 - name"
  a line of its own        "12 passed, 0 failed"
A program that says nothing is one case. A program that ctest calls failed has at least one failed case, whatever it printed:
it may have crashed, run out of time or leaked. Prints failed programs, then "N passed, N failed"; exits 1 unless all is well.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

ANSI = re.compile(r"\x1b\[[0-9;]*m")
OWN = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
PYTEST = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s(?: \([\d:]+\))?(?: =+)?$", re.M)
CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] (?:[^:\n]*: )?(\d+) test", re.M)
CMOCKA_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) test", re.M)
TAP_PASSED = re.compile(r"^ok \d+", re.M)
TAP_FAILED = re.compile(r"^not ok \d+", re.M)


def count_pytest(line):
    words = dict((word, int(number)) for number, word in re.findall(r"(\d+) ([a-z]+)", line))
    failed = words.get("failed", 0) + words.get("error", 0) + words.get("errors", 0)
    skipped = words.get("skipped", 0) + words.get("deselected", 0)
    return words.get("passed", 0) + words.get("xfailed", 0), failed, skipped


def count_output(text):
    """(passed, failed, skipped) as one program printed it; all zero when it printed no count."""
    text = ANSI.sub("", text)
    own, pytest = OWN.findall(text), PYTEST.findall(text)
    if own:
        return int(own[-1][0]), int(own[-1][1]), 0
    if pytest:
        return count_pytest(pytest[-1])
    passed = sum(map(int, CMOCKA_PASSED.findall(text))) + len(TAP_PASSED.findall(text))
    failed = sum(map(int, CMOCKA_FAILED.findall(text))) + len(TAP_FAILED.findall(text))
    return passed, failed, sum(map(int, CMOCKA_SKIPPED.findall(text)))


def skipped_by_itself(case):
    """ctest also says skipped where the program is missing or a fixture failed; those count as failed."""
    skipped = case.find("skipped")
    return skipped is not None and skipped.get("message", "").startswith("SKIP_")


def count_case(case):
    """(passed, failed, skipped) of one ctest test."""
    status = case.get("status")
    if status == "disabled" or skipped_by_itself(case):
        return 0, 0, 1
    passed, failed, skipped = count_output(case.findtext("system-out") or "")
    if status != "run":
        return passed, max(failed, 1), skipped
    if not passed and not failed and not skipped:
        passed = 1
    return passed, failed, skipped


def read_cases(path):
    """ctest escapes what XML forbids, but a file that a killed ctest left half written is no results at all."""
    try:
        return ElementTree.parse(path).getroot().findall("testcase")
    except (OSError, ElementTree.ParseError) as error:
        print(f"no test results: {error}")
        return []


def main():
    path, status = sys.argv[1], int(sys.argv[2])
    total = [0, 0, 0]
    for case in read_cases(path):
        counts = count_case(case)
        total = [sum(pair) for pair in zip(total, counts)]
        if counts[1]:
            print(f"failed: {case.get('name')} ({counts[1]} of {counts[0] + counts[1]})")
    passed, failed, skipped = total
    if skipped:
        print(f"skipped: {skipped}")
    if status and not failed:
        print(f"ctest ended with {status}")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed and not status else 1


if __name__ == "__main__":
    sys.exit(main())
