"""`cloister node`: what an attested node gets beside keys, for the programs that run in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "identity": Entry("cloister.cli.node_identity:identity", "Keep a certificate for programs of your own.", node=True),
    "reference": Entry("cloister.cli.node_reference:reference", "Print what a contract names it by.", node=True),
    "show": Entry("cloister.cli.node_show:show", "Say what a certificate says, of a file or a server."),
    "verify": Entry("cloister.cli.node_verify:verify", "Examine a certificate against the ledger, step by step."),
}


@click.group(cls=Verbs, verbs=VERBS)
def node() -> None:
    """Nodes: short-lived certificates of attested nodes, for everything that speaks TLS."""
