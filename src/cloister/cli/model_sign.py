"""`cloister model sign`: a model's folder is signed in OpenSSF's form, as `model-signing` signs and verifies."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option
from cloister.cli.model_options import FILE, FOLDER, ModelProgress, name_option, named, read_private_key
from cloister.cli.terminal import say, say_json
from cloister.client.durable import replace_file
from cloister.formats.sealed_artifact import SIGNATURE_FILE
from cloister.sealing.hashing import manifest_of
from cloister.sealing.plain_folder import read_folder
from cloister.sealing.seal import model_name
from cloister.sealing.signature import sign_model

EPILOG = """\b
Examples:
  openssl ecparam -name prime256v1 -genkey -noout -out owner.pem; chmod 600 owner.pem
  openssl ec -in owner.pem -pubout -out owner.pub.pem
  cloister model sign llama/ --key owner.pem
  cloister model verify llama/ --signer owner.pub.pem

The signature is a Sigstore bundle (DSSE over an in-toto statement) of the digests of every 64 MiB of every file, so
that it can be checked over the folder and, by the manifest, over what it was sealed into. OpenSSF's model-signing
checks it too, by model_signing.verifying.Config().use_elliptic_key_verifier(public_key=...).verify(DIR, signature);
its command line takes signatures over whole files alone. No signature of this form speaks of empty files: a model
that has one is refused. The name is signed too: who verifies a folder that was renamed says --name.
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--key", required=True, type=FILE, metavar="FILE", help="A key on P-256 or P-384, PEM, mode 600.")
@click.option("-o", "--out", type=FILE, metavar="FILE", help="The signature.  [default: DIR/model.sig]")
@name_option
@json_option
def sign(folder: Path, key: Path, out: Path | None, name: str | None, *, as_json: bool) -> None:
    """Sign every file of the model in DIR."""
    signer = read_private_key(key)
    called, plain = model_name(named(folder, name)), read_folder(folder)
    with ModelProgress("hashing", hidden=as_json).showing() as progress:
        progress.begun(plain.size, 0)
        manifest = manifest_of(plain, called, progress.advanced)
    target = folder / SIGNATURE_FILE if out is None else out
    ignored = sorted({SIGNATURE_FILE, *plain.left_out})
    replace_file(target, sign_model(manifest, signer, ignored=ignored))
    digest, by = manifest.digest().hex(), signer.public.fingerprint.hex()
    if as_json:
        say_json({"signature": str(target), "name": manifest.name, "digest": digest, "signer": by})
    else:
        say(f"{target}: {manifest.name}, {len(manifest.files)} files, {manifest.size:,} bytes")
        say(f"digest {digest}")
        say(f"signed by {by}")
