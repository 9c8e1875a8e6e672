"""`cloister serve`: a sealed model behind the OpenAI API, under a contract, on a whole system of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cloister.cli.local.agreed import contract_option
from cloister.cli.local.model_key import model_key_option
from cloister.cli.local.settings import EngineType, proxy_options, read_settings
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import say
from cloister.cli.up import Asked, bring_up
from cloister.sealing.artifact import open_artifact

EPILOG = """\b
Examples:
  cloister serve ./sealed --engine transformers --model-key model.key
  cloister serve ./speech --engine whisper --model-key speech.key      a Whisper model
  cloister serve ./sealed --engine transformers --detach               with the key that was deposited before
  cloister serve ./sealed --engine ./vllm                              by a server of somebody else's, in that folder
  cloister serve ./sealed --engine transformers --contract contract.signed      under a contract that its parties signed

ARTIFACT is what cloister model seal made. Constitution and contract are signed, the contract with the model's digest;
the model's key is sealed to the KMS, whose whole chain was examined, and logged as the owner's deposit; the gateway
gets it by the contract's grant, against its evidence, and opens the model into the memory of the engine's sandbox: the
weights lie on no disk in the clear. It is cloister up with --model: status, verify, env and down are the same.

Under a contract of others the model's owner deposits the key from where it is (cloister secret put), and the gateway
waits for that.
"""


@click.command(epilog=EPILOG)
@click.argument("artifact", metavar="ARTIFACT", type=click.Path(path_type=Path, file_okay=False))
@state_option
@click.option("--engine", type=EngineType(), required=True, help="What computes with the model.")
@model_key_option
@proxy_options
@click.option("--detach", is_flag=True, help="Run in the background once everything is ready.")
@contract_option
def serve(
    artifact: Path,
    state: StateFolder,
    *,
    model_key: Path | None,
    detach: bool,
    contract: tuple[Path, ...],
    **flags: Any,
) -> None:
    """Serve the sealed model ARTIFACT on a local system, which only a client with the right contract encrypts to."""
    settings = read_settings(state, os.environ, model=artifact, **flags)  # noqa: TID251 - read here, once
    sealed = open_artifact(artifact)
    files = sealed.manifest.files
    size = sum(file.size for file in files)
    say(f"{sealed.manifest.name}: {len(files)} files, {size:,} bytes, sealed; digest {sealed.digest.hex()}")
    bring_up(Asked(state, settings, contract, model_key), detach=detach)
