"""`cloister model register`: an owner says in the log which digest its model has."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.line_access import LineAccess, line_access
from cloister.cli.model_options import FILE, FOLDER, read_public_key
from cloister.errors import UsageError
from cloister.formats.model_registration import ModelRegistration
from cloister.formats.sealed_artifact import SIGNATURE_FILE
from cloister.ledger.statements import sign_statement
from cloister.sealing.artifact import Artifact, open_artifact
from cloister.sealing.plain_folder import signature_in
from cloister.sealing.signature import require_signed
from cloister.storage.key_file import read_signing_key

EPILOG = """\b
Examples:
  cloister model register llama.sealed --key vendor/sign.seed --signer owner.pub.pem
  cloister ledger audit                                              shows it, with all that is in the log

ARTIFACT is only read in the clear: no key of it is needed. What is logged is the model's name, its digest, and the
digest of ARTIFACT/model.sig where there is one: a signature is logged only if it is by the key of --signer, and over
this model. It counts if --key is of a model owner of the contract in force, and
the digest is not registered yet; exit code 3 names the rule otherwise. A revocation of the entry takes it back:
  cloister contract revoke CONTRACT --target ENTRY --reason "leaked" --key vendor/sign.seed
"""


@click.command(epilog=EPILOG)
@click.argument("artifact", metavar="ARTIFACT", type=FOLDER)
@click.option("--signer", type=FILE, metavar="FILE", help="The public key, PEM, of who signed the model.")
@key_option
@json_option
@line_access
def register(artifact: Path, line: LineAccess, *, signer: Path | None, key: Path, as_json: bool) -> None:
    """Log for its owner that the model in ARTIFACT has its digest."""
    owner, found = read_signing_key(key), open_artifact(artifact)
    signature = _signature(found, signer)
    made = ModelRegistration(contract=line.digest, name=found.manifest.name, model=found.digest, signature=signature)
    who = "with no signature of it" if signer is None else f"signed by {read_public_key(signer).fingerprint.hex()}"
    effect = f"{made.name} is registered, digest {made.model.hex()}, {who}"
    line.log(sign_statement("model", made, (owner,)), effect, as_json=as_json)


def _signature(artifact: Artifact, signer: Path | None) -> bytes:
    """The digest of its signature, which is by the signer; nothing where there is none, and none was asked for.

    Raises:
        UsageError: one of the two is missing, or cannot be read.
        TooLarge, MalformedInput: the signature or the key is none.
        ArtifactRefused: artifact.signature, or artifact.signed.
    """
    if signer is None:
        place = artifact.place / SIGNATURE_FILE
        if os.path.lexists(place):
            raise UsageError(f"{place} is there: name the key of who signed it, --signer FILE, or remove it first")
        return b""
    data = signature_in(artifact.place)
    if data is None:
        raise UsageError(f"{artifact.place} has no {SIGNATURE_FILE}: sign its folder (cloister model sign) and seal it")
    require_signed(artifact.manifest, data, read_public_key(signer))
    return hashlib.sha256(data).digest()
