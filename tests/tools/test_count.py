"""tools/count.py reads what ctest recorded; each case is one ctest test and the counts it must come to."""
import pathlib
import subprocess
import sys
from xml.sax.saxutils import escape

import pytest

COUNT = pathlib.Path(__file__).resolve().parents[2] / "tools/count.py"
CMOCKA = """[==========] Running 3 test(s).
[ RUN      ] a
[       OK ] a
[ RUN      ] b
[  FAILED  ] b
[ RUN      ] c
[  SKIPPED ] c
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] c
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] b

 1 FAILED TEST(S)
"""


def case(output, status="run", inner=""):
    return f'<testcase name="t" status="{status}">{inner}<system-out>{escape(output)}</system-out></testcase>'


def count(tmp_path, *cases, ctest=0):
    file = tmp_path / "tests.xml"
    file.write_text(f'<testsuite name="x">{"".join(cases)}</testsuite>')
    done = subprocess.run([sys.executable, COUNT, file, str(ctest)], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1], done.returncode


@pytest.mark.parametrize("output, expected", [
    ("...\n10 passed in 0.12s\n", "10 passed, 0 failed"),
    ("== 10 passed, 2 skipped, 1 warning in 62.10s (0:01:02) ==\n", "10 passed, 0 failed"),
    ("[  PASSED  ] 2 test(s).\nmore\n[  PASSED  ] 3 test(s).\n", "5 passed, 0 failed"),
    ("1..2\nok 1 - a\nok 2 - b\n", "2 passed, 0 failed"),
    ("12 passed, 0 failed\n", "12 passed, 0 failed"),
    ("says nothing of 3 passed things\n", "1 passed, 0 failed"),
])
def test_counts_what_a_good_program_printed(tmp_path, output, expected):
    assert count(tmp_path, case(output)) == (expected, 0)


@pytest.mark.parametrize("output, expected", [
    ("== 1 failed, 10 passed, 2 errors in 1.00s ==\n", "10 passed, 3 failed"),
    (CMOCKA, "1 passed, 1 failed"),
    ("ok 1 - a\nnot ok 2 - b\n", "1 passed, 1 failed"),
    ("3 passed, 4 failed\n", "3 passed, 4 failed"),
    ("5 passed in 1.00s\nleaked\n", "5 passed, 1 failed"),
    ("", "0 passed, 1 failed"),
])
def test_counts_what_a_failed_program_printed(tmp_path, output, expected):
    assert count(tmp_path, case(output, "fail"), ctest=8) == (expected, 1)


def test_failures_that_a_program_hides_behind_its_exit_code_still_fail(tmp_path):
    assert count(tmp_path, case("2 passed, 1 failed\n")) == ("2 passed, 1 failed", 1)


def test_a_program_that_skips_itself_is_no_failure(tmp_path):
    skipped = case("", "notrun", '<skipped message="SKIP_RETURN_CODE=77"/>')
    assert count(tmp_path, skipped, case("1 passed, 0 failed\n")) == ("1 passed, 0 failed", 0)


def test_a_program_that_is_missing_fails(tmp_path):
    missing = case("", "notrun", '<skipped message="Unable to find executable"/>')
    assert count(tmp_path, missing, ctest=8) == ("0 passed, 1 failed", 1)


def test_nothing_run_is_a_failure(tmp_path):
    assert count(tmp_path) == ("0 passed, 0 failed", 1)


def test_a_file_without_results_is_a_failure(tmp_path):
    done = subprocess.run([sys.executable, COUNT, tmp_path / "none.xml", "1"], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed"
    assert done.returncode == 1
