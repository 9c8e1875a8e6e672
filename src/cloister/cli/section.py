"""`cloister section`: what each persona alone gives a task; a module for each verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "new": Entry("cloister.cli.section_new:new", "Write a section to begin from."),
    "show": Entry("cloister.cli.section_show:show", "Check a section, or a sealed one; say what is in it, no values."),
    "seal": Entry("cloister.cli.section_seal:seal", "Seal a section to the examined KMS, into a file to carry."),
    "submit": Entry("cloister.cli.section_seal:submit", "Log sealed sections."),
    "import": Entry("cloister.cli.section_exchange:import_", "Read a signed contract of IBM Hyper Protect's."),
    "export": Entry("cloister.cli.section_exchange:export", "Write sections in IBM Hyper Protect's form."),
}
EPILOG: Final = """\b
Each persona on its own machine:
  cloister section new workload --persona "Models Ltd" --out workload.toml       and fill it in
  cloister section seal workload.toml --key vendor/sign.seed                     makes workload.sealed

\b
And whoever can reach the ledger:
  cloister section submit workload.sealed environment.sealed

A section leaves its persona's machine only encrypted to a KMS whose whole chain was examined. Who carries a sealed one
cannot read it, and cannot use it for another contract, task, number or code. docs/formats/section.md says how.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def section() -> None:
    """Sections: the workload's, the environment's and each party's secrets, apart from each other."""
