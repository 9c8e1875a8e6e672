"""The relay's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """None bears on security: a relay is trusted only not to talk with the gateways about who asked."""

    port: int
    bundle_url: str  # of the KMS: http://host:port/path
    gateway_urls: tuple[str, ...]  # asked in turn
    ready: Path | None = None  # the port is written there when it is served
    request_bytes: int = 32 * 1024 * 1024
    connections: int = 1024  # of clients at a time
    gateway_connections: int = 256  # to each gateway at a time
    gateway_seconds: float = 700  # for an encapsulated request and its answer
    bundle_seconds: float = 10  # for one fetch from the KMS
    bundle_bytes: int = 8 * 1024 * 1024
