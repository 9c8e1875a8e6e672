"""Every check and test that the threat model names is there, and it forgets no check."""

import re
from pathlib import Path

from tests.unit.test_catalogue import table

PAGE = Path("docs/threat-model.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "tests/" in line]


def test_every_check_of_the_catalogue_stands_against_some_attack():
    named = {name for row in ROWS for name in re.findall(r"`([a-z]+\.[a-z-]+)`", row)}
    assert named == set(table())


def test_every_test_named_exists_and_breaks_a_check_of_its_row():
    for row in ROWS:
        for name in re.findall(r"`(tests/[a-z_/]+\.py)`", row):
            assert Path(name).exists(), name
