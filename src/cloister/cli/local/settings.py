"""The settings of a local system, which a person may write into `settings.toml` of its state folder."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from cloister.cli.state_folder import StateFolder
from cloister.hosting.loopback import Port
from cloister.hosting.settings import load
from cloister.ohttp.privacy import LEVELS, STANDARD, Privacy
from cloister.sandbox.plan import Choice
from cloister.services.gateway.engine_choice import (
    ENGINES,
    EngineName,
    Held,
    SandboxSizes,
    engine_named,
    require_engine,
    require_model,
)
from cloister.services.gateway.security import GatewaySecurity
from cloister.services.kms.security import KmsSecurity

Command = TypeVar("Command", bound=Callable[..., Any])


class EngineType(click.ParamType[str]):
    """An engine's name, or the folder of an upstream server, which may be `upstream:FOLDER` too: as its whole path."""

    name = "engine"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """What `--help` shows."""
        return f"[{'|'.join(ENGINES)}|FOLDER]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The engine as settings have it."""
        engine = value if value in ENGINES else str(Path(value.removeprefix("upstream:")).absolute())
        if "/" not in value and value not in ENGINES and not Path(engine).is_dir():
            self.fail(f"{value!r} is none of {', '.join(ENGINES)}{_hint(value)}.", param, ctx)
        return engine


def _hint(value: str) -> str:
    if value == "upstream":
        return ": an upstream is named by its folder, --engine ./FOLDER (docs/howto/upstream-servers.md)"
    meant = difflib.get_close_matches(value, ENGINES, n=1)
    did = f": did you mean {meant[0]}?" if meant else ""
    return f", and no folder of an upstream server{did} (cloister engine list says which there are)"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`sizes`, `kms` and `gateway` bear on security: changing them makes successors of constitution and contract."""

    engine: EngineName = "speech"  # a name, or the folder of an upstream server
    model: Path | None = None  # a sealed artifact
    sandbox: Choice = "auto"  # what confines the engine: docs/sandbox.md
    port: Port | None = None  # of the proxy; the kernel's choice at first, then the same again
    privacy: Privacy = STANDARD  # of what the proxy asks
    sizes: SandboxSizes = field(default_factory=SandboxSizes)
    kms: KmsSecurity = field(default_factory=KmsSecurity)
    gateway: GatewaySecurity = field(default_factory=GatewaySecurity)

    def __post_init__(self) -> None:
        """Refuse an engine that is none, or that does not go with the model.

        Raises:
            UsageError: it is.
        """
        require_engine(self.engine, self.model)

    @property
    def held(self) -> Held:
        """How the engine is held."""
        return Held(self.sizes, tool=self.sandbox)


def read_settings(
    state: StateFolder,
    environ: Mapping[str, str],
    *,
    engine: str | None,
    port: int | None = None,
    model: Path | None = None,
    privacy: str | None = None,
) -> LocalSettings:
    """Flags over `CLOISTER_UP__…` over the file. Services are told the model's whole path: they are started elsewhere.

    Raises:
        BadSettings: one is unknown or not of its type.
        UsageError, MalformedInput: the engine is none, or does not go with the model.
    """
    config = state.settings if state.settings.exists() else None
    flags = {"engine": engine, "port": port, "model": model, "privacy": privacy}
    found = load(LocalSettings, service="up", config=config, environ=environ, flags=flags)
    require_model(engine_named(found.engine), found.model)
    return found if found.model is None else replace(found, model=found.model.absolute())


def engine_options(command: Command) -> Command:
    """The `--engine` and `--model` options, given to the command as `engine` and `model`."""
    engine = click.option("--engine", type=EngineType(), help="The engine, or an upstream's folder.  [default: speech]")
    model = click.option(
        "--model",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="ARTIFACT",
        help="The sealed model that it serves (cloister model seal).  [default: the engine's own]",
    )
    return engine(model(command))


def proxy_options(command: Command) -> Command:
    """The options of the proxy, given to the command as `port` and `privacy`."""
    port = click.option(
        "--port",
        type=click.IntRange(1, 65_535),
        help="The proxy's port.  [default: a free one, then the same]",
    )
    privacy = click.option(
        "--privacy",
        type=click.Choice(LEVELS),
        metavar="LEVEL",
        help="How little lengths and times of what the proxy asks tell: standard or strict.  [default: standard]",
    )
    return port(privacy(command))
