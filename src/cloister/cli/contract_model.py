"""A sealed model, as the `contract` commands take it: by its artifact, which tells name and digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cloister.formats.contract import Contract
from cloister.sealing.artifact import Artifact

Command = TypeVar("Command", bound=Callable[..., Any])


def model_option(command: Command) -> Command:
    """The `--model` option."""
    return click.option(
        "--model",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="ARTIFACT",
        help="The sealed model that it is about (cloister model seal).",
    )(command)


def with_model(contract: Contract, model: Artifact) -> Contract:
    """`contract`, whose one model is this one, by its name and digest."""
    (before,) = (asset for asset in contract.assets if asset.kind == "model")
    name = model.manifest.name
    named = msgspec.structs.replace(before, name=name, digest=model.digest)
    return msgspec.structs.replace(
        contract,
        assets=tuple(named if asset is before else asset for asset in contract.assets),
        grants=tuple(
            msgspec.structs.replace(grant, asset=name) if grant.asset == before.name else grant
            for grant in contract.grants
        ),
    )
