"""`cloister model`: sealed models; a module for each verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "seal": Entry("cloister.cli.model_seal:seal", "Seal a model's folder into an artifact, under a new key."),
    "inspect": Entry("cloister.cli.model_inspect:inspect", "Say which model an artifact holds, by its header."),
    "verify": Entry("cloister.cli.model_verify:verify", "Check an artifact, with its key all of it."),
    "unseal": Entry("cloister.cli.model_unseal:unseal", "Write an artifact's files in the clear, with its key."),
    "sign": Entry("cloister.cli.model_sign:sign", "Sign a model's folder, in OpenSSF's form."),
    "register": Entry("cloister.cli.model_register:register", "Say in the log which digest an owner's model has."),
}
EPILOG: Final = """\b
The model's owner:
  cloister model sign llama/ --key owner.pem             makes llama/model.sig
  cloister model seal llama/ -o llama.sealed             makes llama.sealed/ and llama.sealed.key
  cloister model register llama.sealed --key vendor/sign.seed --signer owner.pub.pem
  cloister secret put llama.sealed.key --asset llama --key vendor/sign.seed --any-version

\b
Whoever has the artifact, and no key:
  cloister model inspect llama.sealed
  cloister model verify llama.sealed --signer owner.pub.pem

An artifact may lie anywhere: names and sizes can be read from it, the weights cannot. Its key goes to a KMS, and from
there to nodes that the contract grants it. docs/formats/sealed-artifact.md says how.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def model() -> None:
    """Models: sign, seal, check, open and register them."""
