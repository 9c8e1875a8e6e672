"""Every test and check that the page on faults names is there, and each row says all that an operator needs."""

import re
from pathlib import Path

from tests.unit.test_catalogue import table

PAGE = Path("docs/faults.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "tests/" in line]


def test_every_row_names_a_test_that_exists():
    assert len(ROWS) > 20
    for row in ROWS:
        names = re.findall(r"`(tests/[a-z_/]+\.py)`", row[-1])
        assert names, row
        for name in names:
            assert Path(name).exists(), name


def test_every_row_says_what_goes_on_what_the_client_sees_and_what_the_operator_does():
    for row in ROWS:
        assert len(row) == 5, row
        assert all(row), row


def test_every_check_that_is_named_is_in_the_catalogue():
    named = set(re.findall(r"`([a-z]+\.[a-z-]+)`", PAGE))
    assert named <= set(table()), named - set(table())
    assert {"checkpoint.age", "epoch.window"} <= named
