"""The settings of a local system, which a person may write into `settings.toml` of its state folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cloister.cli.state_folder import StateFolder
from cloister.hosting.loopback import Port
from cloister.hosting.settings import load
from cloister.services.gateway.security import GatewaySecurity
from cloister.services.kms.security import KmsSecurity


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`kms` and `gateway` bear on security: changing them makes successors of constitution and contract."""

    engine: Literal["speech", "echo"] = "speech"
    port: Port | None = None  # of the proxy; the kernel's choice at first, then the same again
    kms: KmsSecurity = field(default_factory=KmsSecurity)
    gateway: GatewaySecurity = field(default_factory=GatewaySecurity)


def read_settings(
    state: StateFolder, environ: Mapping[str, str], *, engine: str | None, port: int | None
) -> LocalSettings:
    """Flags over `CLOISTER_UP__…` over the file.

    Raises:
        BadSettings: one is unknown or not of its type.
    """
    config = state.settings if state.settings.exists() else None
    flags = {"engine": engine, "port": port}
    return load(LocalSettings, service="up", config=config, environ=environ, flags=flags)
