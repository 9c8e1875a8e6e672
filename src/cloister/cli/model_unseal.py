"""`cloister model unseal`: the owner's way back to plain files."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option
from cloister.cli.model_options import FILE, FOLDER, ModelProgress
from cloister.cli.terminal import say, say_json
from cloister.sealing import unseal as opening
from cloister.sealing.artifact import open_artifact
from cloister.storage.key_file import read_model_key

EPILOG = """\b
Examples:
  cloister model unseal llama.sealed -o llama --key llama.sealed.key

Every file is checked against the manifest while it is written; DIR appears when all of them held, and never over
something that is there. What it holds is the model in the clear, readable by you alone.
"""


@click.command(epilog=EPILOG)
@click.argument("path", metavar="ARTIFACT", type=FOLDER)
@click.option("-o", "--out", required=True, type=FOLDER, metavar="DIR", help="The folder to make.")
@click.option("--key", required=True, type=FILE, metavar="FILE", help="The artifact's key, mode 600.")
@json_option
def unseal(path: Path, out: Path, key: Path, *, as_json: bool) -> None:
    """Write the model in ARTIFACT into DIR, in the clear."""
    artifact = open_artifact(path)
    with ModelProgress("unsealing", hidden=as_json).showing() as progress:
        opening.unseal(artifact, read_model_key(key), out, progress)
    manifest = artifact.manifest
    if as_json:
        say_json({"folder": str(out), "name": manifest.name, "digest": artifact.digest.hex(), "bytes": manifest.size})
    else:
        say(f"{out}: {manifest.name}, {len(manifest.files)} files, {manifest.size:,} bytes, each as the manifest says")
