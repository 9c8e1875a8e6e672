"""Make docs/formats/checks.md from the table of checks and the tests marked `breaks`; by itself, say if it is old."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PAGE = Path("docs/formats/checks.md")
TABLE = Path("src/cloister/checks.toml")
HEAD = """# The check catalogue

Every step that a client, a KMS or a gateway performs, by its stable id. Each has tests that break that link alone and
expect this id's refusal and no other. Made by `make docs` from `src/cloister/checks.toml` and the tests; the tests hold
this page against both. `evidence.*` is examined by the client (of the KMS), by the gateway (likewise), by the KMS (of a
node, and of itself when it starts); the orders are `trust.bundle.BUNDLE_STEPS`, `contract.release.RELEASE_STEPS` and
`PUBLICATION_STEPS`, `contract.handover.HANDOVER_STEPS`, `LOGGED_HANDOVER_STEPS` and `HANDED_STEPS`,
`contract.replay.REPLAY_STEPS`, `trust.release_reply.REPLY_STEPS` (a gateway's) and
`trust.receipt.RECEIPT_STEPS`; `section.*`, `contract.sections.SECTION_STEPS`, is a node's;
`artifact.*`, `sealing.artifact.ARTIFACT_STEPS` and `sealing.signature.SIGNATURE_STEPS`, whoever's opens a sealed model;
`imported.*`, `trust.hyper_protect.HYPER_PROTECT_STEPS`, is whoever's imports IBM's contracts; `token.*`,
`attest.result.TOKEN_STEPS`, is whoever's relies on a verifier, and
`attestation.*`, `attest.request.ATTESTATION_STEPS`, the verifier's before it judges evidence; whoever reads the log by
itself performs `ledger.proofs.PROOF_STEPS` and `ledger.mirror.MIRROR_STEPS`. A machine's deployment API performs
`services.deployment.examination.MANIFEST_STEPS`, and an operator's command line `manifest.workload` before.

| check | when it passed | guards against | broken alone by |
|---|---|---|---|
"""


class Marks:
    """Collects, for each check, the tests marked as breaking it."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Called once by pytest with every test found."""
        self.take(session.items)

    def take(self, items: Iterable[pytest.Item]) -> None:
        """Tests that were collected."""
        for item in items:
            for mark in item.iter_markers("breaks"):
                self.tests.setdefault(mark.args[0], []).append(item.nodeid)


def checks(table: dict[str, object], prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """The table's rows in its order."""
    for name, value in table.items():
        if isinstance(value, dict) and "says" in value:
            yield prefix + name, value
        elif isinstance(value, dict):
            yield from checks(value, f"{prefix}{name}.")


def row(check: str, texts: dict[str, str], tests: list[str]) -> str:
    """One line of the page: the first test of each file, and how many more there are."""
    files: dict[str, list[str]] = {}
    for test in tests:
        file, _, name = test.partition("::")
        files.setdefault(Path(file).name, []).append(
            name.partition("[")[2].rstrip("]").removeprefix(f"{check}-") or name
        )
    named = "; ".join(
        f"`{file}`: {', '.join(name.replace('_', ' ') for name in names)}" for file, names in files.items()
    )
    return f"| `{check}` | {texts['says']} | {texts['guards']} | {named} |\n"


def collected() -> Marks:
    """Those of all unit tests.

    Raises:
        SystemExit: they cannot be collected.
    """
    marks = Marks()
    arguments = ["--collect-only", "-qq", "-p", "no:cacheprovider", "--no-header", "tests/unit"]
    if pytest.main(arguments, plugins=[marks]) not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit("the tests could not be collected")
    return marks


def page(marks: Marks) -> str:
    """The whole page.

    Raises:
        SystemExit: a check without a test, or a test for a check that is not in the table.
    """
    table = dict(checks(tomllib.loads(TABLE.read_text())))
    bare, unknown = sorted(table.keys() - marks.tests.keys()), sorted(marks.tests.keys() - table.keys())
    if bare or unknown:
        raise SystemExit(f"checks without a test: {bare}; tests of checks that are not in {TABLE}: {unknown}")
    return HEAD + "".join(row(check, texts, marks.tests[check]) for check, texts in table.items())


def main() -> None:
    """Write the page, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    made = page(collected())
    if parser.parse_args().write:
        PAGE.write_text(made)
    else:
        compare(made)


def compare(made: str) -> None:
    """Hold the page against what it should be.

    Raises:
        SystemExit: it is older.
    """
    if not PAGE.exists() or PAGE.read_text() != made:
        sys.exit(f"{PAGE} is not what the table and the tests say: run `make docs`")


if __name__ == "__main__":
    main()
