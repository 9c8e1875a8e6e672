"""The proxy's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What it trusts stands in the trust policy; these say where things are."""

    port: int
    relay_url: str
    trust_policy: Path  # TOML
    memory: Path  # made when missing
    token: Path  # its content is the bearer token that callers must show
    receipts: Path  # a folder, made when missing
    ready: Path | None = None  # the port is written there when it is served
    connections: int = 64
