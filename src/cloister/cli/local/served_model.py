"""What is held of a sealed model before anything is signed, started or deposited: whatever can be known by then.

A key of another model, or none where none was ever deposited, would be found out by the gateway, too: minutes later,
with a contract signed and a key in custody that opens nothing.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Final

from cloister.cli.local.settings import LocalSettings
from cloister.cli.local.signed_files import read_signed
from cloister.cli.local.terms import Terms
from cloister.cli.state_folder import StateFolder
from cloister.contract.walk import unlogged, walk_contracts
from cloister.errors import UsageError
from cloister.sandbox.closure import require_installed
from cloister.sealing.artifact import Artifact, open_artifact
from cloister.secret import SecretBytes
from cloister.services.gateway.engine_choice import engine_named
from cloister.storage.key_file import read_model_key

NEEDED: Final = {  # at the top of a model's folder
    "whisper": ("model.bin", "config.json", "tokenizer.json"),
    "transformers": ("config.json", "*.safetensors"),
}


def require_served(
    state: StateFolder, settings: LocalSettings, key_file: Path | None, *, of_parties: bool
) -> SecretBytes | None:
    """The key to deposit, if one is given: held to open the model, as its engine is held to be installed.

    No file of a model's size is read. `of_parties` is whether a contract of several parties is served, whose model's
    owner deposits the key as one of them.

    Raises:
        UsageError, TooLarge, MalformedInput: there is no whole artifact, or none for the engine; or no key where there
            must be one.
        ArtifactRefused: the key is another artifact's.
        SandboxUnavailable: what the engine needs is not installed, or damaged.
    """
    if settings.model is None and key_file is not None:
        raise UsageError("--model-key is the key of a sealed model, and there is none: --model ARTIFACT")
    engine = engine_named(settings.engine)
    require_installed(engine)
    key = None if key_file is None else read_model_key(key_file)
    if settings.model is not None:
        artifact = open_artifact(settings.model)
        _require_key(state, artifact, key, of_parties=of_parties)
        _require_files(engine.name, artifact)
    return key


def _require_files(engine: str, artifact: Artifact) -> None:
    paths = [file.path for file in artifact.manifest.files]
    needs = NEEDED.get(engine, ())
    for needed in needs:
        if not fnmatch.filter([path for path in paths if "/" not in path], needed):
            raise UsageError(
                f"{artifact.place} is no model for {engine}, which needs {', '.join(needs)}: {needed} is missing"
                " (docs/howto/engines.md)"
            )


def _require_key(state: StateFolder, artifact: Artifact, key: SecretBytes | None, *, of_parties: bool) -> None:
    if key is not None and of_parties:
        raise UsageError(
            "the contract is of several parties: the model's owner deposits its key as a party of it,"
            " with cloister secret put KEY --asset NAME --key SEED"
        )
    if key is not None:
        artifact.source(key)
    elif not of_parties and not _was_served(state, artifact):
        raise UsageError(_never_given(artifact))


def _was_served(state: StateFolder, artifact: Artifact) -> bool:
    """Whether a contract signed in this folder has the model, so that its key may be in custody already."""
    terms = read_signed(state)
    if not isinstance(terms, Terms):
        return False
    contracts = walk_contracts(unlogged(terms.contracts), ())
    return any(asset.name == artifact.manifest.name for one in contracts for asset in one.current.assets)


def _never_given(artifact: Artifact) -> str:
    place = artifact.place
    beside = place.with_name(f"{place.name}.key")
    lies = f"{beside} lies beside it" if beside.exists() else "cloister model seal wrote it, beside the artifact"
    return f"this system was never given the key of {artifact.manifest.name}: --model-key FILE ({lies})"
