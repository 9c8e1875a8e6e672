"""Every check and test that the threat model names is there, and it forgets no check."""

import re
from pathlib import Path

import pytest
from tests.unit.test_catalogue import table

PAGE = Path("docs/threat-model.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "tests/" in line]


def test_every_check_of_the_catalogue_stands_against_some_attack():
    named = {name for row in ROWS for name in re.findall(r"`([a-z]+\.[a-z-]+)`", row)}
    assert named == set(table())


@pytest.mark.parametrize(("section", "least"), [("## Pitfalls of verifiers", 18), ("## What goes wrong", 11)])
def test_every_pitfall_and_fault_is_shown_by_tests_that_are_there(section, least):
    rows = PAGE.partition(section)[2].partition("\n## ")[0].splitlines()
    named_rows = [row for row in rows if row.startswith("| ") and "tests/" in row]
    assert len(named_rows) >= least
    for row in named_rows:
        named = re.findall(r"`(tests/[a-z_/0-9]+\.py)`: ((?:`test_[a-z_0-9]+`(?:, )?)+)", row)
        assert named, row
        for file, tests in named:
            text = Path(file).read_text()
            for test in re.findall(r"`(test_[a-z_0-9]+)`", tests):
                assert f"def {test}(" in text, f"{file} has no {test}"


def test_every_test_named_exists_and_breaks_a_check_of_its_row():
    for row in ROWS:
        for name in re.findall(r"`(tests/[a-z_/]+\.py)`", row):
            assert Path(name).exists(), name
