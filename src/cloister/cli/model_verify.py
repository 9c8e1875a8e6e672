"""`cloister model verify`: what can be checked of an artifact or a plain folder, with what the caller has."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option
from cloister.cli.model_options import FILE, FOLDER, ModelProgress, name_option, named, read_public_key, read_signature
from cloister.cli.terminal import say, say_json
from cloister.errors import UsageError
from cloister.formats.model_manifest import ModelManifest
from cloister.formats.sealed_artifact import HEADER_FILE, SIGNATURE_FILE, UNFINISHED_FILE
from cloister.sealing.artifact import open_artifact
from cloister.sealing.hashing import manifest_of
from cloister.sealing.plain_folder import read_folder, signature_in
from cloister.sealing.seal import model_name
from cloister.sealing.signature import require_signed
from cloister.storage.key_file import read_model_key

EPILOG = """\b
Examples:
  cloister model verify llama.sealed                                 lengths and header, as far as no key is needed
  cloister model verify llama.sealed --signer owner.pub.pem          and who signed the model that it claims to be
  cloister model verify llama.sealed --key llama.sealed.key          and every byte, opened and kept nowhere
  cloister model verify llama/ --signer owner.pub.pem                the plain folder, every byte

Exit code 3 names the check that failed. What was not checked, for want of a key or a signer, is said.
"""


@click.command(epilog=EPILOG)
@click.argument("path", metavar="MODEL", type=FOLDER)
@click.option("--key", type=FILE, metavar="FILE", help="The artifact's key, mode 600.")
@click.option("--signer", type=FILE, metavar="FILE", help="The public key, PEM, of who should have signed the model.")
@click.option("--signature", type=FILE, metavar="FILE", help="The signature.  [default: model.sig in MODEL]")
@name_option
@json_option
def verify(
    path: Path, key: Path | None, signer: Path | None, signature: Path | None, name: str | None, *, as_json: bool
) -> None:
    """Check MODEL: an artifact, or a plain folder."""
    is_sealed = (path / HEADER_FILE).exists() or (path / UNFINISHED_FILE).exists()
    if not is_sealed and (key is not None or signer is None):
        raise UsageError(f"{path} is no artifact: a plain folder is checked with --signer, against its signature")
    checked = [] if is_sealed else ["every byte"]
    manifest = _sealed(path, key, checked, hidden=as_json) if is_sealed else _plain(path, name, hidden=as_json)
    if signer is not None:
        require_signed(manifest, _signature(path, signature), read_public_key(signer))
        checked.append("the signature")
    lacks = ["every byte"] if "every byte" not in checked else []
    lacks += [] if signer is not None else ["who signed it"]
    digest = manifest.digest().hex()
    if as_json:
        say_json({"name": manifest.name, "digest": digest, "checked": checked, "not_checked": lacks})
        return
    say(f"{path}: {manifest.name}, {len(manifest.files)} files, {manifest.size:,} bytes")
    say(f"digest {digest}")
    say(f"checked: {', '.join(checked)}")
    if lacks:
        say(f"not checked: {', '.join(lacks)}")


def _signature(model: Path, given: Path | None) -> bytes:
    """The signature to check: the one given, or the model's own."""
    if given is not None:
        return read_signature(given)
    if (own := signature_in(model)) is None:
        raise UsageError(f"{model} has no {SIGNATURE_FILE}: name the signature with --signature FILE")
    return own


def _sealed(path: Path, key: Path | None, checked: list[str], *, hidden: bool) -> ModelManifest:
    artifact = open_artifact(path)
    checked.append("the lengths of all files")
    if key is not None:
        source = artifact.source(read_model_key(key))
        with ModelProgress("opening", hidden=hidden).showing() as progress:
            progress.begun(artifact.manifest.size, 0)
            source.check(progress.advanced)
        checked += ["the header", "every byte"]
    return artifact.manifest


def _plain(path: Path, name: str | None, *, hidden: bool) -> ModelManifest:
    folder = read_folder(path)
    with ModelProgress("hashing", hidden=hidden).showing() as progress:
        progress.begun(folder.size, 0)
        return manifest_of(folder, model_name(named(path, name)), progress.advanced)
