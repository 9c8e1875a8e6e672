"""`cloister evidence`: what hardware says of itself. Each verb is a module of its own, imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "show": Entry("cloister.cli.evidence_show:show", "Say what a file of evidence says; nothing of it is checked."),
    "verify": Entry("cloister.cli.evidence_verify:verify", "Verify evidence against an appraisal policy, offline."),
    "collect": Entry("cloister.cli.evidence_collect:collect", "Collect the evidence of this machine's TEE."),
}


@click.group(cls=Verbs, verbs=VERBS)
def evidence() -> None:
    """Evidence of hardware: what a TEE says of itself."""
