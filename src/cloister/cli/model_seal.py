"""`cloister model seal`: a folder becomes an artifact, under a key that is drawn here and kept by its owner."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from cloister.cli.contract_log import json_option
from cloister.cli.model_options import FILE, FOLDER, ModelProgress, name_option, named
from cloister.cli.terminal import say, say_json
from cloister.crypto.sealed_stream import KEY_SIZE
from cloister.errors import UsageError
from cloister.sealing.plain_folder import read_folder
from cloister.sealing.seal import is_begun, model_name, require_elsewhere, seal_folder
from cloister.secret import SecretBytes
from cloister.storage.key_file import read_model_key, write_secret

EPILOG = """\b
Examples:
  cloister model seal llama/ -o llama.sealed                        and the key in llama.sealed.key
  cloister model seal llama/ -o /mnt/bucket/llama --key-out /safe/llama.key --name "llama 8b v2"

Was it interrupted, run it once more as before: files that are whole stay, and the one that it was at is sealed anew.
Hidden files are left out. A symbolic link, a pipe, a device or a name that leads elsewhere is refused, by its name. A
signature in the folder (model.sig) goes into the artifact as it is.

The key file is the only way to open the artifact: keep it where the weights would be safe, and give it into custody
with cloister secret put. It is made for its owner alone (mode 600), and never a second time for another artifact.
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("-o", "--out", required=True, type=FOLDER, metavar="ARTIFACT", help="The folder to make.")
@click.option("--key-out", type=FILE, metavar="FILE", help="The key to make.  [default: ARTIFACT.key]")
@name_option
@json_option
def seal(folder: Path, out: Path, key_out: Path | None, name: str | None, *, as_json: bool) -> None:
    """Seal every file of the model in DIR into ARTIFACT."""
    place = _key_beside(out) if key_out is None else key_out
    called = model_name(named(folder, name))
    plain = read_folder(folder)
    require_elsewhere(folder, out)
    require_elsewhere(folder, place)
    key = _key(place, begun=is_begun(out))
    with ModelProgress("sealing", hidden=as_json).showing() as progress:
        manifest = seal_folder(folder, out, name=called, key=key, progress=progress)
    digest = manifest.digest().hex()
    if as_json:
        said = {"artifact": str(out), "key": str(place), "name": manifest.name, "digest": digest}
        say_json(said | {"files": len(manifest.files), "bytes": manifest.size, "left_out": plain.left_out})
        return
    say(f"{out}: {manifest.name}, {len(manifest.files)} files, {manifest.size:,} bytes")
    say(f"digest {digest}")
    if plain.left_out:
        say(f"left out: {', '.join(plain.left_out)}")
    say(f"The key is in {place}; nothing else opens it.")


def _key_beside(out: Path) -> Path:
    """ARTIFACT.key, in the words by which ARTIFACT was named, if they say its name (`.` does not)."""
    told = out if out.name else out.absolute()
    if not told.name:
        raise UsageError(f"{out} is no place for an artifact: name a folder to make")
    return told.with_name(f"{told.name}.key")


def _key(place: Path, *, begun: bool) -> SecretBytes:
    """The key of an artifact that was begun, or a new one, on disk before anything is sealed under it."""
    if begun:
        return read_model_key(place)
    if place.exists():
        raise UsageError(
            f"the key file {place} is there already, and may be of another artifact: name another with --key-out; or"
            " remove it, if a run that made it ended before there was anything of the artifact"
        )
    key = SecretBytes(secrets.token_bytes(KEY_SIZE))
    write_secret(place, key)
    return key
