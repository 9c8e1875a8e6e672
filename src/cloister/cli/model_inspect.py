"""`cloister model inspect`: what an artifact says of itself, without a key."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option
from cloister.cli.model_options import FOLDER, say_model, shown_files
from cloister.cli.terminal import say, say_json
from cloister.formats.sealed_artifact import SIGNATURE_FILE
from cloister.sealing.artifact import open_artifact

EPILOG = """\b
Examples:
  cloister model inspect llama.sealed
  cloister model inspect llama.sealed --json

No key is needed, and without it none of this is proven but the lengths of the files: whoever stores an artifact can
write another header. Hold the digest against the one in the contract; a node that opens the artifact does.
"""


@click.command(epilog=EPILOG)
@click.argument("path", metavar="ARTIFACT", type=FOLDER)
@json_option
def inspect(path: Path, *, as_json: bool) -> None:
    """Say which model ARTIFACT claims to be, and its files."""
    artifact = open_artifact(path)
    is_signed = (path / SIGNATURE_FILE).exists()
    if as_json:
        said = {"artifact": artifact.header.id.hex(), "name": artifact.manifest.name, "digest": artifact.digest.hex()}
        say_json(said | {"bytes": artifact.manifest.size, "signed": is_signed, "files": shown_files(artifact.manifest)})
        return
    say_model(artifact.manifest)
    say(f"signed   {'in model.sig; cloister model verify checks it' if is_signed else 'no'}")
