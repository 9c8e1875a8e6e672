"""`cloister endorsements`: what vendors say of their hardware, in a store. Each verb is imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "fetch": Entry("cloister.cli.endorsements_fetch:fetch", "Fetch what evidence needs; write it into a bundle."),
    "import": Entry("cloister.cli.endorsements_import:import_", "Take a bundle into the store, all of it examined."),
    "list": Entry("cloister.cli.endorsements_list:list_", "List what the store has, and until when it counts."),
    "expire": Entry("cloister.cli.endorsements_list:expire", "Warn ahead of what will end, and of what has."),
}
EPILOG: Final = """\b
Across an air gap:
  cloister endorsements fetch --for evidence.bin --out endorsements.bundle     where there is a network
  cloister endorsements import endorsements.bundle                             where there is none
  cloister endorsements expire --within 14d                                    there, every day

Evidence of hardware is judged with what AMD, Intel and NVIDIA say of it: certificates, revocation lists, TCB
information, manifests. The store keeps the newest of each that was seen, examined when it comes in; nothing is used
past its end. docs/howto/endorsements.md has all of it step by step.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def endorsements() -> None:
    """What vendors say of their hardware, fetched, carried across an air gap, and kept."""
