"""Whose signature the model of a receipt has: OpenSSF's form, by a key that the reader names, over the digest in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.model_options import FILE, read_public_key, read_signature
from cloister.cli.receipt_models import Model
from cloister.crypto.elliptic_key import EllipticPublicKey
from cloister.errors import UsageError
from cloister.examination import Examination, Steps
from cloister.formats.model_manifest import ModelManifest
from cloister.sealing.refusal import ArtifactRefused
from cloister.sealing.signature import SIGNATURE_STEPS, examine_signed


@dataclass(frozen=True, slots=True)
class GivenSignature:
    """A model's signature, unchecked, and who should have made it."""

    bundle: bytes
    signer: EllipticPublicKey

    def examined(self, models: tuple[Model, ...]) -> Examination[ModelManifest]:
        """Hold it against the models that answered.

        Raises:
            TooLarge, MalformedInput: it is no signature by a key.
        """
        return examine_signed([bytes.fromhex(model.sha256) for model in models], self.bundle, self.signer)


def not_reached() -> Examination[ModelManifest]:
    """Where the receipt itself does not hold: of what it names nothing is proved."""
    reached: Examination[ModelManifest] = Steps(SIGNATURE_STEPS, ArtifactRefused).stopped()
    return reached


def signature_options(command: Any) -> Any:
    """The options `--model-signature` and `--model-signer`."""
    signature = click.option(
        "--model-signature", type=FILE, metavar="FILE", help="The signature (model.sig) of the model that answered."
    )
    signer = click.option(
        "--model-signer", type=FILE, metavar="FILE", help="The public key, PEM, of who should have signed that model."
    )
    return signature(signer(command))


def given_signature(model_signature: Path | None, model_signer: Path | None) -> GivenSignature | None:
    """What the options name.

    Raises:
        UsageError: one without the other, or a file cannot be read.
        MalformedInput: the key is none.
    """
    if model_signature is None and model_signer is None:
        return None
    if model_signature is None or model_signer is None:
        raise UsageError("--model-signature and --model-signer go together: a signature, and the key it should be by")
    return GivenSignature(read_signature(model_signature), read_public_key(model_signer))
