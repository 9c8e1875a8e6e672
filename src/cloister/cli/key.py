"""`cloister key`: the keys of a contract line, by the log: which there are, another, out of use, back from shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "list": Entry("cloister.cli.key_list:list_", "Say which keys a contract has, and who holds shares."),
    "rotate": Entry("cloister.cli.key_change:rotate", "Ask for another root secret."),
    "retire": Entry("cloister.cli.key_change:retire", "Take a root secret, and those before it, out of use."),
    "recover": Entry("cloister.cli.key_recover:recover", "Give a custodian's share to a KMS that was examined."),
}
EPILOG: Final = """\b
When every KMS that held the root secret is lost:
  cloister key list                                  which root it is, and whose shares bring it back
  cloister key recover --custodian Bank --seal bank/seal.key --key bank/sign.seed     each custodian, on its machine

docs/howto/secrets-and-recovery.md walks through it; docs/formats/custody.md says what stands in the log.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def key() -> None:
    """Keys of a contract: transport keys and root secrets, as the log has them. None is ever shown."""
