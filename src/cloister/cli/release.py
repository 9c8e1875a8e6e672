"""`cloister release`: what a KMS let out, by the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "list": Entry("cloister.cli.release_list:list_", "Say which keys and assets went to which nodes, by the log."),
}


@click.group(cls=Verbs, verbs=VERBS)
def release() -> None:
    """Releases: every key and asset that a KMS let out, to whom, and what it was allowed by."""
