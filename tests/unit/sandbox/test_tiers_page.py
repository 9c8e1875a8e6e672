"""The table of what each tier denies is what the escape suite expects of it."""

from pathlib import Path

from cloister.formats.contract import TIERS
from cloister.sandbox.escapes.suite import attempts

PAGE = Path(__file__).parents[3] / "docs" / "sandbox.md"
HEAD = "| attempt | `contents` | `namespaces` to `signals` | `kernel` |"


def test_the_page_lists_every_attempt_that_some_tier_does_not_deny_and_no_other():
    lines = PAGE.read_text().partition(HEAD)[2].splitlines()[2:]
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *marks = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = marks
    expected = {
        attempt.name: [
            "stopped" if TIERS.index(tier) >= TIERS.index(attempt.denied_from) else "works"
            for tier in ("contents", "namespaces", "kernel")
        ]
        for attempt in attempts()
        if attempt.denied_from != TIERS[0]
    }
    assert rows == expected
    assert all(attempt.denied_from in ("contents", "namespaces", "kernel") for attempt in attempts())
